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
