"""Answers from recorded exchanges, bit for bit: the same reads, the same failures, at the same pace where asked."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from llm_service.core.errors import Refused
from llm_service.providers.base import Answer, AttemptFailed, Call, Provider
from llm_service.providers.paced import PacedStream, Step, WholeAnswer, wait
from llm_service.providers.recorded.exchanges import Exchange, key_of, load, stored_in
from llm_service.providers.scripted.script import MODELS
from service_kit.errors import NotFound, Upstream


def replay_provider(folder: Path, *, pace: bool) -> Provider:
    """A provider that answers what a Recorder stored in `folder`.

    pace: at the recorded times; else at once. A request recorded several times is answered in that order, then with the
    last for ever. Fails with ValueError, in words, where the folder holds no recording or a damaged one.
    """
    return _Replay(folder, pace=pace)


class _Replay:
    """Holds where each recording is, not the recordings: a day of them may be larger than memory."""

    def __init__(self, folder: Path, *, pace: bool) -> None:
        self._folder = folder
        self._pace = pace
        self._files: dict[str, list[Path]] = {}
        self._asked: dict[str, int] = {}
        self._documents: dict[str, bytes] = {}
        self._models: dict[str, dict[str, Any]] = {}
        named: dict[str, None] = {}
        for path in stored_in(folder):
            exchange = load(path)
            if exchange.body is None:
                self._keep(path, exchange)
            else:
                self._files.setdefault(key_of(exchange.path, exchange.body), []).append(path)
                named.update(_model_in(exchange.body))
        if not self._files and not self._documents and not self._models:
            raise ValueError(f"{folder} holds no recording")
        if not self._models:
            self._models = {name: {"id": name, "object": "model", "created": 0} for name in named}

    def _keep(self, path: Path, exchange: Exchange) -> None:
        _, content = exchange.reads[0]
        if exchange.path != MODELS:
            self._documents[exchange.path] = content
            return
        try:
            self._models.update((model["id"], model) for model in orjson.loads(content))
        except (ValueError, TypeError, KeyError) as exc:
            raise ValueError(f"{path}, line 2: it is not a list of models") from exc

    @property
    def address(self) -> str:
        """Says that it is a recording."""
        return f"the recording in {self._folder}"

    async def models(self) -> tuple[dict[str, Any], ...]:
        """The recorded ones; where none were asked for, those that recorded requests name."""
        return tuple({**model, "owned_by": "recording"} for model in self._models.values())

    async def fetch(self, path: str) -> bytes:
        """A recorded document."""
        if path not in self._documents:
            raise NotFound(f"{self.address} has no {path}")
        return self._documents[path]

    async def close(self) -> None:
        """Nothing is held."""

    async def send(self, call: Call) -> Answer:
        """What was recorded for this request, this time."""
        began = asyncio.get_running_loop().time()
        exchange = self._next(call)
        first_s, first = exchange.reads[0] if exchange.reads else (exchange.ended_s, b"")
        deadline = call.first_by if call.is_stream else call.expires_at
        await wait(began, first_s if self._pace else 0.0, deadline, self.address)
        if not exchange.reads:
            assert exchange.failure is not None
            raise exchange.failure
        return PacedStream(first, self._steps(exchange), began) if exchange.is_stream else WholeAnswer(first)

    def _next(self, call: Call) -> Exchange:
        key = key_of(call.path, call.body)
        files = self._files.get(key)
        if files is None:
            # 404 and no 5xx: the request asks for what is not here, and asking again would not help.
            told = f"this request ({key}) is not recorded in {self._folder}; record it with LLM_RECORD_TO"
            raise Refused(404, told, type="invalid_request_error", code="not_recorded")
        turn = self._asked.get(key, 0)
        self._asked[key] = turn + 1
        try:
            return load(files[min(turn, len(files) - 1)])
        except ValueError as exc:
            raise Upstream(str(exc)) from exc

    def _steps(self, exchange: Exchange) -> Iterator[Step]:
        for at_s, read in exchange.reads[1:]:
            yield (at_s if self._pace else 0.0), read
        failure = exchange.failure
        if failure is not None:
            error = failure.failure if isinstance(failure, AttemptFailed) else failure
            yield (exchange.ended_s if self._pace else 0.0), error


def _model_in(body: bytes) -> dict[str, None]:
    try:
        name = orjson.loads(body)["model"]
    except (ValueError, TypeError, KeyError):
        return {}
    return {name: None} if isinstance(name, str) else {}
