"""Who may come in, how often, and how many at once. Knows no HTTP: bytes of a header in, errors of the tree out."""
