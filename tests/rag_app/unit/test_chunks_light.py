"""Chunks that were found before need not be told again, and the answers stay what they were."""

from typing import Any

import pytest

from rag_app.db.chunks_light import WORTH_ASKING, LightChunks
from rag_app.db.chunks_payload import LIGHT
from rag_app.db.chunks_query import Arm, SearchRoutes
from rag_app.db.filters import Selection, condition
from tests.support.chunks import make_chunk

NARROWED = condition(Selection(frozenset({"r1"}), frozenset({"base"})))


def payload(number: int) -> dict[str, Any]:
    return {
        "repository": "r1",
        "layer": "base",
        "path": f"src/file{number}.py",
        "blob": f"b{number}",
        "language": "python",
        "kind": "function",
        "symbol": f"f{number}",
        "qualified_name": f"m.f{number}",
        "start_line": number,
        "end_line": number + 1,
    }


class Qdrant:
    """Answers each arm with the same points, payloads only where they were asked for; remembers what it was asked."""

    def __init__(self, numbers: list[int]) -> None:
        self.numbers = numbers
        self.gone: set[str] = set()
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def call(self, method: str, path: str, body: dict[str, Any]) -> Any:
        self.asked.append((path, body))
        if path.endswith("/points"):
            return {"result": [{"id": i, "payload": payload(int(i))} for i in body["ids"] if i not in self.gone]}
        return {"result": [{"points": [self._point(n, one) for n in self.numbers]} for one in body["searches"]]}

    def _point(self, number: int, search: dict[str, Any]) -> dict[str, Any]:
        told = {"payload": payload(number)} if search["with_payload"] else {}
        return {"id": str(number), "score": 1 / (number + 1), **told}

    def wanted(self) -> list[Any]:
        return [body["searches"][0]["with_payload"] for path, body in self.asked if path.endswith("/batch")]


async def ask(routes: SearchRoutes) -> list[list[tuple[str, str, float]]]:
    arms = await routes.ask([Arm((1.0, 0.0), 100), Arm((0.0, 1.0), 100)], NARROWED)
    return [[(found.chunk.id, found.chunk.span.path, found.score) for found in arm] for arm in arms]


async def test_payloads_are_left_out_once_most_candidates_are_known_and_the_answers_stay() -> None:
    qdrant = Qdrant(list(range(20)))
    routes = SearchRoutes(qdrant, "code", LightChunks())  # type: ignore[arg-type]
    answers = [await ask(routes) for _ in range(20)]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][0][3] == ("3", "src/file3.py", 0.25)
    assert qdrant.wanted()[0] == {"include": LIGHT}
    assert qdrant.wanted()[-1] is False
    assert not any(path.endswith("/points") for path, _ in qdrant.asked)


async def test_only_those_that_are_not_known_are_fetched() -> None:
    qdrant = Qdrant(list(range(20)))
    routes = SearchRoutes(qdrant, "code", LightChunks())  # type: ignore[arg-type]
    for _ in range(20):
        await ask(routes)
    qdrant.numbers = [3, 77, 4, 88]
    assert [found[0] for found in (await ask(routes))[1]] == ["3", "77", "4", "88"]
    path, body = qdrant.asked[-1]
    assert path.endswith("/points")
    assert body == {"ids": ["77", "88"], "with_payload": {"include": LIGHT}}


async def test_a_candidate_that_is_deleted_in_between_is_left_out() -> None:
    qdrant = Qdrant(list(range(20)))
    routes = SearchRoutes(qdrant, "code", LightChunks())  # type: ignore[arg-type]
    for _ in range(20):
        await ask(routes)
    qdrant.numbers, qdrant.gone = [3, 77, 88], {"77"}
    assert [found[0] for found in (await ask(routes))[0]] == ["3", "88"]


async def test_candidates_whose_place_newer_ones_take_in_the_same_answer_are_in_it_all_the_same() -> None:
    qdrant = Qdrant(list(range(20)))
    routes = SearchRoutes(qdrant, "code", LightChunks(most=20))  # type: ignore[arg-type]
    for _ in range(20):
        await ask(routes)
    qdrant.numbers = [0, 1, 77, 88]  # the oldest two, and two new ones
    assert [found[0] for found in (await ask(routes))[0]] == ["0", "1", "77", "88"]
    qdrant.numbers = list(range(100, 140))  # more than there is room for
    for _ in range(20):
        assert len((await ask(routes))[0]) == 40


async def test_candidates_that_are_forgotten_while_others_are_fetched_are_in_the_answer() -> None:
    light = LightChunks()
    qdrant = Qdrant(list(range(20)))
    routes = SearchRoutes(qdrant, "code", light)  # type: ignore[arg-type]
    for _ in range(20):
        await ask(routes)
    fetch = qdrant.call

    async def written_meanwhile(method: str, path: str, body: dict[str, Any]) -> Any:
        light.forget(["3"] if path.endswith("/points") else [])
        return await fetch(method, path, body)

    qdrant.numbers, qdrant.call = [3, 77], written_meanwhile  # type: ignore[method-assign]
    assert [found[0] for found in (await ask(routes))[0]] == ["3", "77"]


async def test_where_few_are_known_payloads_come_at_once_again() -> None:
    qdrant = Qdrant(list(range(20)))
    routes = SearchRoutes(qdrant, "code", LightChunks())  # type: ignore[arg-type]
    for begin in range(0, 2000, 20):
        qdrant.numbers = list(range(begin, begin + 20))
        await ask(routes)
    assert set(map(str, qdrant.wanted())) == {str({"include": LIGHT})}


def test_the_oldest_go_and_texts_are_not_kept() -> None:
    light = LightChunks(most=3)
    chunks = [make_chunk(f"{number}.py", "text", symbol=f"s{number}") for number in range(5)]
    light.keep(chunks)
    kept = [light.get(chunk.id) for chunk in chunks]
    assert kept[:2] == [None, None]
    assert [(chunk.symbol, chunk.text) for chunk in kept if chunk] == [("s2", ""), ("s3", ""), ("s4", "")]


def test_what_is_written_anew_is_forgotten() -> None:
    light = LightChunks()
    chunk = make_chunk("a.py", "text")
    light.keep([chunk])
    light.forget([chunk.id])
    assert light.get(chunk.id) is None
    assert light.known([chunk.id, chunk.id]) == {}


@pytest.mark.parametrize(("known", "expected"), [(0.2, False), (0.9, True)])
def test_most_are_known_by_what_came_of_late(known: float, expected: bool) -> None:
    light = LightChunks()
    chunks = [make_chunk(f"{number}.py", "text") for number in range(100)]
    light.keep(chunks[: int(known * 100)])
    for _ in range(40):
        light.known([chunk.id for chunk in chunks])
    assert light.knows_most is expected
    assert 0.2 < WORTH_ASKING < 0.9
