"""Which backends serve a model, by which name there. What they list is asked for now and then, not on the hot path."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from llm_service.core.backends import Backend
from llm_service.core.errors import Refused
from llm_service.core.settings import DEFAULT_MODEL
from llm_service.providers.base import AttemptFailed, Provider
from llm_service.providers.breaker import Breaker
from service_kit.errors import ServiceError, Upstream

_log = logging.getLogger("llm_service.catalog")

# A server changes its models when it is restarted or when somebody pulls one: half a minute is soon enough.
FRESH_S = 30.0

# An unknown name has the lists read again, since the model may just have been pulled, but not for every such request.
MISS_FRESH_S = 2.0

# At the start, and after a change, requests wait so long for those who may serve their model beside the one that is
# known to. A server that hangs delays those of this second, and no later ones.
FIRST_READING_S = 1.0

# vLLM tells its folder on the server in `root`, and permissions that mean nothing here.
_PRIVATE = frozenset({"root", "parent", "permission"})

# How many names a message lists.
_LISTED = 10


@dataclass(slots=True, eq=False)
class Member:
    """A backend at work. listed: what it said it serves; None: it never answered. failure: why it did not just now."""

    backend: Backend
    provider: Provider
    breaker: Breaker = field(default_factory=Breaker)
    listed: tuple[dict[str, Any], ...] | None = None
    failure: ServiceError | None = None
    in_flight: int = 0
    turn: float = 0.0

    @property
    def is_known(self) -> bool:
        """Whether it has been asked what it serves, or need not be."""
        return bool(self.backend.models) or self.listed is not None or self.failure is not None

    @property
    def model_ids(self) -> tuple[str, ...]:
        """What it serves as far as known; empty: anything, as far as we can tell."""
        return self.backend.models or tuple(str(model["id"]) for model in self.listed or ())

    def model_object(self, name: str) -> dict[str, Any]:
        """OpenAI's object for one of its models: the server's own, where it listed it."""
        for model in self.listed or ():
            if model["id"] == name:
                return {key: value for key, value in model.items() if key not in _PRIVATE}
        return {"id": name, "object": "model", "created": 0, "owned_by": self.backend.name}

    async def read(self) -> None:
        """Ask it for its list. Never fails: an old list outlives a failure, which is kept beside it."""
        try:
            self.listed, self.failure = await self.provider.models(), None
        except Exception as exc:
            failure = exc.failure if isinstance(exc, AttemptFailed) else exc
            if not isinstance(failure, ServiceError):
                # One backend's strange answer must not hide what the others serve.
                _log.exception("a list of models cannot be read", extra={"backend": self.backend.name})
                failure = Upstream(f"{self.provider.address} lists its models in a way that cannot be read")
            self.failure = failure


@dataclass(frozen=True, slots=True)
class Target:
    """A member, and what it calls the model.

    name: what the caller calls it, an alias or the same. is_known: the configuration or a backend gave that name, and
    not only the caller.
    """

    member: Member
    model: str
    name: str
    is_known: bool = True

    @property
    def is_listed(self) -> bool:
        """Whether the configuration or the backend knows the name; else a caller may have made it up."""
        return self.name in self.member.model_ids or any(self.name == alias for alias, _ in self.member.backend.aliases)


class Catalog:
    """Resolves names for one set of members."""

    def __init__(
        self, members: Sequence[Member], chosen: str | None = None, clock: Callable[[], float] = time.monotonic
    ):
        """chosen: the model that the operator named for requests that name none. Asks nothing yet."""
        self.members = tuple(members)
        self._chosen = chosen
        self._clock = clock
        self._read_at = -math.inf
        # Before the first reading the default name has no meaning yet: a server may really serve it.
        self._is_read = all(member.is_known for member in self.members)
        self._has_waited = self._is_read
        self._reading: asyncio.Task[None] | None = None
        self._targets: dict[str, list[Target]] = {}
        self._index()

    async def find(self, asked: str | None) -> Sequence[Target]:
        """Where to send a request for this model; one target or more. None: the default one.

        Fails with Refused 404 `model_not_found`.
        """
        targets = self._targets.get(asked or "")
        age_s = self._clock() - self._read_at
        if targets is not None and (self._is_read or asked not in (None, "", DEFAULT_MODEL)):
            if age_s > FRESH_S:
                reading = self._start_reading()  # behind this request's back, which knows enough
                if not self._has_waited and self._may_grow(targets):
                    await asyncio.wait({reading}, timeout=FIRST_READING_S)
                    self._has_waited = True
                    return self._targets.get(asked or "", targets)
            return targets
        if age_s > MISS_FRESH_S:
            await self.read()
        return self._targets.get(asked or "") or self._look_closer(asked or self._chosen or DEFAULT_MODEL)

    def _may_grow(self, targets: Sequence[Target]) -> bool:
        """Whether somebody who was never asked may serve that model, too."""
        known = {target.member for target in targets}
        return any(not member.is_known and member not in known for member in self.members)

    async def models(self) -> list[dict[str, Any]]:
        """OpenAI's model objects, as the backends tell them now; an alias says in `root` what it stands for.

        Fails as Provider.models does where no backend answers and none has its models configured.
        """
        # Of a server that hangs we know that it does, or what it listed before: the others need not wait for it.
        longest_s = FIRST_READING_S if all(member.is_known for member in self.members) else None
        await asyncio.wait({self._start_reading()}, timeout=longest_s)
        known = [member for member in self._in_order() if member.listed is not None or member.backend.models]
        failures = [member.failure for member in self.members if member.failure is not None]
        if failures and not known:
            raise failures[0]
        objects: dict[str, dict[str, Any]] = {}
        for member in known:
            for name in member.model_ids:
                objects.setdefault(name, member.model_object(name))
            for alias, name in member.backend.aliases:
                objects.setdefault(alias, {**member.model_object(name), "id": alias, "root": name})
        return list(objects.values())

    async def read_if_old(self) -> None:
        """The same, unless it was done within FRESH_S, or MISS_FRESH_S where somebody did not answer."""
        has_failed = any(member.failure is not None for member in self.members)
        if self._clock() - self._read_at > (MISS_FRESH_S if has_failed else FRESH_S):
            await self.read()

    async def read(self) -> None:
        """Ask all members for their lists, at once. Never fails."""
        await asyncio.shield(self._start_reading())

    def _start_reading(self) -> asyncio.Task[None]:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_all(), name="reading lists of models")
        return self._reading

    async def _read_all(self) -> None:
        await asyncio.gather(*(member.read() for member in self.members))
        self._read_at = self._clock()
        self._is_read = self._has_waited = True
        self._index()

    def _in_order(self) -> list[Member]:
        return sorted(self.members, key=lambda member: member.backend.priority)

    def _index(self) -> None:
        """Make the table of the hot path anew."""
        targets: dict[str, list[Target]] = {}
        for member in self._in_order():
            for name in member.model_ids:
                targets.setdefault(name, []).append(Target(member, name, name))
            for alias, name in member.backend.aliases:
                targets.setdefault(alias, []).append(Target(member, name, alias))
        chosen = self._chosen
        if chosen is not None and chosen not in targets:
            # The operator says that it is served: a server may list its models by other names than it takes.
            targets[chosen] = self._everywhere(chosen)
        if DEFAULT_MODEL not in targets:
            stand_in = chosen or _only(targets)
            if stand_in is not None:
                targets[DEFAULT_MODEL] = targets[stand_in]
        if (chosen or DEFAULT_MODEL) in targets:
            targets[""] = targets[chosen or DEFAULT_MODEL]
        self._targets = {name: served for name, served in targets.items() if served}

    def _everywhere(self, name: str) -> list[Target]:
        """At the members whose models are not configured."""
        return [Target(member, name, name) for member in self._in_order() if not member.backend.models]

    def _look_closer(self, name: str) -> list[Target]:
        # Ollama lists qwen:latest and takes qwen; OpenRouter lists a model and takes it with :online and the like.
        base, colon, suffix = name.partition(":")
        for known, rest in ((f"{name}:latest", ""), (base, colon + suffix)):
            if known in self._targets:
                return [_as_asked(target, name, known, rest) for target in self._targets[known]]
        # Whoever lists nothing, or cannot be asked, may serve it: let it say so itself.
        silent = [Target(member, name, name, False) for member in self._in_order() if not member.model_ids]
        if silent:
            return silent
        served = [name for name in self._targets if name]
        hint = "set LLM_MODEL to one of them" if name == DEFAULT_MODEL else "see /v1/models"
        raise unknown_model(name, served, hint)


def _as_asked(target: Target, asked: str, known: str, rest: str) -> Target:
    """A target of the known name for one that differs from it: the caller's own word, but where it is an alias."""
    return Target(target.member, asked if target.model == known else target.model + rest, target.name)


def unknown_model(name: str, served: Iterable[str], hint: str) -> Refused:
    """OpenAI's 404 for a model, with what there is instead."""
    names = list(served)
    listed = ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
    message = f"the model `{name[:100]}` is not served here, but these are: {listed or 'none'}; {hint}"
    return Refused(404, message, param="model", code="model_not_found")


def _only(targets: dict[str, list[Target]]) -> str | None:
    """The name of the only model there is, if it is one."""
    models = {target.model for served in targets.values() for target in served}
    return next(iter(models)) if len(models) == 1 and models <= targets.keys() else None
