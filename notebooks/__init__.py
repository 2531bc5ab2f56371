"""What the notebooks import, so that no logic is defined in them: the stack by HTTP, a small corpus, rankings, tables."""
