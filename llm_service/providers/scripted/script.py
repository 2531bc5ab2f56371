"""What the scripted provider says: a small TOML or JSON file of rules, read once and checked in words.

models = ["scripted"]        # the ids that it serves
max_model_len = 8192         # its window, in tokens of tokens.py
dimensions = 16              # of its embeddings
say_tokens = 24              # length of an answer that no rule gives: words derived from the request
first_token_s = 0.0          # pace; a rule may have its own
between_tokens_s = 0.0
token_chars = 0              # characters a token of an answer has; 0: as the tokenizer cuts

[[rules]]                    # the first that matches answers; all of its conditions must hold
path = "/v1/embeddings"      # one of ROUTES, or "*"; without it chat and completions
model = "scripted"           # as the request names it
contains = "hello"           # in the last user message, the prompt or the input
matches = "(?i)^hi"          # the same as a regular expression, searched
stream = true                # only streams; false: only whole answers
times = 2                    # so often, then the rule is passed over; 0: for ever

say = "Hello."               # one of these six, or none: words derived from the request
say = ["Hello.", "Hi."]      #   one for each choice (`n`), in turn
say_tokens = 50              #   so many derived words
tool_calls = [{name = "find", arguments = {query = "x"}}]
message = {content = "a", reasoning_content = "b"}   # raw fields of the message, in one delta
body = {answer = 42}         #   the whole JSON answer, to a stream too; a string that is no JSON object: a fault
status = 429                 #   a failure; with error = {…} or "text" as its body, and retry_after_s = 1.5

first_token_s = 0.5          # and the manner
between_tokens_s = 0.02      #   a whole answer takes the time of all its tokens
token_chars = 3
finish_reason = "content_filter"
silent_after = 3             #   tokens, then silence for ever; 0: no byte at all
breaks_off_after = 3         #   tokens, then the connection breaks; 0: before the first byte
cut_after = 3                #   tokens, then the stream ends as if it were whole, without finish_reason or [DONE]
"""

import hashlib
import re
import tomllib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
TOKENIZE, DETOKENIZE, VERSION, MODELS = "/tokenize", "/detokenize", "/version", "/v1/models"
TEXT_ROUTES = (CHAT, COMPLETIONS)
ROUTES = (*TEXT_ROUTES, EMBEDDINGS, TOKENIZE, DETOKENIZE, VERSION, MODELS)
ANY_ROUTE = "*"

# OpenAI's longest is 3,072.
MAX_DIMENSIONS = 4096

_ANSWERS = ("say", "say_tokens", "tool_calls", "message", "body", "status")
_TEXTS = ("say", "say_tokens", "tool_calls", "message")
_ENDINGS = ("silent_after", "breaks_off_after", "cut_after")

