"""What the service offers, a folder a feature."""
