"""Is the answer good: question sets through the live POST /v1/ask, scored with Ragas."""
