"""All backends as one: picks who is asked, tries again elsewhere, and lets go of who fails. The only retry loop."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llm_service.core.backends import Backend
from llm_service.core.errors import not_configured
from llm_service.providers.base import Answer, AttemptFailed, Call, Fault, Provider
from llm_service.providers.breaker import Breaker, State
from llm_service.providers.catalog import Catalog, Member, Target
from llm_service.providers.refusals import Sender, failure_of, status_in
from llm_service.providers.retries import MAX_WAIT_S, RetryBudget, wait_s
from service_kit.errors import DeadlineExceeded, Overloaded, ServiceError, Unavailable

MakeProvider = Callable[[Backend], Provider]

# uvloop's timers count from the start of the loop's turn, and so fire before their time by what the turn took. Who is
# asked then is still let alone, and the retry becomes a refusal: where the jitter was near 0 this was seen.
WAKES_EARLY_S = 0.05


@dataclass(frozen=True, slots=True)
class Request:
    """What the pool needs to know of a request.

    body: what to send to a target. on_attempt: told of each target before it is asked. Times are the running loop's.
    """

    path: str
    body: Callable[[Target], bytes]
    on_attempt: Callable[[Target], None]
    is_stream: bool
    first_by: float
    expires_at: float


class Placed:
    """An answer that has begun, and who gives it. Close it, once or more often."""

    __slots__ = ("_has_failed", "_is_open", "answer", "target")

    def __init__(self, answer: Answer, target: Target):
        """The member's place is taken until close()."""
        self.answer = answer
        self.target = target
        self._is_open = True
        self._has_failed = False

    @property
    def address(self) -> str:
        """Who answers, for messages."""
        return self.target.member.provider.address

    def broke(self, failure: ServiceError) -> None:
        """The stream broke off, or fell silent: that is the backend's fault as much as no answer."""
        self._fail(AttemptFailed(failure, Fault.DOWN))

    def reported(self, payload: bytes) -> ServiceError:
        """The failure that an error event in the stream is: `payload` is its JSON."""
        backend = self.target.member.backend
        if backend.key is not None:
            payload = payload.replace(backend.key.get_secret_value().encode(), b"***")
        failure = failure_of(status_in(payload), payload, None, Sender(self.address, backend.key_source))
        if isinstance(failure, AttemptFailed):
            self._fail(failure)
            return failure.failure
        return failure

    def _fail(self, failure: AttemptFailed) -> None:
        self._has_failed = True
        self.target.member.breaker.fail(failure)

    def close(self) -> None:
        """Let go of the answer; before its end this stops the server's work."""
        if self._is_open:
            self._is_open = False
            member = self.target.member
            member.in_flight -= 1
            if self.answer.is_stream and not self._has_failed:
                member.breaker.end_stream()
            self.answer.close()


