"""Where batches run: a worker process of their own, so that what kills a model does not kill the service."""
