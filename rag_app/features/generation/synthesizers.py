"""How passages become text: by a language model, from their own lines where there is none, or as code.

LlamaIndex response synthesizers, one object a request: after a run, `report` says how the text came about.
"""

import logging
import time
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal

from llama_index.core.base.response.schema import RESPONSE_TYPE
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.indices.prompt_helper import ChatPromptHelper, PromptHelper
from llama_index.core.llms import ChatMessage
from llama_index.core.llms.llm import LLM
from llama_index.core.response_synthesizers import BaseSynthesizer
from llama_index.core.schema import NodeWithScore, QueryType
from llama_index.core.types import RESPONSE_TEXT_TYPE

from rag_app.features.generation.code import CodeCheck, check_code, extract_code
from rag_app.features.generation.extractive import NOTHING, extract
from rag_app.features.generation.passages import Passage, passages_of
from rag_app.features.generation.prompt import approximate_tokens, repair_messages
from service_kit.errors import ServiceError, Upstream

_log = logging.getLogger("rag_app.generation")

# Passages -> the conversation that a model is to continue.
Prompting = Callable[[Sequence[Passage]], list[ChatMessage]]


@dataclass
class Report:
    """How a text came about. `passages`: those in the prompt; usage: the model's own token counts, summed over rounds.

    failure: why the model could not be had, where it could not. answer_ms: from the passages to the whole text.
    """

    mode: Literal["generative", "extractive"] = "extractive"
    passages: list[Passage] = field(default_factory=list)
    usage: dict[str, int] = field(default_factory=dict)
    failure: ServiceError | None = None
    answer_ms: float = 0.0
    is_repaired: bool = False


