"""The judge and the embedder, behind any OpenAI-compatible servers, and what their failures mean."""

import math
import os
from dataclasses import dataclass

import httpx
from instructor.core.exceptions import InstructorError
from openai import APIConnectionError, APIStatusError, AsyncOpenAI, OpenAIError
from ragas.embeddings import OpenAIEmbeddings
from ragas.llms import llm_factory
from ragas.llms.base import InstructorBaseRagasLLM

from evals.ragas.citation_metric import NotInForm
from evals.ragas.metrics import Metric
from evals.ragas.samples import Sample
from evals.ragas.tape import NotRecorded

# Ragas's 1,024 cut the statements of a long answer in two.
MAX_TOKENS = 2_048


class JudgeAway(Exception):
    """The judge or the embedder cannot be asked now; what was scored so far is kept."""


@dataclass(frozen=True, slots=True)
class Scored:
    """value: None with the reason where there is none; in [0, 1], but for a cosine below 0."""

    value: float | None
    reason: str = ""


def judge_of(url: str, model: str, http: httpx.AsyncClient, retries: int) -> InstructorBaseRagasLLM:
    """A judge, for Ragas's metrics; its key is JUDGE_API_KEY. retries: of what may pass, by OpenAI's client."""
    return llm_factory(model, client=_client(url, "JUDGE_API_KEY", http, retries), max_tokens=MAX_TOKENS)


def embedder_of(url: str, model: str, http: httpx.AsyncClient, retries: int) -> OpenAIEmbeddings:
    """An embedder, for answer relevancy; its key is EMBEDDING_API_KEY."""
    return OpenAIEmbeddings(_client(url, "EMBEDDING_API_KEY", http, retries), model)


def _client(url: str, key: str, http: httpx.AsyncClient, retries: int) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=url, api_key=os.environ.get(key) or "none", http_client=http, max_retries=retries)


async def score(sample: Sample) -> float:
            return float(await metric.single_turn_ascore(view(sample)))

        return score

    async def near_recalled(sample: Sample) -> float:
        return await by(near_recall, texts)(sample) if sample.answer.passages else 0.0

    async def verified(sample: Sample) -> float:
        return sample.verified / len(sample.answer.citations)

    return [
        Metric("id_context_precision_file", False, _nothing_found, by(precision, files)),
        Metric("id_context_recall_file", False, _nothing, by(recall, files)),
        Metric("id_context_precision_span", False, _nothing_found, by(precision, spans)),
        Metric("id_context_recall_span", False, _nothing, by(recall, spans)),
        Metric("non_llm_context_precision", False, _no_spans_or_context, by(near_precision, texts)),
        Metric("non_llm_context_recall", False, _no_spans, near_recalled),
        Metric("citations_verified", False, _no_citations, verified),
    ]


def judged_metrics(llm: InstructorBaseRagasLLM, embeddings: OpenAIEmbeddings) -> list[Metric]:
    """What a judge scores: Ragas's metrics, and ours of citations."""
    faithfulness = judged.Faithfulness(llm=llm)
    relevancy = judged.AnswerRelevancy(llm=llm, embeddings=embeddings)
    utilization = judged.ContextUtilization(llm=llm)
    precision = judged.ContextPrecisionWithReference(llm=llm)
    recall = judged.ContextRecall(llm=llm)
    factual = judged.FactualCorrectness(llm=llm)

    def by(metric: Any, *wanted: str) -> Score:
        async def score(sample: Sample) -> float:
            every = {
                "user_input": sample.task.question.query,
                "response": sample.answer.text,
                "retrieved_contexts": [passage.text for passage in sample.answer.passages],
                "reference": sample.task.reference,
                "cited": sample.cited,
            }
            return float((await metric.ascore(**{name: every[name] for name in wanted})).value)

        return score

    asked, found, said, reference = "user_input", "retrieved_contexts", "response", "reference"
    return [
        Metric("faithfulness", True, _not_written, by(faithfulness, asked, said, found)),
        Metric("answer_relevancy", True, _not_generative, by(relevancy, asked, said)),
        Metric("context_utilization", True, _not_written, by(utilization, asked, said, found)),
        Metric("context_precision", True, _no_reference_or_context, by(precision, asked, reference, found)),
        Metric("context_recall", True, _no_reference_or_context, by(recall, asked, found, reference)),
        Metric("factual_correctness", True, _no_reference_or_answer, by(factual, said, reference)),
        Metric("citation_correctness", True, _not_written, by(CitationCorrectness(llm), said, "cited")),
        Metric("citation_recall", True, _not_written, by(CitationRecall(llm), said, "cited")),
    ]


def judge_of(client: AsyncOpenAI, model: str) -> InstructorBaseRagasLLM:
    """A judge behind any OpenAI-compatible server."""
    return llm_factory(model, client=client, max_tokens=JUDGE_MAX_TOKENS)


def embedder_of(client: AsyncOpenAI, model: str) -> OpenAIEmbeddings:
    """An embedder behind any OpenAI-compatible server."""
    return OpenAIEmbeddings(client, model)


async def score(metric: Metric, sample: Sample) -> Scored:
    """One figure. Fails with NotRecorded in a replay that lacks a call, and with JudgeAway."""
    if reason := metric.lacks(sample):
        return Scored(None, reason)
    try:
        value = await metric.score(sample)
    except (InstructorError, OpenAIError, NotInForm, NotRecorded) as exc:
        return _failed(exc)
    return Scored(None, "nothing to count") if math.isnan(value) else Scored(value)


def _failed(exc: Exception) -> Scored:
    for cause in _causes(exc):
        if isinstance(cause, NotRecorded):
            raise cause
    for cause in _causes(exc):
        if isinstance(cause, APIStatusError) and cause.status_code not in (401, 403, 404, 408, 409, 429):
            if cause.status_code < 500:
                return Scored(None, f"the judge refused with {cause.status_code}")
            raise JudgeAway(f"the judge failed: {cause}") from exc
        if isinstance(cause, (APIConnectionError, APIStatusError)):
            raise JudgeAway(f"the judge or the embedder cannot be asked: {cause}") from exc
    return Scored(None, f"the judge's answer has not the form that was asked for ({type(exc).__name__})")


def _causes(exc: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [exc]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in found:
            found.append(one)
            waiting += [one.__cause__, one.__context__]
    return found
