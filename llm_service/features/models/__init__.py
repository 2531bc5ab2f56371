"""What is served: the list of models, and what a vLLM backend says of itself."""
