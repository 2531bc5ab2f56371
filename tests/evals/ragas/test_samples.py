import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from evals.ragas.asking import Passage, Stack, StackRefused
from evals.ragas.samples import Sample, file_ids, gold_ids, sample, span_ids
from evals.ragas.sets import Task
from evals.ragas.tape import STACK, Tape, TapedTransport, scope
from search_eval.golden import Gold, Question

FILES = {"a.py": [f"line {n}" for n in range(1, 41)], "b.py": ["only"]}


def passage(path: str, start: int, end: int) -> Passage:
    return Passage("id-1", path, start, end)


def test_passages_of_a_golden_span_are_that_span_and_others_are_themselves() -> None:
    gold = (Gold("a.py", 10, 20), Gold("a.py", 18, 40))
    found = [passage("a.py", 12, 30), passage("a.py", 9, 14), passage("a.py", 1, 9), passage("b.py", 10, 20)]
    assert span_ids(found, gold) == ["a.py:18-40", "a.py:10-20", "a.py:1-9", "b.py:10-20"]
    assert gold_ids(gold) == ["a.py:10-20", "a.py:18-40"]


def test_one_shared_line_is_enough_and_a_touching_end_is_none() -> None:
    assert span_ids([passage("a.py", 20, 25)], [Gold("a.py", 10, 20)]) == ["a.py:10-20"]
    assert span_ids([passage("a.py", 21, 25)], [Gold("a.py", 10, 20)]) == ["a.py:21-25"]


def test_a_golden_file_takes_any_of_its_passages_and_a_file_is_one_id() -> None:
    found = [passage("a.py", 1, 4), passage("a.py", 30, 40), passage("b.py", 1, 1)]
    assert span_ids(found, [Gold("a.py")]) == ["a.py", "b.py:1-1"]
    assert file_ids(found) == ["a.py", "b.py"]


def served(request: httpx.Request) -> httpx.Response:
    """A stack with one repository of two files; its answer cites lines truly, with a wrong hash, and that are gone."""
    if request.url.path == "/v1/repositories":
        return httpx.Response(200, json={"repositories": [{"name": "keeper", "id": "id-1"}]})
    if request.url.path == "/v1/source":
        asked = dict(request.url.params)
        lines = FILES.get(asked["path"])
        if lines is None:
            return httpx.Response(404, json={"error": {}})
        text = "\n".join(lines[int(asked["start_line"]) - 1 : int(asked["end_line"])])
        return httpx.Response(200, json={"content": text, "sha256": hashlib.sha256(text.encode()).hexdigest()})
    return httpx.Response(200, json=ANSWER)


def citation(index: int, path: str, sha256: str) -> dict[str, Any]:
    return {"index": index, "repository": "id-1", "path": path, "start_line": 1, "end_line": 1, "sha256": sha256}


ANSWER = {
    "answer": "So [1]. And so [2][3].",
    "citations": [
        citation(1, "a.py", hashlib.sha256(b"line 1").hexdigest()),
        citation(2, "b.py", "0" * 64),
        citation(3, "gone.py", "0" * 64),
    ],
    "hits": [{"repository": "id-1", "path": "a.py", "start_line": 1, "end_line": 1, "content": "line 1"}],
    "mode": "generative",
    "abstained": False,
    "usage": {"prompt_tokens": 3},
}


async def asked(*gold: Gold) -> Sample:
    http = httpx.AsyncClient(transport=httpx.MockTransport(served), base_url="http://stack")
    stack = Stack(http, limit=8)
    await stack.learn()
    return await sample(stack, Task(Question("q-1", "where?", gold, repository="keeper")))


async def test_a_citation_is_verified_if_the_stack_has_its_lines_with_its_hash() -> None:
    one = await asked(Gold("a.py"))
    assert one.cited == {1: "line 1", 2: "only"}
    assert one.verified == 1


async def test_the_lines_of_golden_spans_come_from_the_stack_and_missing_ones_are_missed() -> None:
    one = await asked(Gold("a.py", 2, 3), Gold("gone.py", 1, 2), Gold("b.py"))
    assert one.gold_texts == ("line 2\nline 3",)


async def test_a_repository_that_is_not_indexed_is_told_with_those_that_are() -> None:
    http = httpx.AsyncClient(transport=httpx.MockTransport(served), base_url="http://stack")
    stack = Stack(http, limit=8)
    await stack.learn()
    with pytest.raises(StackRefused, match=r"'other' is indexed; there are keeper"):
        stack.repository("other")


def listing(**ids: str) -> Any:
    found = [{"name": name, "id": one} for name, one in ids.items()]
    return lambda request: httpx.Response(200, json={"repositories": found})


async def learned(tape: Tape, stack: Any) -> Stack:
    transport = TapedTransport(tape, STACK, httpx.MockTransport(stack))
    one = Stack(httpx.AsyncClient(transport=transport, base_url="http://stack"), limit=8)
    with scope("the repositories"):
        await one.learn()
    return one


async def test_a_run_that_goes_on_asks_anew_which_repositories_there_are_and_its_replay_knows_the_last(
    tmp_path: Path,
) -> None:
    own = tmp_path / "calls.jsonl"
    await learned(Tape(own), listing(keeper="id-1"))
    again = await learned(Tape(own), listing(keeper="id-2", other="id-3"))
    assert (again.repository("keeper"), again.repository("other")) == ("id-2", "id-3")
    replayed = await learned(Tape(None, [own], is_replay=True), listing())
    assert (replayed.repository("keeper"), replayed.repository("other")) == ("id-2", "id-3")


async def test_a_list_of_repositories_that_is_as_it_was_is_kept_once(tmp_path: Path) -> None:
    own = tmp_path / "calls.jsonl"
    for _ in range(3):
        await learned(Tape(own), listing(keeper="id-1"))
    assert len(own.read_bytes().splitlines()) == 1


async def test_a_finished_question_is_asked_anew_where_its_repository_is_another_now() -> None:
    http = httpx.AsyncClient(transport=httpx.MockTransport(listing(keeper="id-2", still="id-1")), base_url="http://x")
    stack = Stack(http, limit=8)
    await stack.learn()
    tasks = [
        Task(Question(f"q-{n}", "where?", (Gold("a.py"),), repository=name))
        for n, name in enumerate(("keeper", "still", "gone"))
    ]
    done = {f"q-{n}": {"id": f"q-{n}", "repository_id": "id-1"} for n in range(3)}
    assert [task.question.id for task in stack.unfinished(tasks, done)] == ["q-0"]
    assert [task.question.id for task in stack.unfinished(tasks, {"q-1": {"id": "q-1"}})] == ["q-0", "q-2"]


async def test_what_the_stack_refuses_is_told_with_its_words() -> None:
    def refuses(request: httpx.Request) -> httpx.Response:
        return httpx.Response(401, json={"error": {"message": "no key"}})

    stack = Stack(httpx.AsyncClient(transport=httpx.MockTransport(refuses), base_url="http://stack"), limit=8)
    with pytest.raises(StackRefused, match=r"GET /v1/repositories was answered with 401: .*no key"):
        await stack.learn()
