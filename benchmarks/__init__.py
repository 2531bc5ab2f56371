"""Is it fast: side by side with what a user would pick instead, as ratios. Speaks to services over HTTP only."""
