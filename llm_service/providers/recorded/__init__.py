"""Real exchanges, stored and given again bit for bit."""
