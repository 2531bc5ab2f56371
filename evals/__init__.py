"""Is the search good: questions with known answers, asked of a live stack and of what a user would pick instead."""
