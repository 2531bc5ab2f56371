"""A provider that answers with what a test gives it, and its exchanges in a folder."""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from llm_service.providers.base import Answer, AttemptFailed, Call
from llm_service.providers.paced import PacedStream, WholeAnswer
from llm_service.providers.recorded.recorder import Recorder
from llm_service.providers.scripted.script import CHAT
from service_kit.errors import NotFound, ServiceError

KEY = "sk-planted-7f3a"

Saying = bytes | list[bytes | ServiceError] | Exception


class Told:
    """A backend that answers with what a test gives it, in turn: a whole body, the reads of a stream, or a failure."""

    address = "http://told/v1"

    def __init__(self, *answers: Saying, models: Sequence[dict[str, Any]] = (), pause_s: float = 0.0) -> None:
        self.key = KEY
        self.answers = list(answers)
        self.listed = tuple(models)
        self.pause_s = pause_s
        self.closed: list[str] = []

    async def send(self, call: Call) -> Answer:
        said = self.answers.pop(0)
        await asyncio.sleep(self.pause_s)
        if isinstance(said, Exception):
            raise said from RuntimeError(f"Authorization: Bearer {self.key}")
        if isinstance(said, bytes):
            return WholeAnswer(said)
        first, *rest = said
        assert isinstance(first, bytes)
        steps = ((self.pause_s * (i + 2), read) for i, read in enumerate(rest))
        return PacedStream(first, steps, asyncio.get_running_loop().time() - self.pause_s)

    async def models(self) -> tuple[dict[str, Any], ...]:
        return self.listed

    async def fetch(self, path: str) -> bytes:
        if path != "/version":
            raise NotFound("none")
        return b'{"version": "1"}'

    async def close(self) -> None:
        self.closed.append("provider")


def call_of(body: Any = None, *, path: str = CHAT, within_s: float = 30.0) -> Call:
    content = body if isinstance(body, bytes) else orjson.dumps(body or {"model": "m", "messages": []})
    deadline = asyncio.get_running_loop().time() + within_s
    return Call(path, content, False, first_by=deadline, expires_at=deadline)


async def reads_of(answer: Answer) -> list[bytes]:
    reads = [answer.first]
    while read := await answer.more():
        reads.append(read)
    return reads


async def record(folder: Path, *answers: Saying, **told: Any) -> None:
    """Ask the same question once for each answer, and read each to its end."""
    recorder = Recorder(Told(*answers, **told), folder)
    for _ in answers:
        with contextlib.suppress(AttemptFailed, ServiceError):
            await reads_of(await recorder.send(call_of()))


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []
