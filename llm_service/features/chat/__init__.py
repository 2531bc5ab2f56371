"""Chat completions and the list of models."""
