"""What a file is cut into, by our chunker and by LlamaIndex's splitter, measured with the model's own tokenizer.

The one place outside of rag_app that looks into its chunker: pure, and no route tells what header a chunk was embedded
with (docs/decisions/0020).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx
from llama_index.core.node_parser import SentenceSplitter

from notebooks import rag
from rag_app.features.indexing.chunking import chunker
from rag_app.features.indexing.chunking.counting import TokenCounts

# The service's defaults: the texts of one request, and somewhat under the characters of one text.
BATCH = 256
MAX_CHARS = 60_000


@dataclass(frozen=True, slots=True)
class Model:
    """The embedding model's window, special tokens included, and its tokenizer, asked over TEI's routes."""

    name: str
    window: int
    client: httpx.Client

    @classmethod
    def of(cls, url: str | None = None) -> "Model":
        """Asks the embedding service what it serves."""
        client = httpx.Client(base_url=url or rag.embedding_url(), timeout=rag.TIMEOUT_S)
        info = client.get("/info").raise_for_status().json()
        return cls(info["model_id"], info["max_input_length"], client)

    @property
    def room(self) -> int:
        """Tokens of a text that the model reads: its window without the special ones."""
        return self.window - chunker.SPECIAL_TOKENS

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special ones. Fails with RuntimeError, whose text is the service's."""
        parts = [_parts(text) for text in texts]
        counts = iter(self._counted([part for each in parts for part in each]))
        return [sum(next(counts) for _ in each) for each in parts]

    def _counted(self, texts: Sequence[str]) -> list[int]:
        found: list[int] = []
        for first in range(0, len(texts), BATCH):
            body = {"inputs": texts[first : first + BATCH], "add_special_tokens": False}
            answer = self.client.post("/tokenize", json=body)
            if answer.is_error:
                raise RuntimeError(answer.text)
            found += [len(tokens) for tokens in answer.json()]
        return found


def _parts(text: str) -> list[str]:
    """The text in parts that the service takes, cut at a line's end, where WordPiece cuts too: the tokens add up."""
    parts = []
    while len(text) > MAX_CHARS:
        cut = text.rfind("\n", 0, MAX_CHARS) + 1 or MAX_CHARS
        parts.append(text[:cut])
        text = text[cut:]
    return [*parts, text]


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk to be. tokens: of what is embedded; header: how many of them are not the file's own lines."""

    kind: str
    name: str
    start_line: int
    end_line: int
    tokens: int
    header: int
    embedded: str

    @property
    def row(self) -> dict[str, object]:
        """For a table."""
        lines = f"{self.start_line}-{self.end_line}"
        told = {"lines": lines, "kind": self.kind, "name": self.name}
        return {**told, "tokens": self.tokens, "of the header": self.header}


def ours(path: str, text: str, model: Model) -> list[Piece]:
    """The chunks that a file gets when it is indexed."""
    file = chunker.parse(path, text)
    counts = TokenCounts()
    unknown = counts.unknown(file.countable())
    counts.learn(unknown, model.count(unknown))
    passages = chunker.chunk(file, counts, model.window)
    whole = model.count([passage.embedded for passage in passages])
    code = model.count([passage.text for passage in passages])
    return [
        Piece(p.kind, p.qualified_name, p.start_line, p.end_line, n, max(0, n - own), p.embedded)
        for p, n, own in zip(passages, whole, code, strict=True)
    ]


def sentences(text: str, model: Model, chunk_size: int = 1024) -> list[str]:
    """LlamaIndex's default splitter, over the model's tokenizer in place of the one that it would fetch."""
    splitter = SentenceSplitter(chunk_size=chunk_size, chunk_overlap=0, tokenizer=_tokenizer(model))
    return splitter.split_text(text)


def seen(texts: Sequence[str], model: Model) -> list[tuple[int, int]]:
    """(tokens of a text, how many of them the model reads); the rest is cut without a word."""
    return [(n, min(n, model.room)) for n in model.count(texts)]


def _tokenizer(model: Model) -> Callable[[str], list[int]]:
    # The splitter asks for the same sentences again and again, one at a time: a request each would take minutes.
    known: dict[str, list[int]] = {}

    def tokens(text: str) -> list[int]:
        if text not in known:
            known[text] = list(range(model.count([text])[0])) if text.strip() else []
        return known[text]

    return tokens
