"""Texts in, vectors out: routes of TEI and of OpenAI over one service."""
