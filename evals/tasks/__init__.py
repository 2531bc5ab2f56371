"""Corpora with questions: each module gives tasks of one kind."""