_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    """Frozen and strict: "8192" is no number, and a misspelt key is an error, not a rule that never acts."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class ToolCall(_Part):
    """A function that the model asks for. arguments: a table, written as JSON, or a string, which stays as it is."""

    name: str
    arguments: dict[str, Any] | str = {}


class Rule(_Part):
    """One rule; its keys are told at the top of this module. None: not said."""

    path: str | None = None
    model: str | None = None
    contains: str | None = None
    matches: str | None = None
    stream: bool | None = None
    times: _Count = 0

    say: str | Annotated[list[str], Field(min_length=1)] | None = None
    say_tokens: _Count | None = None
    tool_calls: Annotated[list[ToolCall], Field(min_length=1)] | None = None
    message: dict[str, Any] | None = None
    body: dict[str, Any] | str | None = None
    status: Annotated[int, Field(ge=400, le=599)] | None = None
    error: dict[str, Any] | str | None = None
    retry_after_s: _Seconds | None = None

    first_token_s: _Seconds | None = None
    between_tokens_s: _Seconds | None = None
    token_chars: _Count | None = None
    finish_reason: str | None = None
    silent_after: _Count | None = None
    breaks_off_after: _Count | None = None
    cut_after: _Count | None = None

    @field_validator("path")
    @classmethod
    def _is_a_route(cls, value: str | None) -> str | None:
        if value is not None and value != ANY_ROUTE and value not in ROUTES:
            raise ValueError(f"{value!r} is none of {', '.join(ROUTES)}, {ANY_ROUTE}")
        return value

    @field_validator("matches")
    @classmethod
    def _is_an_expression(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as exc:
            raise ValueError(f"{value!r} is no regular expression: {exc}") from exc
        return value

    @model_validator(mode="after")
    def _is_of_one_mind(self) -> Self:
        answers, endings = self._given(_ANSWERS), self._given(_ENDINGS)
        if len(answers) > 1:
            raise ValueError(f"{', '.join(answers)}: a rule answers in one way")
        if len(endings) > 1:
            raise ValueError(f"{', '.join(endings)}: a rule ends in one way")
        if self.status is None and (orphans := self._given(("error", "retry_after_s"))):
            raise ValueError(f"{', '.join(orphans)} needs a status")
        texts = self._given(_TEXTS)
        if texts and self.path is not None and self.path not in self._routes:
            raise ValueError(f"{texts[0]}: {self.path} answers with no such thing")
        if endings and getattr(self, endings[0]) > 0 and (self.body is not None or self.status is not None):
            raise ValueError(f"{endings[0]}: only texts end after some tokens; 0 is before the first byte")
        return self

    @property
    def _routes(self) -> tuple[str, ...]:
        """Where it acts when it names no path: messages are of chat only."""
        return TEXT_ROUTES if self.tool_calls is None and self.message is None else (CHAT,)

    def _given(self, names: tuple[str, ...]) -> list[str]:
        return [name for name in names if getattr(self, name) is not None]

    @property
    def ends_after(self) -> int | None:
        """After how many tokens an answer ends badly; None: it ends well."""
        return next((n for n in (self.silent_after, self.breaks_off_after, self.cut_after) if n is not None), None)

    @cached_property
    def _search(self) -> Callable[[str], re.Match[str] | None]:
        return re.compile(self.matches or "").search

    def is_for(self, path: str, model: str, text: str, *, is_stream: bool) -> bool:
        """Whether all of its conditions hold for a request. text: the last user message, the prompt or the input."""
        if path not in self._routes if self.path is None else self.path not in (path, ANY_ROUTE):
            return False
        if self.stream is not None and self.stream is not is_stream:
            return False
        if self.model is not None and self.model != model:
            return False
        if self.contains is not None and self.contains not in text:
            return False
        return self.matches is None or self._search(text) is not None


class Script(_Part):
    """The whole script. `Script()` is the built-in one: no rules, no pace, answers derived from the request."""

    models: Annotated[list[str], Field(min_length=1)] = ["scripted"]
    max_model_len: int = Field(8192, ge=1)
    dimensions: int = Field(16, ge=1, le=MAX_DIMENSIONS)
    say_tokens: _Count = 24
    first_token_s: _Seconds = 0.0
    between_tokens_s: _Seconds = 0.0
    token_chars: _Count = 0
    rules: list[Rule] = []

    @cached_property
    def fingerprint(self) -> str:
        """ "scripted-" and 8 hex digits: the same for the same script, in whichever format and order of keys."""
        content = orjson.dumps(self.model_dump(exclude_defaults=True), option=orjson.OPT_SORT_KEYS)
        return f"scripted-{hashlib.blake2b(content, digest_size=4).hexdigest()}"


def load_script(path: Path) -> Script:
    """Read a script. Fails with ValueError, in words, where the file is unreadable or says what no script says."""
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise ValueError(f"{path} cannot be read: {exc.strerror}") from exc
    document = _parsed(path, content)
    try:
        return Script.model_validate(document)
    except ValidationError as exc:
        faults = [f"{_place(error['loc'])}{error['msg'].removeprefix('Value error, ')}" for error in exc.errors()]
        raise ValueError(f"{path}: {'; '.join(faults)}") from exc


def _parsed(path: Path, content: bytes) -> Any:
    match path.suffix:
        case ".toml":
            try:
                return tomllib.loads(content.decode("utf-8"))
            except ValueError as exc:  # bad UTF-8 is one, too
                raise ValueError(f"{path} is not TOML: {exc}") from exc
        case ".json":
            try:
                return orjson.loads(content)
            except orjson.JSONDecodeError as exc:
                raise ValueError(f"{path} is not JSON: {exc}") from exc
        case _:
            raise ValueError(f"{path}: a script ends in .toml or .json")


def _place(location: tuple[int | str, ...]) -> str:
    """rules[2].say, counted from 1 as a reader counts."""
    told = ""
    for part in location:
        told += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
    return f"{told.removeprefix('.')}: " if told else ""
