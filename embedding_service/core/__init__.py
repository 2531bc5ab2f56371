"""Settings and values of the embedding service. Knows neither HTTP nor a model library."""
