"""What comes out of generation: an answer, or code, with all that a caller needs to check it. Plain values."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Literal

from rag_app.core.models import Citation, SearchResult
from rag_app.features.generation.code import CodeCheck


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose every [n] is the index of one of `citations`.

    citations_removed: markers that pointed to nothing and were taken out. abstained: nothing relevant was found, or
    the model said that the passages do not hold the answer; then it cites nothing. An answer that is given but cites
    nothing is not marked so: its empty citations tell. degraded: what could not be asked ("llm", "embedding").
    """

    answer: str
    citations: tuple[Citation, ...]
    result: SearchResult
    mode: Literal["generative", "extractive"]
    abstained: bool
    citations_removed: int
    degraded: tuple[str, ...]
    usage: Mapping[str, int]
    took_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """Code to be written. path: the file that it is for. language: of the code; None: the path's, or most hits'."""

    instruction: str
    path: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class GeneratedCode:
    """Code, what it draws on, and whether it parses: the check is of the code as it stands here, after any repair."""

    code: str
    language: str
    citations: tuple[Citation, ...]
    result: SearchResult
    check: CodeCheck
    is_repaired: bool
    degraded: tuple[str, ...]
    usage: Mapping[str, int]
    took_ms: Mapping[str, float]


# What a stream yields: the hits, pieces of text, citations when first used, and the whole at the end.
AnswerEvents = AsyncGenerator[SearchResult | str | Citation | Answer, None]
CodeEvents = AsyncGenerator[SearchResult | str | Citation | GeneratedCode, None]
