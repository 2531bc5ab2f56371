"""Answers and code from what was retrieved: search, fit, prompt, complete, cite. Knows no HTTP."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from llama_index.core.base.response.schema import AsyncStreamingResponse
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.llms import ChatMessage
from llama_index.core.llms.llm import LLM
from llama_index.core.query_engine import RetrieverQueryEngine

from rag_app.clients.llm import check_llm
from rag_app.core.metrics import AnswerInWork, RagMetrics
from rag_app.core.models import Citation, Scope, SearchQuery, SearchResult
from rag_app.core.settings import RagSettings
from rag_app.db.manifest import Manifest
from rag_app.features.generation.answers import Answer, AnswerEvents, CodeEvents, GeneratedCode, WriteRequest
from rag_app.features.generation.citation_filter import CitationFilter
from rag_app.features.generation.citations import cite
from rag_app.features.generation.code import choose_language, drawn_on, extract_code
from rag_app.features.generation.extractive import NOTHING, NOTHING_INDEXED
from rag_app.features.generation.passages import KeepPassages, NumberPassages, Passage
from rag_app.features.generation.prompt import NOT_FOUND, Conversation, ask_messages, fit_passages, write_messages
from rag_app.features.generation.synthesizers import (
    CodeSynthesizer,
    GenerativeSynthesizer,
    PassageSynthesizer,
    Report,
)
from rag_app.features.search.service import CodeRetriever, SearchService, is_relevant
from service_kit.errors import NotFound, ServiceError, Unavailable, Upstream

_log = logging.getLogger("rag_app.generation")


@dataclass
class _Run:
    """One request on its way: what is searched, its retriever, how its text came about, its clock."""

    query: SearchQuery
    scope: Scope
    retriever: CodeRetriever
    report: Report = field(default_factory=Report)
    started: float = field(default_factory=time.perf_counter)

    @property
    def result(self) -> SearchResult:
        return self.retriever.result

    @property
    def degraded(self) -> tuple[str, ...]:
        return (*self.result.degraded, *(("llm",) if self.report.failure else ()))

    def citation_filter(self) -> CitationFilter:
        return CitationFilter([passage.index for passage in self.report.passages])

    def took_ms(self) -> dict[str, float]:
        total = (time.perf_counter() - self.started) * 1e3
        answer = self.report.answer_ms
        return {"search": round(total - answer, 2), "answer": round(answer, 2), "total": round(total, 2)}


class AnswerService:
    """Asks and generates. Everything that it says passed a RetrieverQueryEngine over search's retriever."""

    def __init__(
        self,
        search: SearchService,
        manifest: Manifest,
        llm: LLM,
        settings: RagSettings,
        metrics: RagMetrics | None = None,
    ):
        """llm: one of clients/llm.py, or any chat model of LlamaIndex."""
        self._metrics = metrics or RagMetrics()
        self._search = search
        self._manifest = manifest
        self._llm = llm
        self._max_query_chars = settings.max_query_chars
        self._context_tokens = settings.llm_context_tokens
        self._callbacks = CallbackManager([])

    async def ask(self, conversation: Conversation, query: SearchQuery, scope: Scope) -> Answer:
        """The answer to a conversation's question. `query` narrows the search; its text is made of the conversation.

        Fails as search fails. A model that fails costs the answer its mode: extractive, degraded by "llm".
        """
        counted = self._metrics.answer("ask")
        with counted.failing():
            run = self._run(conversation, query, scope)
            response = await (await self._ask_engine(run, conversation, streaming=False)).aquery(run.query.text)
            passing = run.citation_filter()
            text = passing.feed(str(response)) + passing.close()
            return _counted(counted, await self._answer(run, text, passing))

    async def ask_stream(self, conversation: Conversation, query: SearchQuery, scope: Scope) -> AnswerEvents:
        """As ask(), event by event: the hits, pieces, citations, the Answer. Returns once retrieval is over.

        A model that fails after its first piece makes the stream fail. Closing the stream ends the model's call.
        """
        counted = self._metrics.answer("ask")
        with counted.failing():
            run = self._run(conversation, query, scope)
            response = await (await self._ask_engine(run, conversation, streaming=True)).aquery(run.query.text)
        assert isinstance(response, AsyncStreamingResponse)
        return self._answer_events(run, response.response_gen, counted)

    async def generate(self, request: WriteRequest, query: SearchQuery, scope: Scope) -> GeneratedCode:
        """Code for an instruction, drawn from the hits of a search for it.

        Unavailable without a model, naming the settings; NotFound where there is no code to draw on.
        """
        counted = self._metrics.answer("generate")
        with counted.failing():
            run = self._run(Conversation(request.instruction), query, scope)
            writer = self._writer(run, request, streaming=False)
            try:
                await self._engine(run, writer, request.instruction).aquery(run.query.text)
            except Unavailable as exc:
                if not run.report.passages:
                    raise  # it was the search that failed
                raise _without_model(exc) from exc
            generated = await self._generated(run, writer)
        counted.end("code")
        return generated

    async def generate_stream(self, request: WriteRequest, query: SearchQuery, scope: Scope) -> CodeEvents:
        """As generate(), event by event. The pieces are the model's replies; the code at the end is what was checked.

        Returns once the model has begun, so that a machine without one fails here.
        """
        counted = self._metrics.answer("generate")
        with counted.failing():
            run = self._run(Conversation(request.instruction), query, scope)
            writer = self._writer(run, request, streaming=True)
            response = await self._engine(run, writer, request.instruction).aquery(run.query.text)
            assert isinstance(response, AsyncStreamingResponse)
            pieces = response.response_gen
            await self._require_passages(run)
            try:
                first = await anext(pieces, "")
            except Unavailable as exc:
                raise _without_model(exc) from exc
        counted.begin()
        return self._code_events(run, writer, first, pieces, counted)

    # The engines: retriever, then postprocessors (number, keep the relevant, fit), then one of our synthesizers.

    def _run(self, conversation: Conversation, query: SearchQuery, scope: Scope) -> _Run:
        searched = replace(query, text=conversation.search_text(self._max_query_chars))
        return _Run(searched, scope, self._search.retriever(searched, scope))

    async def _ask_engine(self, run: _Run, conversation: Conversation, *, streaming: bool) -> RetrieverQueryEngine:
        def prompting(passages: Sequence[Passage]) -> list[ChatMessage]:
            return ask_messages(conversation, passages, self._context_tokens)

        def relevant(passages: list[Passage]) -> list[Passage]:
            return [passage for passage in passages if is_relevant(run.result.hits[passage.index - 1])]

        _, chunks = await asyncio.to_thread(self._manifest.document_frequencies, run.scope, ())
        nothing = NOTHING if chunks else NOTHING_INDEXED
        writer = GenerativeSynthesizer(
            self._llm, self._callbacks, run.report, prompting, streaming=streaming, nothing=nothing
        )
        return self._engine(run, writer, conversation.question, KeepPassages(relevant))

    def _writer(self, run: _Run, request: WriteRequest, *, streaming: bool) -> CodeSynthesizer:
        def prompting(passages: Sequence[Passage]) -> tuple[str, list[ChatMessage]]:
            language = choose_language(request.language, request.path, passages)
            return language, write_messages(request.instruction, language, request.path or "", passages)

        return CodeSynthesizer(self._llm, self._callbacks, run.report, prompting, streaming=streaming)

    def _engine(
        self, run: _Run, synthesizer: PassageSynthesizer, asked: str, *keeping: KeepPassages
    ) -> RetrieverQueryEngine:
        fitting = KeepPassages(lambda passages: fit_passages(passages, asked, self._context_tokens))
        return RetrieverQueryEngine(
            retriever=run.retriever,
            response_synthesizer=synthesizer,
            node_postprocessors=[NumberPassages(), *keeping, fitting],
            callback_manager=self._callbacks,
        )

    # From the text of an engine to what the caller gets.

    async def _answer(self, run: _Run, text: str, passing: CitationFilter) -> Answer:
        has_said_so = NOT_FOUND.lower() in text.lower() and not passing.used
        return Answer(
            answer=text,
            citations=await self._cite(run, passing.used),
            result=run.result,
            mode=run.report.mode,
            abstained=not run.report.passages or has_said_so,
            citations_removed=passing.removed,
            degraded=run.degraded,
            usage=run.report.usage,
            took_ms=run.took_ms(),
        )

    async def _answer_events(self, run: _Run, pieces: AsyncGenerator[str, None], counted: AnswerInWork) -> AnswerEvents:
        with counted.failing():
            async with aclosing(self._answer_told(run, pieces, counted)) as events:
                async for event in events:
                    yield event

    async def _answer_told(self, run: _Run, pieces: AsyncGenerator[str, None], counted: AnswerInWork) -> AnswerEvents:
        yield run.result
        passing = run.citation_filter()
        shown: list[str] = []
        cited = 0

        async def news(text: str) -> list[str | Citation]:
            nonlocal cited
            shown.append(text)
            new = await self._cite(run, passing.used[cited:])
            cited = len(passing.used)
            return [*([text] if text else []), *new]

        async with aclosing(pieces):
            async for piece in pieces:
                if run.report.mode == "generative":
                    counted.begin()
                for event in await news(passing.feed(piece)):
                    yield event
        for event in await news(passing.close()):
            yield event
        yield _counted(counted, await self._answer(run, "".join(shown), passing))

    async def _generated(self, run: _Run, writer: CodeSynthesizer) -> GeneratedCode:
        await self._require_passages(run)
        code = extract_code(writer.reply, writer.language)
        if not code.strip():
            raise Upstream("the language model answered without any code; say more exactly what to write")
        passing = run.citation_filter()
        passing.feed(writer.reply)
        passing.close()
        return GeneratedCode(
            code=code,
            language=writer.language,
            citations=await self._cite(run, drawn_on(code, passing.used, run.report.passages)),
            result=run.result,
            check=writer.check,
            is_repaired=run.report.is_repaired,
            degraded=run.degraded,
            usage=run.report.usage,
            took_ms=run.took_ms(),
        )

    async def _code_events(
        self,
        run: _Run,
        writer: CodeSynthesizer,
        first: str,
        pieces: AsyncGenerator[str, None],
        counted: AnswerInWork,
    ) -> CodeEvents:
        with counted.failing():
            async with aclosing(pieces):
                yield run.result
                yield first
                async for piece in pieces:
                    yield piece
            generated = await self._generated(run, writer)
            counted.end("code")
        for citation in generated.citations:
            yield citation
        yield generated

    async def _require_passages(self, run: _Run) -> None:
        if run.report.passages:
            return
        # Without a model an index would not help either: what is to be set comes first.
        try:
            await check_llm(self._llm)
        except Unavailable as exc:
            raise _without_model(exc) from exc
        except ServiceError as exc:
            _log.warning("no language model", extra={"code": exc.code, "detail": exc.logged})
        raise NotFound("there is no indexed code to draw on; index a repository, or widen the filters")

    async def _cite(self, run: _Run, used: Sequence[int]) -> tuple[Citation, ...]:
        if not used:
            return ()
        cited = frozenset(passage.repository for passage in run.report.passages if passage.index in used)
        known = await asyncio.to_thread(self._manifest.repositories, cited & run.scope)
        sources = {repository.id: repository.source.location for repository in known}
        return tuple(cite(used, run.report.passages, sources))


def _counted(counted: AnswerInWork, answer: Answer) -> Answer:
    counted.end("abstained" if answer.abstained else answer.mode, is_without_model="llm" in answer.degraded)
    return answer


def _without_model(exc: Unavailable) -> Unavailable:
    hint = "code is generated by a language model and none answers; set OPENAI_API_KEY or LLM_BASE_URL for llm_service"
    return Unavailable(
        f"{hint} ({exc.message})", retry_after_s=exc.retry_after_s, logged=f"no language model ({exc.logged})"
    )
