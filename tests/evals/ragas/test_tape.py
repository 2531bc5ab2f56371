import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path

import httpx
import pytest

from evals.ragas.tape import JUDGE, STACK, BadTape, NotRecorded, Tape, TapedTransport, scope

Answer = Callable[[httpx.Request], httpx.Response] | Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


class Judge:
    """Answers with how often it was asked, so that no two answers are equal."""

    def __init__(self, *statuses: int) -> None:
        self.asked: list[bytes] = []
        self._statuses = list(statuses)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.content)
        status = self._statuses.pop(0) if self._statuses else 200
        usage = {"prompt_tokens": 5, "completion_tokens": 2}
        return httpx.Response(status, json={"said": len(self.asked), "usage": usage})


def client(tape: Tape, judge: Answer, to: str = JUDGE) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=TapedTransport(tape, to, httpx.MockTransport(judge)), base_url="http://x/v1")


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("nobody is there", request=request)


async def said(http: httpx.AsyncClient, body: object, name: str = "q1 faithfulness") -> list[int]:
    """What is said to three equal calls of one metric."""
    with scope(name):
        return [(await http.post("/chat/completions", json=body)).json()["said"] for _ in range(3)]


async def test_a_replay_says_the_same_to_equal_calls_in_their_order_and_reaches_nobody(tmp_path: Path) -> None:
    own = tmp_path / "calls.jsonl"
    first = await said(client(Tape(own), Judge()), {"model": "m", "messages": ["a"]})
    replay = Tape(None, [own], is_replay=True)
    again = await said(client(replay, unreachable), {"messages": ["a"], "model": "m"})
    assert (first, again, dict(replay.sent)) == ([1, 2, 3], [1, 2, 3], {})


async def test_a_call_that_a_tape_does_not_hold_is_told(tmp_path: Path) -> None:
    own = tmp_path / "calls.jsonl"
    await said(client(Tape(own), Judge()), {"messages": ["a"]})
    tape = Tape(None, [own], is_replay=True)
    with pytest.raises(NotRecorded, match=r"q7 context_recall: judge POST /v1/chat/completions.*\"b\""):
        await said(client(tape, Judge()), {"messages": ["b"]}, "q7 context_recall")


async def test_a_killed_run_pays_for_no_call_twice_and_its_torn_line_is_cut_off(tmp_path: Path) -> None:
    own = tmp_path / "calls.jsonl"
    await said(client(Tape(own), Judge()), {"messages": ["a"]})
    lines = own.read_bytes().splitlines(keepends=True)
    own.write_bytes(lines[0] + lines[1] + lines[2][:30])
    judge = Judge()
    assert await said(client(Tape(own), judge), {"messages": ["a"]}) == [1, 2, 1]
    assert len(judge.asked) == 1
    assert [json.loads(line)["nth"] for line in own.read_bytes().splitlines()] == [0, 1, 2]


async def test_the_same_call_of_two_questions_at_once_is_one_call(tmp_path: Path) -> None:
    judge = Judge()

    async def slow(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.01)  # so that the other question asks meanwhile
        return judge(request)

    http = client(Tape(tmp_path / "calls.jsonl"), slow)
    both = await asyncio.gather(said(http, {"a": 1}, "q1"), said(http, {"a": 1}, "q2"))
    assert both == [[1, 2, 3], [1, 2, 3]]
    assert len(judge.asked) == 3


async def test_another_runs_tape_answers_for_the_judge_and_never_for_the_stack(tmp_path: Path) -> None:
    cache, own = tmp_path / "cache.jsonl", tmp_path / "calls.jsonl"
    await said(client(Tape(cache), Judge()), {"a": 1})
    await said(client(Tape(cache), Judge(), STACK), {"a": 1})
    judge, stack = Judge(), Judge()
    tape = Tape(own, [cache])
    await said(client(tape, judge), {"a": 1})
    await said(client(tape, stack, STACK), {"a": 1})
    assert (len(judge.asked), len(stack.asked)) == (0, 3)
    assert len(own.read_bytes().splitlines()) == 6  # what the cache answered is on the run's own tape, too


async def test_a_failure_that_may_pass_is_not_kept_and_does_not_count(tmp_path: Path) -> None:
    own = tmp_path / "calls.jsonl"
    http = client(Tape(own), Judge(503, 429))
    with scope("q1"):
        statuses = [(await http.post("/chat/completions", json={})).status_code for _ in range(3)]
    assert statuses == [503, 429, 200]
    assert [json.loads(line)["nth"] for line in own.read_bytes().splitlines()] == [0]


@pytest.mark.parametrize(
    ("to", "status", "is_kept"),
    [(JUDGE, 401, False), (JUDGE, 403, False), (JUDGE, 404, False), (JUDGE, 400, True), (STACK, 401, False),
     (STACK, 403, False), (STACK, 404, True), (STACK, 422, True)],
)  # fmt: skip
async def test_a_run_that_goes_on_with_the_right_key_or_model_is_not_refused_by_its_own_tape(
    tmp_path: Path, to: str, status: int, is_kept: bool
) -> None:
    own, judge = tmp_path / "calls.jsonl", Judge(status)
    for expected in (status, status if is_kept else 200):
        with scope("q1"):
            assert (await client(Tape(own), judge, to).post("/x", json={})).status_code == expected


async def test_tokens_are_counted_where_they_were_used_even_if_a_tape_answers(tmp_path: Path) -> None:
    own = tmp_path / "calls.jsonl"
    for judge in (Judge(), unreachable):
        with scope("q1") as one:
            await client(Tape(own), judge).post("/chat/completions", json={})
        assert dict(one.tokens) == {"judge prompt": 5, "judge completion": 2}
        assert one.calls[JUDGE] == 1


async def test_no_header_is_kept(tmp_path: Path) -> None:
    own = tmp_path / "calls.jsonl"
    with scope("q1"):
        await client(Tape(own), Judge()).post("/x", json={}, headers={"authorization": "Bearer sesame"})
    assert "sesame" not in own.read_text()


def test_a_line_that_is_none_is_told_with_its_number(tmp_path: Path) -> None:
    (tmp_path / "calls.jsonl").write_text('{"key": "a", "nth": 0, "to": "judge"}\nnot JSON\n{"k')
    with pytest.raises(BadTape, match=r"calls\.jsonl:2"):
        Tape(tmp_path / "calls.jsonl")
