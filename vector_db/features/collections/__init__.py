"""Collections, their aliases and their payload indexes."""
