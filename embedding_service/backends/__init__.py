"""Where models run. The only home of torch, sentence_transformers, onnxruntime and tokenizers."""