class Pool:
    """The backends in force. Where they change, requests in work end where they began."""

    def __init__(
        self,
        backends: Callable[[], Sequence[Backend]],
        make: MakeProvider,
        *,
        chosen: str | None = None,
        max_retries: int = 2,
        on_retry: Callable[[Target, Fault], None] | None = None,
    ):
        """backends: those that shall be in force now; asked for each request, and another object means another set.

        make: the provider of a backend. chosen: as Catalog's. on_retry: told of each attempt that another follows.

        max_retries: of one request; every backend of a model gets one attempt even where that is more.
        """
        self._make = make
        self._chosen = chosen
        self._max_retries = max_retries
        self._on_retry = on_retry
        self._budget = RetryBudget()
        self._backends = backends
        self._in_force: Sequence[Backend] = ()
        self._catalog = Catalog((), chosen)
        self._swap(backends())

    @property
    def catalog(self) -> Catalog:
        """What the backends in force serve."""
        wanted = self._backends()
        if wanted is not self._in_force:
            self._swap(wanted)
        return self._catalog

    @property
    def members(self) -> Sequence[Member]:
        """The backends in force."""
        return self.catalog.members

    def _swap(self, backends: Sequence[Backend]) -> None:
        """All at once. One that is unchanged keeps its breaker, its connections and its list of models."""
        kept = {member.backend: member for member in self._catalog.members}
        members = [kept.get(backend) or Member(backend, self._make(backend), Breaker()) for backend in backends]
        self._in_force, self._catalog = backends, Catalog(members, self._chosen)

    async def send(self, asked: str | None, request: Request) -> Placed:
        """The answer of a backend that serves the model, begun.

        asked: the model's public name; None: the default one. Fails as the last attempt did, with Unavailable or
        Overloaded where no backend can be asked now or is configured, and with Refused where none serves the model.
        """
        catalog = self.catalog
        if not catalog.members:
            raise not_configured()
        targets = await catalog.find(asked)
        self._budget.earn()
        tried: list[Member] = []
        failed: AttemptFailed | None = None
        while True:
            target = self._pick(targets, tried)
            if target is None:
                raise failed.failure if failed is not None else self._none_free(targets)
            try:
                return await self._attempt(target, request)
            except AttemptFailed as exc:
                failed = exc
                tried.append(target.member)
                pause_s = self._pause_s(targets, tried, exc)
                is_last = exc.fault is Fault.KEY or len(tried) > max(self._max_retries, len(targets) - 1)
                now = asyncio.get_running_loop().time()
                if is_last or pause_s > MAX_WAIT_S or now + pause_s >= request.first_by or not self._budget.spend():
                    raise exc.failure from exc
                if self._on_retry is not None:
                    self._on_retry(target, exc.fault)
            if pause_s:
                await asyncio.sleep(pause_s)

    async def _attempt(self, target: Target, request: Request) -> Placed:
        member = target.member
        request.on_attempt(target)
        call = Call(request.path, request.body(target), request.is_stream, request.first_by, request.expires_at)
        probe = member.breaker.begin()
        member.in_flight += 1
        try:
            answer = await member.provider.send(call)
        except AttemptFailed as exc:
            member.breaker.fail(exc, probe)
            member.in_flight -= 1
            raise
        except DeadlineExceeded as exc:
            # The request's time is over, so nothing follows; but who lets five requests hang is asked no more.
            member.breaker.fail(AttemptFailed(exc, Fault.DOWN), probe)
            member.in_flight -= 1
            raise
        except ServiceError:
            member.breaker.succeed()
            member.in_flight -= 1
            raise
        except BaseException:
            member.breaker.abandon(probe)
            member.in_flight -= 1
            raise
        if answer.is_stream:
            member.breaker.begin_stream()
        else:
            member.breaker.succeed()
        return Placed(answer, target)

    def _pick(self, targets: Sequence[Target], tried: Sequence[Member]) -> Target | None:
        """Who is asked next: of those free, untried before tried, of the lowest priority the least loaded."""
        if len(targets) == 1:
            return targets[0] if targets[0].member.breaker.is_free else None
        free = [target for target in targets if target.member.breaker.is_free]
        if not free:
            return None

        def rank(target: Target) -> tuple[int, bool, int]:
            member = target.member
            return tried.count(member), member.breaker.is_key_resting, member.backend.priority

        best = min(map(rank, free))
        return _take_turn([target for target in free if rank(target) == best])

    def _pause_s(self, targets: Sequence[Target], tried: Sequence[Member], failed: AttemptFailed) -> float:
        """Until the next attempt: none before a backend that was not tried, else the shortest wait for one that was.

        Infinite where all are in an outage: those are not waited for.
        """
        pauses = [math.inf]
        for member in (target.member for target in targets):
            times, breaker = tried.count(member), member.breaker
            if breaker.is_free and not times:
                return 0.0
            if breaker.is_free or breaker.state is State.COOLING:
                asked_s = failed.retry_after_s if member is tried[-1] else None
                cools_s = breaker.wait_s()
                if cools_s:
                    asked_s = max(asked_s or 0.0, cools_s + WAKES_EARLY_S)
                pauses.append(wait_s(max(0, times - 1), asked_s))
        return min(pauses)

    def _none_free(self, targets: Sequence[Target]) -> ServiceError:
        """What a caller is told while every backend of his model is let alone."""
        target = min(targets, key=lambda target: target.member.breaker.wait_s())
        breaker = target.member.breaker
        retry_after_s = max(1, math.ceil(breaker.wait_s()))
        failed = breaker.last_failure
        address = target.member.provider.address
        # Another caller's request failed: what he was told may quote it.
        told = failed.failure.logged if failed is not None else f"{address} does not answer"
        if failed is not None and failed.fault is Fault.BUSY:
            return Overloaded(f"{address} is busy and asked to wait {retry_after_s} s", retry_after_s=retry_after_s)
        return Unavailable(f"{told}; it is asked again in {retry_after_s} s", retry_after_s=retry_after_s)


def _take_turn(targets: Sequence[Target]) -> Target:
    """The one with the least in flight for its weight; among equals in turn, by weight.

    The turns are nginx's smooth weighted round-robin: weights 2 and 1 give a, b, a, a, b, a.
    """
    least = min(target.member.in_flight / target.member.backend.weight for target in targets)
    equals = [target for target in targets if target.member.in_flight / target.member.backend.weight == least]
    for target in equals:
        target.member.turn += target.member.backend.weight
    chosen = max(equals, key=lambda target: target.member.turn)
    chosen.member.turn -= sum(target.member.backend.weight for target in equals)
    return chosen
