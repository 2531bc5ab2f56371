"""From the text of a file to its chunks: pure, no client and no clock."""
