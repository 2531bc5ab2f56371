"""The LLM gateway beside a bare pass-through and LiteLLM's proxy, interleaved in one run: `make bench-llm`."""
