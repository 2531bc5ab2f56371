"""The embedding service beside a naive endpoint and infinity-emb, interleaved in one run: `make bench-embedding`."""
