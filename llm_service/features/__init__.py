"""What the gateway offers, one folder a feature."""
