"""Asks the live stack, as any client of its API would: answers, and the lines that they cite."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from evals.ragas.sets import Task
from evals.ragas.tape import ANEW

# A model on a CPU writes an answer for minutes.
ASK_LIMIT_S = 600


class StackRefused(Exception):
    """The stack did not answer as it should; the text says what was asked and what came."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Lines of a file, from 1, both ends included."""

    repository: str
    path: str
    start_line: int
    end_line: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Cited:
    """What [index] of an answer points to; sha256 is of its lines."""

    index: int
    passage: Passage
    sha256: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What POST /v1/ask says. passages: all that were found, best first. mode: generative or extractive."""

    text: str
    citations: tuple[Cited, ...]
    passages: tuple[Passage, ...]
    mode: str = "generative"
    abstained: bool = False
    usage: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        """From the wire. Fails with KeyError on a body that is none."""
        return cls(
            text=body["answer"],
            citations=tuple(Cited(one["index"], _passage(one, ""), one["sha256"]) for one in body["citations"]),
            passages=tuple(_passage(one, one["content"]) for one in body["hits"]),
            mode=body["mode"],
            abstained=body["abstained"],
            usage=body["usage"],
        )


@dataclass(frozen=True, slots=True)
class Lines:
    """What GET /v1/source says of some lines."""

    text: str
    sha256: str


class Stack:
    """The RAG server behind `http`, whose base is its address. Fails with StackRefused, and with httpx's errors."""

    def __init__(self, http: httpx.AsyncClient, limit: int) -> None:
        """limit: passages to search for."""
        self._http, self._limit = http, limit
        self._ids: dict[str, str] = {}

    async def learn(self) -> None:
        """Read which repositories there are: once, before all questions, so that none of them counts the call.

        A run that goes on asks anew: what was not indexed when it stopped may be there now, or under another id.
        """
        body = await self._json(await self._http.get("/v1/repositories", extensions={ANEW: True}))
        self._ids = {one["name"]: one["id"] for one in body["repositories"]}

    def repository(self, name: str) -> str:
        """The id of an indexed repository."""
        if name not in self._ids:
            raise StackRefused(f"no repository {name!r} is indexed; there are {', '.join(sorted(self._ids)) or 'none'}")
        return self._ids[name]

    def unfinished(self, tasks: Sequence[Task], done: Mapping[str, Mapping[str, Any]]) -> list[Task]:
        """The tasks that `done`, lines by question, lacks or has of a repository that is another one now.

        One that is gone is no reason: what was asked of it was asked.
        """

        def is_finished(task: Task) -> bool:
            line = done.get(task.question.id)
            now = self._ids.get(task.question.repository)
            return line is not None and (now is None or line.get("repository_id", now) == now)

        return [task for task in tasks if not is_finished(task)]

    async def ask(self, question: str, repository: str) -> Answer:
        """The answer to a question in one repository, by its id."""
        body = {"question": question, "repositories": [repository], "limit": self._limit}
        return Answer.of(await self._json(await self._http.post("/v1/ask", json=body, timeout=ASK_LIMIT_S)))

    async def lines(self, passage: Passage) -> Lines | None:
        """The lines of a passage as they were indexed; None where there are no such lines."""
        asked = {"repository": passage.repository, "path": passage.path}
        if passage.end_line:
            asked |= {"start_line": str(passage.start_line), "end_line": str(passage.end_line)}
        answer = await self._http.get("/v1/source", params=asked)
        if answer.status_code in (404, 422):
            return None
        body = await self._json(answer)
        return Lines(body["content"], body["sha256"])

    async def _json(self, answer: httpx.Response) -> Any:
        if answer.status_code != 200:
            asked = f"{answer.request.method} {answer.request.url.path}"
            raise StackRefused(f"{asked} was answered with {answer.status_code}: {answer.text[:300]}")
        return answer.json()


def _passage(one: Mapping[str, Any], text: str) -> Passage:
    return Passage(one["repository"], one["path"], one["start_line"], one["end_line"], text)
