"""Which model a request means, and what the server behind the gateway serves."""

import asyncio
import time
from typing import Any

from llm_service.core.errors import Refused
from llm_service.core.settings import DEFAULT_MODEL, LlmSettings
from llm_service.providers.base import Provider
from service_kit.errors import ServiceError

# A server changes its models when it is restarted or when somebody pulls one: half a minute is soon enough, and
# spares it a call for every request and every probe.
FRESH_S = 30.0

# How many names a message lists.
_LISTED = 10


class ModelNames:
    """Resolves names. Behind LLM_BASE_URL the default name stands for that server's model, unless it serves it."""

    def __init__(self, provider: Provider, settings: LlmSettings):
        """Asks nothing yet."""
        self._provider = provider
        self._settings = settings
        self._served: tuple[dict[str, Any], ...] = ()
        self._asked_at: float | None = None
        self._lock = asyncio.Lock()

    async def served(self, max_age_s: float = FRESH_S) -> tuple[dict[str, Any], ...]:
        """OpenAI's model objects, at most max_age_s old. Fails as Provider.models does; failures are not kept."""
        async with self._lock:
            now = time.monotonic()
            if self._asked_at is None or now - self._asked_at >= max_age_s:
                self._served = await self._provider.models()
                self._asked_at = now
            return self._served

    async def resolve(self, asked: str | None) -> str:
        """The name to forward for the one that was asked. Fails with 404 where it could mean several."""
        if asked is not None and asked != DEFAULT_MODEL:
            return asked
        if self._settings.llm_base_url is None:
            return asked or self._settings.llm_model
        chosen = self._settings.chosen_model
        if chosen is not None and asked is None:
            return chosen
        try:
            ids = [str(model["id"]) for model in await self.served()]
        except ServiceError:
            if chosen is not None:
                return chosen
            raise
        return self._pick(ids, chosen)

    def _pick(self, ids: list[str], chosen: str | None) -> str:
        if DEFAULT_MODEL in ids:
            return DEFAULT_MODEL
        if chosen is not None:
            return chosen
        if len(ids) == 1:
            return ids[0]
        if not ids:
            return DEFAULT_MODEL  # it lists none: let it say itself what it makes of the name
        raise unknown_model(DEFAULT_MODEL, self._provider.address, ids, "set LLM_MODEL to one of them")


def unknown_model(model: str, address: str, ids: list[str], next_step: str) -> Refused:
    """OpenAI's 404 for a model, with what there is instead."""
    listed = ", ".join(ids[:_LISTED]) + (f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else "")
    message = f"the model `{model[:100]}` is not served at {address}, which serves: {listed or 'none'}; {next_step}"
    return Refused(404, message, param="model", code="model_not_found")
