"""The house rules as four small tables. test_imports.py walks the code with `ast` and holds it to them."""

# 1. Which of our top-level packages each may import (itself is always allowed). Nothing imports tests.
PACKAGES: dict[str, frozenset[str]] = {
    "service_kit": frozenset(),
    "search_eval": frozenset(),
    "embedding_service": frozenset({"service_kit"}),
    "llm_service": frozenset({"service_kit"}),
    "vector_db": frozenset({"service_kit"}),
    "rag_app": frozenset({"service_kit", "search_eval"}),
    "evals": frozenset({"service_kit", "search_eval", "benchmarks"}),
    "benchmarks": frozenset({"service_kit"}),
    "notebooks": frozenset({"service_kit", "search_eval", "benchmarks"}),
    "monitoring": frozenset(),
    "deploy": frozenset(),
}

# A room of another package that is open to one module, since it is pure and nothing tells over HTTP what it does.
OPEN: dict[str, str] = {
    "notebooks.chunks": "rag_app.features.indexing.chunking",
}

# 2. The floors inside a service: a room imports its own floor or a lower one. FLAT: small packages without floors.
FLAT = frozenset({"service_kit", "search_eval", "notebooks"})
FLOORS: dict[str, int] = {
    "core": 0,
    "db": 1,
    "clients": 1,
    "backends": 1,
    "providers": 1,
    "admission": 1,
    "engine": 2,
    "features": 3,
    "embedding": 3,  # of benchmarks: each stands by itself upon benchmarks/core
    "llm": 3,
    "search": 3,
    "tasks": 3,  # of evals: each stands by itself upon evals/core
    "rivals": 3,
    "report": 3,
    "web": 3,
    "readiness": 3,
    "cli": 4,
    "keys": 4,
    "main": 4,
    "ragas": 4,
    "check_questions": 4,
    "__main__": 5,
}

# 3. Which feature may speak to which, and only through the other's service.py.
FEATURES: dict[str, frozenset[str]] = {
    "generation": frozenset({"search"}),
}

# 4. Where a heavy library lives: module prefix -> the only places that may import it.
HOMES: dict[str, tuple[str, ...]] = {
    "qdrant_client": ("rag_app.db", "vector_db", "evals.rivals", "notebooks"),
    "qdrant_edge": ("vector_db.engine",),
    "llama_index": ("rag_app.clients", "rag_app.db", "rag_app.features", "evals.rivals", "notebooks"),
    "torch": ("embedding_service.backends", "benchmarks.embedding"),
    "sentence_transformers": ("embedding_service.backends", "benchmarks.embedding", "evals.rivals"),
    "ragas": ("evals.ragas",),  # in an environment of its own: only what runs there may
    "onnxruntime": ("embedding_service.backends",),
    "onnx": ("embedding_service.backends",),
    "aiohttp": ("service_kit", "llm_service.providers", "rag_app.clients", "benchmarks"),
}
