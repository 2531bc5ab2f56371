"""The list of models, as the backends tell it now, and whether they can be used."""

from collections.abc import Sequence
from typing import Any

from llm_service.core.errors import not_configured
from llm_service.core.settings import NOT_CONFIGURED
from llm_service.providers.base import AttemptFailed
from llm_service.providers.breaker import State
from llm_service.providers.catalog import Member, unknown_model
from llm_service.providers.pool import Pool
from service_kit.errors import NotFound, ServiceError
from service_kit.health import Check


class ModelsService:
    """Reads from the pool's catalog."""

    def __init__(self, pool: Pool):
        """Asks nothing yet."""
        self._pool = pool

    @property
    def is_configured(self) -> bool:
        """Whether there is a backend."""
        return bool(self._pool.members)

    async def models(self) -> list[dict[str, Any]]:
        """OpenAI's model objects, with `max_model_len` where the backend tells it; empty where nothing is configured.

        An alias says in `root` what it stands for. Fails where no backend answers.
        """
        return await self._pool.catalog.models()

    async def model(self, model_id: str) -> dict[str, Any]:
        """One of models(). Fails with 404 `model_not_found`, or Unavailable where nothing is configured."""
        if not self._pool.members:
            raise not_configured()
        models = await self.models()
        for model in models:
            if model["id"] == model_id:
                return model
        raise unknown_model(model_id, [str(model["id"]) for model in models], "see /v1/models")

    async def version(self) -> bytes:
        """GET /version of the first backend that has it, which is vLLM's. Fails with NotFound where none has."""
        if not self._pool.members:
            raise not_configured()
        failure: ServiceError = NotFound("no backend tells a version; vLLM does")
        for member in self._pool.members:
            try:
                return await member.provider.fetch("/version")
            except NotFound:
                continue
            except AttemptFailed as exc:
                failure = exc.failure
            except ServiceError as exc:
                failure = exc
        raise failure

    async def checks(self, problems: Sequence[str] = ()) -> Sequence[Check]:
        """Which backends are usable, for /readyz: it is ready while one is. problems: of the configuration."""
        members = self._pool.members
        if not members:
            return [Check("backends", False, NOT_CONFIGURED)]
        if any(member.breaker.last_failure is not None for member in members):
            await self._pool.catalog.read()  # whoever failed last may be back, or gone
        else:
            await self._pool.catalog.read_if_old()
        backends = [_check(member) for member in members]
        is_usable = any(check.ok for check in backends)
        told = f"{sum(check.ok for check in backends)} of {len(backends)} are usable"
        faults = [Check("configuration", False, problem, required=False) for problem in problems]
        return [Check("backends", is_usable, told), *backends, *faults]

    async def known(self, problems: Sequence[str] = ()) -> Sequence[Check]:
        """What checks() would say, from what is known already: nobody is asked. Innocent until seen to fail."""
        members = self._pool.members
        if not members:
            return [Check("backends", False, NOT_CONFIGURED)]
        backends = [_check(member) for member in members]
        faults = [Check("configuration", False, problem, required=False) for problem in problems]
        return [Check("backends", any(check.ok for check in backends), "as far as is known"), *backends, *faults]


def _check(member: Member) -> Check:
    name, address, breaker = f"backend {member.backend.name}", member.provider.address, member.breaker
    failed = breaker.last_failure
    if breaker.is_key_refused and failed is not None:
        return Check(name, False, failed.failure.logged, required=False)
    if breaker.state is not State.CLOSED and failed is not None:
        wait = f"{breaker.state.name.lower().replace('_', '-')}, asked again in {breaker.wait_s():.0f} s"
        return Check(name, False, f"{failed.failure.logged} ({wait})", required=False)
    if member.failure is not None:
        return Check(name, False, member.failure.logged, required=False)
    if not member.model_ids:
        return Check(name, True, f"{address} answers but lists no models; does the address end in /v1?", required=False)
    detail = f"{address} serves {len(member.model_ids)} models, {member.model_ids[0]} first"
    return Check(name, True, detail, required=False)
