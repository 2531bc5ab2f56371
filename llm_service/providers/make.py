"""Which kind of provider stands for a backend."""
