"""What is sent, and what is promised. Standard library only: Locust imports it; k6/scenarios.ts says the same."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

SEARCH, GENERATE = "search", "generate"

# The promise: every request within these, from the moment at which it was due, and none with an error.
LIMITS_S: Mapping[str, float] = {SEARCH: 5.0, GENERATE: 60.0}
RATES: Mapping[str, float] = {SEARCH: 100.0, GENERATE: 10.0}
MINUTES = 5.0

# A client that waits longer than any promise tells a hung server from a slow one.
TIMEOUT_S = 90.0

# One generation in so many writes code (/v1/generate), the others answer a question (/v1/ask).
CODE_EVERY = 5


@dataclass(frozen=True, slots=True)
class Call:
    """A request: where to, and its JSON."""

    path: str
    body: Mapping[str, object]

    def encoded(self) -> bytes:
        """The body's bytes."""
        return json.dumps(self.body).encode()


def call(scenario: str, number: int, question: str) -> Call:
    """The `number`-th request of a scenario."""
    if scenario == SEARCH:
        return Call("/v1/search", {"query": question, "limit": 10})
    if number % CODE_EVERY == CODE_EVERY - 1:
        instruction = f"Write a function for this: {question}"  # by which script.toml knows it
        return Call("/v1/generate", {"instruction": instruction, "language": "python", "stream": True})
    return Call("/v1/ask", {"question": question, "stream": True})


def search_error(status: int, payload: bytes) -> str:
    """Why an answer to a search is none; "" where it is one. An arm that is missing is no whole answer."""
    if status != 200:
        return f"status {status}"
    # Told without reading it all, as nearly every answer is: the generator has better things to do on these cores.
    if payload.startswith(b'{"hits":[{') and b'],"degraded":[],' in payload[-400:]:
        return ""
    try:
        answer = json.loads(payload)
    except ValueError:
        return "not JSON"
    if answer.get("degraded"):
        return f"degraded: {', '.join(answer['degraded'])}"
    return "" if answer.get("hits") else "no hits"


class Stream:
    """Reads the events of an answer as they come."""

    def __init__(self) -> None:
        """Nothing was read yet."""
        self.tokens = 0
        self._name = ""
        self._error = ""
        self._is_done = False
        self._has_answer = False
        self._rest = b""

    def feed(self, data: bytes) -> bool:
        """Take what came; whether the first token was in it."""
        before = self.tokens
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line)
        return before == 0 and self.tokens > 0

    def error(self, status: int) -> str:
        """Why it is no whole answer; "" where it is one. An answer that abstained is one, with one token or more."""
        if status != 200:
            return f"status {status}"
        if self._error:
            return self._error
        if not self._is_done or not self._has_answer:
            return "broken off"
        return "" if self.tokens else "no token"

    def _line(self, line: bytes) -> None:
        if line.startswith(b"event: "):
            self._name = line[7:].strip().decode()
            self._is_done = self._is_done or self._name == "done"
        elif line.startswith(b"data: ") and self._name == "message":
            self.tokens += 1
        elif line.startswith(b"data: ") and self._name == "error":
            self._error = f"error event: {line[6:200].decode(errors='replace')}"
        elif line.startswith(b"data: ") and self._name == "final_answer":
            self._has_answer = True
            if degraded := json.loads(line[6:]).get("degraded"):
                self._error = f"degraded: {', '.join(degraded)}"
