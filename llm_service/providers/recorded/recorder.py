"""Stores what a real provider answers, so that replay.py can answer the same without it."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import orjson

from llm_service.providers.base import Answer, AttemptFailed, Call, Provider
from llm_service.providers.recorded.exchanges import Exchange, store
from llm_service.providers.recorded.lines import Failure
from llm_service.providers.scripted.script import MODELS
from service_kit.errors import ServiceError

_log = logging.getLogger(__name__)

_DONE = b"data: [DONE]"


class Recorder:
    """Passes everything through, and writes a file for each exchange that came to its end or its failure.

    A call holds no key and headers are not seen here, so that none is stored. What a client left before its end, and
    what was cancelled, is no exchange. A folder that cannot be written costs the recording, never the answer.
    """

    def __init__(self, inner: Provider, folder: Path) -> None:
        """folder: made where it is not there; several recorders may share it."""
        self._inner = inner
        self._folder = folder
        self._listed: tuple[dict[str, Any], ...] | None = None
        self._fetched: dict[str, bytes] = {}

    @property
    def address(self) -> str:
        """The inner provider's."""
        return self._inner.address

    async def models(self) -> tuple[dict[str, Any], ...]:
        """The inner provider's; stored where they changed, since readiness probes ask again and again."""
        listed = await self._inner.models()
        if listed != self._listed:
            self._listed = listed
            self.keep(Exchange(MODELS, None, False, ((0.0, orjson.dumps(listed)),), 0.0))
        return listed

    async def fetch(self, path: str) -> bytes:
        """The inner provider's; stored where it changed."""
        document = await self._inner.fetch(path)
        if document != self._fetched.get(path):
            self._fetched[path] = document
            self.keep(Exchange(path, None, False, ((0.0, document),), 0.0))
        return document

    async def close(self) -> None:
        """Close the inner provider; nothing is held here."""
        await self._inner.close()

    async def send(self, call: Call) -> Answer:
        """The inner provider's answer; a stream is stored when it ends."""
        began = _now()
        try:
            answer = await self._inner.send(call)
        except (AttemptFailed, ServiceError) as exc:
            self.keep(Exchange(call.path, call.body, False, (), _now() - began, exc))
            raise
        if answer.is_stream:
            return _Recorded(answer, self, call, began)
        at_s = _now() - began
        self.keep(Exchange(call.path, call.body, False, ((at_s, answer.first),), at_s))
        return answer

    def keep(self, exchange: Exchange) -> None:
        """Store it, or say in the log that it is not."""
        # In the loop, so that what was answered is stored: 0.3 to 1.3 ms a file on a local disk, plain answers and
        # streams of 50 tokens, measured. Evaluations are recorded, load is not.
        try:
            store(self._folder, exchange)
        except OSError as exc:
            _log.error("an exchange is not recorded in %s: %s", self._folder, exc.strerror)


class _Recorded:
    """A stream that remembers what came and when."""

    is_stream = True

    def __init__(self, inner: Answer, recorder: Recorder, call: Call, began: float) -> None:
        self.first = inner.first
        self._inner = inner
        self._recorder = recorder
        self._call = call
        self._began = began
        self._reads = [(_now() - began, inner.first)]
        self._is_over = False

    async def more(self) -> bytes:
        try:
            read = await self._inner.more()
        except ServiceError as exc:
            self._end(exc)
            raise
        if read:
            self._reads.append((_now() - self._began, read))
        else:
            self._end()
        return read

    def close(self) -> None:
        # A caller that has seen [DONE] may not wait for the end of the connection.
        tail = b"".join(read for _, read in self._reads[-len(_DONE) - 4 :])
        if tail.rstrip().endswith(_DONE):
            self._end()
        self._is_over = True
        self._inner.close()

    def _end(self, failure: Failure | None = None) -> None:
        if self._is_over:
            return
        self._is_over = True
        call, reads = self._call, tuple(self._reads)
        self._recorder.keep(Exchange(call.path, call.body, True, reads, _now() - self._began, failure))


def _now() -> float:
    return asyncio.get_running_loop().time()