class PassageSynthesizer(BaseSynthesizer):
    """A synthesizer over numbered passages. With none it answers `nothing` and asks nobody."""

    def __init__(
        self, llm: LLM, callbacks: CallbackManager, report: Report, *, streaming: bool = False, nothing: str = NOTHING
    ):
        """report: filled while the text is made."""
        # LlamaIndex's own helpers count tokens with tiktoken and repack passages; ours come numbered and fitted.
        super().__init__(
            llm=llm,
            callback_manager=callbacks,
            prompt_helper=PromptHelper(tokenizer=_countable),
            chat_prompt_helper=ChatPromptHelper(tokenizer=_countable),
            streaming=streaming,
            empty_response=nothing,
        )
        self.report = report

    def _get_prompts(self) -> dict[str, Any]:
        return {}

    def _update_prompts(self, prompts: dict[str, Any]) -> None:
        """The prompts are functions (prompt.py), not templates to be swapped."""

    async def asynthesize(
        self,
        query: QueryType,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
        **response_kwargs: Any,
    ) -> RESPONSE_TYPE:
        """A response over the nodes' passages: a string, or a generator of pieces where it streams."""
        self.report.passages = passages_of(nodes)
        return await super().asynthesize(query, nodes, additional_source_nodes, **response_kwargs)

    async def aget_response(
        self, query_str: str, text_chunks: Sequence[str], **response_kwargs: Any
    ) -> RESPONSE_TEXT_TYPE:
        """The text for query_str. The chunks' texts are those of the passages, which also know where they are from."""
        timed = self._timed(self.pieces(query_str, self.report.passages))
        return timed if self._streaming else "".join([piece async for piece in timed])

    def get_response(self, query_str: str, text_chunks: Sequence[str], **response_kwargs: Any) -> RESPONSE_TEXT_TYPE:
        """Not offered: every caller is asynchronous."""
        raise NotImplementedError("answers are made asynchronously; call asynthesize")

    @abstractmethod
    def pieces(self, question: str, passages: Sequence[Passage]) -> AsyncGenerator[str, None]:
        """The text, piece by piece."""

    async def _timed(self, pieces: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        started = time.perf_counter()
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    yield piece
        finally:
            self.report.answer_ms = (time.perf_counter() - started) * 1e3

    async def _complete(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[str, None]:
        """What the model says: in pieces where this synthesizer streams, else in one."""
        if not self._streaming:
            answer = await self._llm.achat(messages)
            self._count(answer.additional_kwargs)
            yield answer.message.content or ""
            return
        counts: dict[str, Any] = {}
        stream = await self._llm.astream_chat(messages)
        async with aclosing(stream) as parts:
            async for part in parts:
                counts = part.additional_kwargs or counts  # the last ones hold: some servers count with each piece
                if part.delta:
                    yield part.delta
        self._count(counts)

    def _count(self, counts: dict[str, Any]) -> None:
        for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
            if isinstance(counts.get(name), int):
                self.report.usage[name] = self.report.usage.get(name, 0) + counts[name]


class ExtractiveSynthesizer(PassageSynthesizer):
    """The passages' own lines. Needs no model."""

    async def pieces(self, question: str, passages: Sequence[Passage]) -> AsyncGenerator[str, None]:
        """The best passages, cited."""
        self.report.mode = "extractive"
        yield extract(question, passages)


class GenerativeSynthesizer(PassageSynthesizer):
    """A language model's words; the extractive text where the model fails before its first one.

    A model that fails later makes pieces() fail: half an answer never poses as a whole one.
    """

    def __init__(
        self,
        llm: LLM,
        callbacks: CallbackManager,
        report: Report,
        prompting: Prompting,
        *,
        streaming: bool = False,
        nothing: str = NOTHING,
    ):
        """prompting: makes the prompt of the passages. nothing: the answer where there are none."""
        super().__init__(llm, callbacks, report, streaming=streaming, nothing=nothing)
        self._prompting = prompting
        self._fallback = ExtractiveSynthesizer(llm, callbacks, report, streaming=streaming)

    async def pieces(self, question: str, passages: Sequence[Passage]) -> AsyncGenerator[str, None]:
        """What the model says, or what the passages say."""
        has_begun = False
        self.report.mode = "generative"
        try:
            async with aclosing(self._complete(self._prompting(passages))) as said:
                async for piece in said:
                    # Blank pieces before the first word would be an answer begun, and nothing said.
                    has_begun = has_begun or bool(piece.strip())
                    if has_begun:
                        yield piece
            if not has_begun:
                raise Upstream("the language model answered nothing")
        except ServiceError as exc:
            if has_begun:
                raise
            _log.warning("no language model", extra={"code": exc.code, "detail": exc.logged})
            self.report.failure = exc
        if self.report.failure is not None:
            async for piece in self._fallback.pieces(question, passages):
                yield piece


class CodeSynthesizer(PassageSynthesizer):
    """Code from a language model, parsed where a grammar serves, with one round to repair it. There is no fallback."""

    def __init__(
        self,
        llm: LLM,
        callbacks: CallbackManager,
        report: Report,
        prompting: Callable[[Sequence[Passage]], tuple[str, list[ChatMessage]]],
        *,
        streaming: bool = False,
    ):
        """prompting: (the language to write in, the prompt) of the passages."""
        super().__init__(llm, callbacks, report, streaming=streaming)
        self._prompting = prompting
        self.language = ""
        self.reply = ""
        self.check = CodeCheck(False)

    async def pieces(self, question: str, passages: Sequence[Passage]) -> AsyncGenerator[str, None]:
        """The model's replies: the draft and, where it does not parse, its repair."""
        self.report.mode = "generative"
        self.language, draft = self._prompting(passages)
        async with aclosing(self._round(draft)) as said:
            async for piece in said:
                yield piece
        if self.check.is_parsed is not False:
            return
        broken, self.report.is_repaired = self.reply, True
        yield "\n\n"
        async with aclosing(self._round(repair_messages(draft, broken, self.check.problem))) as said:
            async for piece in said:
                yield piece

    async def _round(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[str, None]:
        self.reply = ""
        async with aclosing(self._complete(messages)) as said:
            async for piece in said:
                self.reply += piece
                yield piece
        self.check = check_code(extract_code(self.reply, self.language), self.language)


def _countable(text: str) -> list[None]:
    """What LlamaIndex takes for a tokenizer: a list as long as the text has tokens."""
    return [None] * approximate_tokens(text)
