"""What a user would pick instead. The only place here that may import heavy libraries."""
