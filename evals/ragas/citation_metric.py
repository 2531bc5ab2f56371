"""Are an answer's citations right, and are there enough of them: two metrics of ours in Ragas's form.

After Gao et al. 2023 (ALCE): a statement's citations are taken together, and entail it or do not. ALCE's precision of a
single citation, which asks whether the others would do without it, is not measured.
"""

from collections.abc import Mapping

from pydantic import BaseModel, Field
from ragas.llms.base import InstructorBaseRagasLLM
from ragas.metrics.collections.base import BaseMetric
from ragas.metrics.result import MetricResult
from ragas.prompt.metrics.base_prompt import BasePrompt

from evals.ragas.sentences import sentences


class SupportInput(BaseModel):
    """A statement and what it cites."""

    statement: str = Field(..., description="A sentence of an answer about a code base")
    lines: list[str] = Field(..., description="The lines of code or documentation that the sentence cites")


class SupportOutput(BaseModel):
    """The verdict on one statement."""

    reason: str = Field(..., description="What in the cited lines supports the statement, or what is missing")
    verdict: int = Field(..., ge=0, le=1, description="1 if the cited lines support the statement, 0 if not")


class SupportPrompt(BasePrompt[SupportInput, SupportOutput]):
    """Is this sentence supported by these lines?"""

    input_model = SupportInput
    output_model = SupportOutput
    instruction = (
        "Judge whether a statement about a code base is supported by the cited lines. Give verdict 1 only if a reader "
        "who sees these lines and nothing else can see that the whole statement is true, and 0 otherwise. Names of "
        "files and what other code does are not known unless the lines tell them."
    )
    examples = [  # noqa: RUF012 (BasePrompt's own form)
        (
            SupportInput(
                statement="`take` gives up after five seconds.",
                lines=["def take(lock):\n    if not lock.acquire(timeout=5):\n        raise LockTimeout(lock)"],
            ),
            SupportOutput(reason="acquire is called with timeout=5 and a failure raises.", verdict=1),
        ),
        (
            SupportInput(
                statement="The lock is released when the process ends.",
                lines=["def take(lock):\n    if not lock.acquire(timeout=5):\n        raise LockTimeout(lock)"],
            ),
            SupportOutput(reason="The lines take the lock and say nothing of its release.", verdict=0),
        ),
    ]


class NeedInput(BaseModel):
    """The sentences of an answer, numbered from 1."""

    sentences: dict[int, str] = Field(..., description="The sentences of the answer by their numbers")


class Need(BaseModel):
    """The verdict on one sentence."""

    number: int = Field(..., description="The number of the sentence")
    reason: str = Field(..., description="What it states, or why it states nothing")
    verdict: int = Field(..., ge=0, le=1, description="1 if the sentence needs a citation, 0 if not")


class NeedOutput(BaseModel):
    """One verdict a sentence."""

    verdicts: list[Need] = Field(..., description="One verdict for each sentence")


class NeedPrompt(BasePrompt[NeedInput, NeedOutput]):
    """Which sentences need a citation?"""

    input_model = NeedInput
    output_model = NeedOutput
    instruction = (
        "Decide for each sentence of an answer about a code base whether it needs a citation. A sentence needs one "
        "(verdict 1) if it states something about the code that a reader may want to check. It needs none (verdict 0) "
        "if it only leads over to the next one, speaks to the reader, or says that something was not found."
    )
    examples = [  # noqa: RUF012
        (
            NeedInput(sentences={1: "Here is how it works:", 2: "The pool holds at most ten connections."}),
            NeedOutput(
                verdicts=[
                    Need(number=1, reason="It only leads over.", verdict=0),
                    Need(number=2, reason="It states a limit of the code.", verdict=1),
                ]
            ),
        ),
    ]


class NotInForm(ValueError):
    """The judge answered in the form that was asked for, but not to what was asked."""


class CitationCorrectness(BaseMetric):
    """Of the sentences that cite something, the share whose cited lines support them; nan where none cites.

    A sentence that cites several passages is held against all of them together; one call of the judge a sentence.
    """

    llm: InstructorBaseRagasLLM

    def __init__(self, llm: InstructorBaseRagasLLM, name: str = "citation_correctness") -> None:
        """llm: the judge."""
        self.llm = llm
        self.prompt = SupportPrompt()
        super().__init__(name=name)

    async def ascore(self, response: str, cited: Mapping[int, str]) -> MetricResult:
        """response: the answer with its markers. cited: number -> lines; a number that is not there is no citation."""
        verdicts: list[int] = []
        unsupported: list[str] = []
        for sentence in sentences(response):
            lines = [cited[number] for number in sentence.cites if number in cited]
            if not lines:
                continue
            prompt = self.prompt.to_string(SupportInput(statement=sentence.text, lines=lines))
            said = await self.llm.agenerate(prompt, SupportOutput)
            verdicts.append(said.verdict)
            if not said.verdict:
                unsupported.append(sentence.text)
        value = sum(verdicts) / len(verdicts) if verdicts else float("nan")
        return MetricResult(value=value, reason="; ".join(unsupported))


class CitationRecall(BaseMetric):
    """Of the sentences that need a citation, the share that has one; nan where none needs any.

    Whether the citation is right is not asked here. One call of the judge an answer.
    """

    llm: InstructorBaseRagasLLM

    def __init__(self, llm: InstructorBaseRagasLLM, name: str = "citation_recall") -> None:
        """llm: the judge."""
        self.llm = llm
        self.prompt = NeedPrompt()
        super().__init__(name=name)

    async def ascore(self, response: str, cited: Mapping[int, str]) -> MetricResult:
        """As CitationCorrectness takes it. Fails with NotInForm where the judge leaves out a sentence."""
        said = sentences(response)
        if not said:
            return MetricResult(value=float("nan"))
        numbered = {number: sentence.text for number, sentence in enumerate(said, 1)}
        verdicts = await self.llm.agenerate(self.prompt.to_string(NeedInput(sentences=numbered)), NeedOutput)
        needs = {one.number: one.verdict for one in verdicts.verdicts}
        if needs.keys() != numbered.keys():
            raise NotInForm(f"verdicts for the sentences {sorted(needs)}, of {len(numbered)}")
        needing = [sentence for number, sentence in enumerate(said, 1) if needs[number]]
        bare = [one.text for one in needing if not cited.keys() & set(one.cites)]
        value = 1 - len(bare) / len(needing) if needing else float("nan")
        return MetricResult(value=value, reason="; ".join(bare))
