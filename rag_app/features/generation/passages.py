"""What an answer may draw on: numbered passages, made from the retriever's nodes and from nothing else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from rag_app.core.models import Span

# Key of a node's metadata that holds the n of its [n].
_INDEX = "passage_index"


@dataclass(frozen=True, slots=True)
class Passage:
    """A retrieved chunk as an answer refers to it. `index`: the n of its [n], its rank among the hits, from 1."""

    index: int
    repository: str
    commit: str
    span: Span
    language: str
    symbol: str
    qualified_name: str
    text: str


def passages_of(nodes: Sequence[NodeWithScore]) -> list[Passage]:
    """The passages that numbered nodes hold, in their order."""
    return [_passage(node) for node in nodes]


def _passage(scored: NodeWithScore) -> Passage:
    data = scored.node.metadata
    qualified_name = str(data.get("qualified_name", ""))
    return Passage(
        index=data[_INDEX],
        repository=data["repository"],
        commit=data["commit"],
        span=Span(data["path"], data["start_line"], data["end_line"]),
        language=data.get("language", ""),
        symbol=qualified_name.rpartition(".")[2],
        qualified_name=qualified_name,
        text=scored.node.get_content(metadata_mode=MetadataMode.NONE),
    )


class _Inline(BaseNodePostprocessor):
    """A postprocessor quick enough to need no thread of its own."""

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return self._postprocess_nodes(nodes, query_bundle)


class NumberPassages(_Inline):
    """Gives each node its n: its rank as it was retrieved, so that [n] is the n-th hit that the caller sees."""

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        for index, scored in enumerate(nodes, start=1):
            scored.node.metadata[_INDEX] = index
        return nodes


class KeepPassages(_Inline):
    """Keeps the passages that `choose` picks (given and answering lists of Passage): relevance, the token budget."""

    _choose: Callable[[list[Passage]], list[Passage]] = PrivateAttr()

    def __init__(self, choose: Callable[[list[Passage]], list[Passage]], **data: Any):
        """choose: keeps some of the passages, in their order."""
        super().__init__(**data)
        self._choose = choose

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        kept = {passage.index for passage in self._choose(passages_of(nodes))}
        return [scored for scored in nodes if scored.node.metadata[_INDEX] in kept]
