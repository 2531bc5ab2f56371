"""The lines of an indexed file, as they were indexed."""
