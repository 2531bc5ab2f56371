"""A provider that answers by a script, for tests and load: only where LLM_PROVIDER names it."""
