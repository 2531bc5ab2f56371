"""All metrics of a run, as one table: what each needs, and how Ragas scores it."""

import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ragas.embeddings import OpenAIEmbeddings
from ragas.llms.base import InstructorBaseRagasLLM
from ragas.metrics import collections as judged

from evals.ragas.citation_metric import CitationCorrectness, CitationRecall
from evals.ragas.samples import Sample, file_ids, gold_ids, span_ids

with warnings.catch_warnings():
    # "will be removed in v1.0, use ragas.metrics.collections", which has no such metrics in 0.4.
    warnings.simplefilter("ignore", DeprecationWarning)
    from ragas.dataset_schema import SingleTurnSample
    from ragas.metrics import (
        IDBasedContextPrecision,
        IDBasedContextRecall,
        NonLLMContextPrecisionWithReference,
        NonLLMContextRecall,
    )

Score = Callable[[Sample], Awaitable[float]]
Lacks = Callable[[Sample], str]


@dataclass(frozen=True, slots=True)
class Metric:
    """lacks: why a sample cannot be scored, "" where it can. is_judged: by a language model."""

    name: str
    is_judged: bool
    lacks: Lacks
    score: Score


def plain_metrics() -> list[Metric]:
    """What needs no judge: by ids of files and of golden spans, by string distance, and whether citations are real."""
    precision, recall = IDBasedContextPrecision(), IDBasedContextRecall()
    near_precision, near_recall = NonLLMContextPrecisionWithReference(), NonLLMContextRecall()

    def files(sample: Sample) -> SingleTurnSample:
        found, gold = file_ids(sample.answer.passages), file_ids(sample.task.question.gold)
        return SingleTurnSample(retrieved_context_ids=found, reference_context_ids=gold)

    def spans(sample: Sample) -> SingleTurnSample:
        gold = sample.task.question.gold
        found = span_ids(sample.answer.passages, gold)
        return SingleTurnSample(retrieved_context_ids=found, reference_context_ids=gold_ids(gold))

    def texts(sample: Sample) -> SingleTurnSample:
        found = [passage.text for passage in sample.answer.passages]
        return SingleTurnSample(retrieved_contexts=found, reference_contexts=list(sample.gold_texts))

    def by(metric: Any, view: Callable[[Sample], SingleTurnSample]) -> Score:
        async def score(sample: Sample) -> float:
            return float(await metric.single_turn_ascore(view(sample)))

        return score

    async def near_recalled(sample: Sample) -> float:
        return await by(near_recall, texts)(sample) if sample.answer.passages else 0.0

    async def verified(sample: Sample) -> float:
        return sample.verified / len(sample.answer.citations)

    async def answered(sample: Sample) -> float:
        return float(not sample.answer.abstained)

    return [
        Metric("id_context_precision_file", False, _nothing_found, by(precision, files)),
        Metric("id_context_recall_file", False, _nothing, by(recall, files)),
        Metric("id_context_precision_span", False, _nothing_found, by(precision, spans)),
        Metric("id_context_recall_span", False, _nothing, by(recall, spans)),
        Metric("non_llm_context_precision", False, _no_spans_or_context, by(near_precision, texts)),
        Metric("non_llm_context_recall", False, _no_spans, near_recalled),
        Metric("citations_verified", False, _no_citations, verified),
        Metric("answered_where_found", False, _gold_not_found, answered),
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


def _nothing(sample: Sample) -> str:
    return ""


def _nothing_found(sample: Sample) -> str:
    return "" if sample.answer.passages else "nothing was found"


def _no_spans(sample: Sample) -> str:
    spans = [gold for gold in sample.task.question.gold if not gold.is_file]
    if len(sample.gold_texts) < len(spans) or not spans:
        return "a golden span is not in the index" if spans else "the gold is a whole file"
    return ""


def _no_spans_or_context(sample: Sample) -> str:
    return _no_spans(sample) or _nothing_found(sample)


def _gold_not_found(sample: Sample) -> str:
    """Of the golden files: no answer can rest on what was not found."""
    found = set(file_ids(sample.answer.passages)) & set(file_ids(sample.task.question.gold))
    return "" if found else "no golden file was found"


def _no_citations(sample: Sample) -> str:
    return "" if sample.answer.citations else "nothing is cited"


def _not_generative(sample: Sample) -> str:
    if sample.answer.mode == "generative":
        return ""
    return "abstained, no model was asked" if sample.answer.abstained else "an extract, which no model wrote"


def _not_written(sample: Sample) -> str:
    return _not_generative(sample) or _nothing_found(sample) or ("abstained" if sample.answer.abstained else "")


def _no_reference_or_context(sample: Sample) -> str:
    return _nothing_found(sample) if sample.task.reference else "no reference"


def _no_reference_or_answer(sample: Sample) -> str:
    return _not_generative(sample) if sample.task.reference else "no reference"
