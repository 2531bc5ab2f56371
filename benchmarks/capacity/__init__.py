"""How much memory, disk and time an index of a given size takes: measured parts, and arithmetic upon them."""
