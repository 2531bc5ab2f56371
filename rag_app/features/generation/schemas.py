"""What goes over the wire for answers and code: requests checked against their limits, replies in fixed shapes."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rag_app.core.models import Citation, SearchResult
from rag_app.core.wire import FILTERS_TOLD, HitOut, Narrowed, checked_text
from rag_app.features.generation.answers import Answer, GeneratedCode, WriteRequest
from rag_app.features.generation.prompt import Conversation, Turn

# As many passages as an answer draws on; 8 chunks of 256 tokens are 2,000 tokens of prompt.
DEFAULT_HITS = 8

# Turns are trimmed to the prompt's budget; this only bounds what is read.
MAX_MESSAGES = 200


class GenerationRequest(Narrowed):
    """What /v1/ask and /v1/generate share."""

    limit: int = Field(DEFAULT_HITS, description="How many passages to search for.")
    stream: bool = Field(False, description="Answer with server-sent events.")


class MessageIn(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["user", "assistant"]
    content: str


class AskRequest(GenerationRequest):
    """A question, or a conversation whose last message is the question."""

    question: str | None = Field(None, description=f"What you want to know. {FILTERS_TOLD}")
    messages: Annotated[list[MessageIn], Field(max_length=MAX_MESSAGES)] | None = Field(
        None, description="A conversation; its last message is the question, from role 'user'."
    )

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.question is None) == (self.messages is None):
            raise ValueError("give either 'question' or 'messages'")
        if self.messages is not None and (not self.messages or self.messages[-1].role != "user"):
            raise ValueError("the last of 'messages' must be the question, with role 'user'")
        return self

    def conversation(self, max_chars: int) -> Conversation:
        """The question and the turns before it. NothingToDo for a blank one, ValidationFailed for one too long."""
        turns = [Turn(message.role, message.content) for message in self.messages or ()]
        question = turns.pop().content if turns else self.question or ""
        return Conversation(checked_text("question", question, max_chars), tuple(turns))


class GenerateRequest(GenerationRequest):
    """An instruction for code."""

    instruction: str = Field(description=f"What to write. {FILTERS_TOLD}")
    path: str | None = Field(None, max_length=1024, description="The file that the code is for; tells its language.")
    language: str | None = Field(None, max_length=64, description="The language to write in; most hits' by default.")

    def write_request(self, max_chars: int) -> WriteRequest:
        """The request for code. NothingToDo for a blank instruction, ValidationFailed for one too long."""
        return WriteRequest(checked_text("instruction", self.instruction, max_chars), self.path, self.language)


class CitationOut(BaseModel):
    """Where a statement comes from; sha256 is of the cited lines as they were indexed, as GET /v1/source gives them."""

    index: int
    repository: str
    commit: str
    path: str
    start_line: int
    end_line: int
    sha256: str
    url: str | None = None

    @classmethod
    def of(cls, citation: Citation) -> Self:
        """From the domain's words."""
        return cls(
            index=citation.index,
            repository=citation.repository,
            commit=citation.commit,
            path=citation.span.path,
            start_line=citation.span.start_line,
            end_line=citation.span.end_line,
            sha256=citation.sha256,
            url=citation.url,
        )


class AnswerOut(BaseModel):
    """An answer whose every [n] is the index of one of its citations, and of the n-th hit."""

    answer: str
    citations: list[CitationOut]
    citations_removed: int
    hits: list[HitOut]
    mode: Literal["generative", "extractive"]
    abstained: bool
    degraded: list[str]
    usage: dict[str, int]
    took_ms: dict[str, float]

    @classmethod
    def of(cls, answer: Answer) -> Self:
        """From the domain's words."""
        return cls(
            answer=answer.answer,
            citations=[CitationOut.of(citation) for citation in answer.citations],
            citations_removed=answer.citations_removed,
            hits=[HitOut.of(hit, explain=True) for hit in answer.result.hits],
            mode=answer.mode,
            abstained=answer.abstained,
            degraded=list(answer.degraded),
            usage=dict(answer.usage),
            took_ms=dict(answer.took_ms),
        )


class ParseErrorOut(BaseModel):
    """The first place that does not parse, lines and columns from 1."""

    line: int
    column: int
    message: str


class ChecksOut(BaseModel):
    """What was checked of generated code. No `parses` where no grammar can tell; `repaired`: after a second round."""

    parses: bool | None
    repaired: bool
    error: ParseErrorOut | None = None


class GeneratedOut(BaseModel):
    """Generated code, what it draws on, and what was checked of it."""

    code: str
    language: str
    citations: list[CitationOut]
    checks: ChecksOut
    hits: list[HitOut]
    degraded: list[str]
    usage: dict[str, int]
    took_ms: dict[str, float]

    @classmethod
    def of(cls, generated: GeneratedCode) -> Self:
        """From the domain's words."""
        check = generated.check
        error = None
        if check.is_parsed is False:
            error = ParseErrorOut(line=check.line, column=check.column, message=check.problem)
        return cls(
            code=generated.code,
            language=generated.language,
            citations=[CitationOut.of(citation) for citation in generated.citations],
            checks=ChecksOut(parses=check.is_parsed, repaired=generated.is_repaired, error=error),
            hits=[HitOut.of(hit, explain=True) for hit in generated.result.hits],
            degraded=list(generated.degraded),
            usage=dict(generated.usage),
            took_ms=dict(generated.took_ms),
        )


def event_of(event: object) -> tuple[str, dict[str, Any]]:
    """(name, data) of a stream's event."""
    match event:
        case SearchResult():
            hits = [HitOut.of(hit, explain=True).model_dump() for hit in event.hits]
            return "search_results", {"hits": hits, "degraded": list(event.degraded), "took_ms": dict(event.took_ms)}
        case Citation():
            return "citation", CitationOut.of(event).model_dump(exclude_none=True)
        case Answer():
            return "final_answer", AnswerOut.of(event).model_dump(exclude_none=True)
        case GeneratedCode():
            return "final_answer", GeneratedOut.of(event).model_dump(exclude_none=True)
        case _:
            return "message", {"delta": str(event)}
