"""What the other floors of vector_db share: settings, names, errors."""
