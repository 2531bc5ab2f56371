"""Points: written, searched, listed, counted."""
