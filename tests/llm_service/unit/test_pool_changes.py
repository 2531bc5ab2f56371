"""A pool whose set of backends changes: what is in force when, what is kept, and where requests in flight end."""

import asyncio
from collections.abc import Sequence

import pytest

from llm_service.core.backends import Backend
from llm_service.providers.base import Call
from llm_service.providers.pool import Pool
from tests.support.backends import MemoryBackend, WholeAnswer, ask, busy, down, failure, place


class Swapped:
    """A pool whose backends can be changed."""

    def __init__(self, *backends: Backend):
        self.backends: Sequence[Backend] = backends
        self.made: list[MemoryBackend] = []
        self.pool = Pool(lambda: self.backends, self._make)

    def _make(self, backend: Backend) -> MemoryBackend:
        self.made.append(MemoryBackend(backend.name))
        return self.made[-1]


@pytest.fixture
def swapped() -> Swapped:
    return Swapped(Backend("a", "http://a/v1"), Backend("b", "http://b/v1", priority=1))


async def test_a_new_set_is_in_force_for_the_next_request(swapped: Swapped) -> None:
    assert await ask(swapped.pool) == "a"
    swapped.backends = (Backend("b", "http://b/v1", priority=1), Backend("c", "http://c/v1", models=("m",)))
    assert await ask(swapped.pool) == "c"
    assert [member.backend.name for member in swapped.pool.members] == ["b", "c"]


async def test_a_backend_that_is_unchanged_keeps_what_is_known_of_it(swapped: Swapped) -> None:
    await ask(swapped.pool)
    old_b = swapped.pool.members[1]
    swapped.made[1].deeds = [down()]
    old_b.breaker.fail(busy(30))
    swapped.backends = (Backend("b", "http://b/v1", priority=1), Backend("a", "http://other/v1", models=("m",)))
    assert await ask(swapped.pool) == "a"
    assert swapped.pool.members[0] is old_b
    assert [backend.name for backend in swapped.made] == ["a", "b", "a"]
    assert swapped.made[2].asked == 1


async def test_a_new_backend_takes_part_at_once_since_its_list_is_waited_for(swapped: Swapped) -> None:
    await ask(swapped.pool)
    swapped.backends = (Backend("b", "http://b/v1", priority=1), Backend("c", "http://c/v1"))
    assert await ask(swapped.pool) == "c"


async def test_lists_that_are_known_are_not_waited_for_after_a_change(swapped: Swapped) -> None:
    await ask(swapped.pool)
    swapped.made[1].list_gate = asyncio.Event()  # it has begun to hang
    swapped.backends = (Backend("b", "http://b/v1", priority=1),)
    assert await asyncio.wait_for(ask(swapped.pool), 30) == "b"


async def test_a_request_ends_at_the_backend_where_it_began(swapped: Swapped) -> None:
    placed = await place(swapped.pool)
    swapped.backends = (Backend("c", "http://c/v1"),)
    assert await ask(swapped.pool) == "c"
    assert await placed.answer.more() == b""
    placed.close()
    assert placed.target.member.in_flight == 0


async def test_a_request_that_fails_after_the_change_is_tried_where_it_was_meant_to(swapped: Swapped) -> None:
    async def change_and_fail(call: Call) -> WholeAnswer:
        swapped.backends = ()
        raise down()

    swapped.made[0].deeds = [change_and_fail]
    assert await ask(swapped.pool) == "b"
    assert "OPENAI_API_KEY" in (await failure(swapped.pool)).message
