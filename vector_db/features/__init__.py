"""One room for each part of Qdrant's API."""
