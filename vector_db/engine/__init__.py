"""Collections on disk. The only floor that knows Qdrant Edge: its types and errors do not leave it."""
