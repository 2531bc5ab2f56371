"""Every call that a run makes, kept as it is made: what a run is resumed from, replayed from, and what it cost.

A line of a tape is one call: {"key", "nth", "to", "method", "path", "request", "status", "response"}. The key is a
hash of the first five but nth: whom it went to, and the request, whatever the order of its JSON keys. nth, from 0,
tells apart equal calls of one metric of one question: answer relevancy asks one prompt three times. Equal calls of
different metrics or questions are one call. Headers, and so keys, are never kept.
"""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

# What goes to a stack that changes is never taken from another run's tape.
STACK, JUDGE, EMBEDDING = "stack", "judge", "embedding"

# A request's extension: the run's own tape does not answer it, only a replay's; the last answer is then the replay's.
ANEW = "asked anew"

# What a server may answer otherwise the next time, given another key or a model that is there, is not kept. That the
# stack has no such lines (404) is an answer.
_PASSING = frozenset({401, 403, 408, 409, 425, 429})


class NotRecorded(Exception):
    """A replay was asked for a call that its tape does not hold; the text says which."""


class BadTape(Exception):
    """A file that is no tape; the text says where."""


@dataclass(slots=True)
class Scope:
    """What one metric of one question calls. tokens: {"judge prompt": n, …}, whether or not it was paid for again."""

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    is_scripted: bool = False


_scope: ContextVar[Scope] = ContextVar("scope")


@contextmanager
def scope(name: str) -> Iterator[Scope]:
    """What is called inside, tasks that are begun there included, counts for this scope."""
    one = Scope(name)
    token = _scope.set(one)
    try:
        yield one
    finally:
        _scope.reset(token)


class Tape:
    """Calls by key and nth.

    own: the run's file, which is read where it exists and appended to; None: nothing is kept. others: files of other
    runs that may answer for the judge and the embedder. is_replay: whether only tapes answer.
    Fails with BadTape on a line that is none, but for a last one that was cut off, which is dropped.
    """

    def __init__(self, own: Path | None, others: Sequence[Path] = (), is_replay: bool = False) -> None:
        """Reads the files."""
        self.is_replay = is_replay
        self.sent: Counter[str] = Counter()  # calls that went over the network, by receiver
        self._own = own
        self._calls: dict[tuple[str, int], dict[str, Any]] = {}
        self._in_own: set[tuple[str, int]] = set()
        self._locks: dict[str, asyncio.Lock] = {}
        for path in others:
            told = {(line["key"], line["nth"]): line for line in read(path) if is_replay or line["to"] != STACK}
            self._calls = told | self._calls
        if own is not None and own.exists():
            for line in read(own):
                self._calls[line["key"], line["nth"]] = line
                self._in_own.add((line["key"], line["nth"]))
            mend(own)

    def take(self, path: Path) -> None:
        """Add what another run was told by the judge and the embedder, and this tape does not hold."""
        for line in read(path):
            at = (line["key"], line["nth"])
            if line["to"] != STACK and at not in self._calls:
                self._keep(at, line)

    async def answer(self, to: str, request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
        """What was answered before, or what `inner` answers now, which is kept at once. Fails with NotRecorded."""
        told = {"to": to, "method": request.method, "path": _path(request), "request": _body(await request.aread())}
        key = hashlib.sha256(json.dumps(told, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
        now = _scope.get()
        async with self._locks.setdefault(key, asyncio.Lock()):
            at = (key, now.counts[key])
            line = before = self._calls.get(at)
            if request.extensions.get(ANEW) and not self.is_replay:
                line = None
            if line is None:
                if self.is_replay:
                    raise self._not_recorded(now, told, at)
                answer = await inner.handle_async_request(request)
                content = await answer.aread()
                await answer.aclose()
                self.sent[to] += 1
                if _may_pass(to, answer.status_code):
                    return httpx.Response(answer.status_code, headers=answer.headers, content=content, request=request)
                line = {
                    "key": key,
                    "nth": at[1],
                    **told,
                    "status": answer.status_code,
                    "response": content.decode("utf-8", "replace"),
                }
                if line != before:
                    self._in_own.discard(at)
            self._keep(at, line)
            now.counts[key] += 1
        _count(now, line)
        return httpx.Response(
            line["status"],
            headers={"content-type": "application/json"},
            content=line["response"].encode(),
            request=request,
        )

    def _keep(self, at: tuple[str, int], line: dict[str, Any]) -> None:
        self._calls[at] = line
        if self._own is not None and at not in self._in_own:
            self._in_own.add(at)
            append(self._own, line)

    def _not_recorded(self, now: Scope, told: dict[str, Any], at: tuple[str, int]) -> NotRecorded:
        told_request = json.dumps(told["request"], ensure_ascii=False)
        if len(told_request) > 300:
            told_request = f"…{told_request[-300:]}"  # the end of a prompt is what differs
        return NotRecorded(
            f"{now.name}: {told['to']} {told['method']} {told['path']}, call {at[0][:12]} number {at[1] + 1}, is not "
            f"on the tape: {told_request}"
        )


class TapedTransport(httpx.AsyncBaseTransport):
    """For any httpx client, OpenAI's included: calls to `to` go by the tape."""

    def __init__(self, tape: Tape, to: str, inner: httpx.AsyncBaseTransport | None = None) -> None:
        """inner: what reaches the network; httpx's own by default."""
        self._tape, self._to = tape, to
        self._inner = inner or httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As httpx has it."""
        return await self._tape.answer(self._to, request, self._inner)

    async def aclose(self) -> None:
        """As httpx has it."""
        await self._inner.aclose()


def _may_pass(to: str, status: int) -> bool:
    return status >= 500 or status in _PASSING or (status == 404 and to != STACK)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file of JSON lines; a last one that was cut off is left out. Fails with BadTape on others."""
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        if number == len(lines):
            return
        try:
            value = json.loads(line)
        except ValueError as exc:
            raise BadTape(f"{path}:{number} is no JSON: {exc}") from exc
        if not isinstance(value, dict):
            raise BadTape(f"{path}:{number} is no JSON object")
        yield value


def mend(path: Path) -> None:
    """Cut off a last line that a killed process did not finish."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole != len(data):
        with path.open("r+b") as file:
            file.truncate(whole)


def append(path: Path, value: dict[str, Any]) -> None:
    """Write one line, handed to the system before this returns, so that a killed process loses none."""
    with path.open("ab") as file:
        file.write(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")


def _path(request: httpx.Request) -> str:
    return request.url.raw_path.decode("ascii")


def _body(content: bytes) -> Any:
    try:
        return json.loads(content) if content else None
    except ValueError:
        return content.decode("utf-8", "replace")


def _count(now: Scope, line: dict[str, Any]) -> None:
    now.calls[line["to"]] += 1
    try:
        answer = json.loads(line["response"])
    except ValueError:
        return
    if not isinstance(answer, dict):
        return
    usage = answer.get("usage") or {}
    now.tokens[f"{line['to']} prompt"] += int(usage.get("prompt_tokens") or 0)
    now.tokens[f"{line['to']} completion"] += int(usage.get("completion_tokens") or 0)
    now.is_scripted |= str(answer.get("system_fingerprint") or "").startswith("scripted-")
