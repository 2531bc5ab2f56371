"""Plumbing that every service shares. Imports nothing of the product."""
