"""What the notebooks import, so that no logic is defined in them: the stack over HTTP, a corpus, rankings, tables."""
