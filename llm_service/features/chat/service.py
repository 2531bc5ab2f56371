"""What happens to a chat request: find the model, ask the server, pass its answer on. Knows no HTTP."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from llm_service.core.envelope import error_event
from llm_service.core.settings import NOT_CONFIGURED, LlmSettings
from llm_service.features.chat.events import EventStream
from llm_service.features.chat.metrics import ChatMetrics, Observation
from llm_service.features.chat.names import ModelNames, unknown_model
from llm_service.features.chat.schemas import ChatRequest
from llm_service.providers.base import Answer, Provider
from service_kit.errors import ServiceError, Unavailable, Upstream
from service_kit.health import Check

_log = logging.getLogger("llm_service.chat")

# Nobody can serve before a person changes a setting; a minute keeps clients from asking again at once.
_NOT_CONFIGURED_RETRY_S = 60


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes to the caller: server-sent events, or one JSON body (then `chunks` is that one)."""

    is_stream: bool
    chunks: AsyncIterator[bytes]


class ChatService:
    """The gateway's one feature. `provider` is None where no server is configured."""

    def __init__(self, provider: Provider | None, settings: LlmSettings, metrics: ChatMetrics):
        """Asks nothing yet."""
        self._provider = provider
        self._names = ModelNames(provider, settings) if provider is not None else None
        self._metrics = metrics
        self._default_model = settings.llm_model

    async def models(self) -> tuple[dict[str, Any], ...]:
        """What is served now; empty where nothing is configured."""
        return await self._names.served(max_age_s=0) if self._names is not None else ()

    async def model(self, model_id: str) -> dict[str, Any]:
        """One of models(). Fails with 404 `model_not_found`, or Unavailable where nothing is configured."""
        provider, _ = self._configured()
        served = await self.models()
        for model in served:
            if model["id"] == model_id:
                return model
        raise unknown_model(model_id, provider.address, [str(model["id"]) for model in served], "see /v1/models")

    @asynccontextmanager
    async def answer(self, request: ChatRequest) -> AsyncIterator[Reply]:
        """The answer to a request, already begun. Leaving the block early ends the upstream's work.

        Fails as Provider.chat does and with Unavailable where nothing is configured; once it has begun, a failure is
        an error event in the stream.
        """
        with self._metrics.observe(request.model or self._default_model) as observation:
            provider, names = self._configured()
            observation.model = await names.resolve(request.model)
            body = request.encoded_for(observation.model)
            async with provider.chat(body, is_stream=request.is_stream) as answer:
                observation.begin()
                yield Reply(answer.is_stream, self._chunks(answer, observation))

    async def checks(self) -> Sequence[Check]:
        """Whether a server is configured and answers, for /readyz."""
        if self._provider is None or self._names is None:
            return [Check("upstream", False, NOT_CONFIGURED)]
        address = self._provider.address
        try:
            served = await self._names.served()
        except ServiceError as exc:
            return [Check("upstream", False, exc.message)]
        if not served:
            return [Check("upstream", True, f"{address} answers but lists no models; does the address end in /v1?")]
        return [Check("upstream", True, f"{address} serves {len(served)} models, {served[0]['id']} first")]

    def _configured(self) -> tuple[Provider, ModelNames]:
        if self._provider is None or self._names is None:
            raise Unavailable(
                NOT_CONFIGURED, retry_after_s=_NOT_CONFIGURED_RETRY_S, details={"code": "model_not_configured"}
            )
        return self._provider, self._names

    async def _chunks(self, answer: Answer, observation: Observation) -> AsyncIterator[bytes]:
        if not answer.is_stream:
            self._metrics.count_tokens(observation.model, _usage(answer.first))
            yield answer.first
            return
        events = EventStream()
        try:
            yield events.feed(answer.first)
            async for chunk in answer.rest:
                yield events.feed(chunk)
            if not events.is_finished:
                raise Upstream("the model's server ended its stream before the answer was finished")
            yield events.rest()
        except ServiceError as exc:
            observation.outcome = exc.code
            _log.warning("stream broke", extra={"code": exc.code, "model": observation.model, "detail": exc.message})
            yield error_event(exc)
        self._metrics.count_tokens(observation.model, events.tokens())


def _usage(payload: bytes) -> dict[str, int]:
    usage = orjson.loads(payload).get("usage") or {}
    counts = {kind: usage.get(f"{kind}_tokens") for kind in ("prompt", "completion")}
    return {kind: count for kind, count in counts.items() if isinstance(count, int)}
