"""At what pace the scripted provider answers, how it fails, and how it is let go of."""

import asyncio
import time
from typing import Any

import orjson
import pytest

from llm_service.core.errors import Refused
from llm_service.providers.base import Answer, AttemptFailed, Fault
from llm_service.providers.scripted.script import COMPLETIONS
from service_kit.errors import DeadlineExceeded, Unavailable, Upstream
from tests.llm_service.wire import SOON_S, quickest
from tests.support.providers import ask, playing, rest_of

# its pace


async def test_tokens_come_at_the_stated_pace() -> None:
    due = [0.1, 0.1, 0.15, 0.2, 0.2, 0.2]  # role, a, b, c, reason, [DONE]

    async def late_s() -> float:
        started = time.monotonic()
        answer = await ask(playing({"say": "a b c"}, first_token_s=0.1, between_tokens_s=0.05), stream=True)
        times = [time.monotonic() - started]
        while await answer.more():
            times.append(time.monotonic() - started)
        late = [came - when for came, when in zip(times, due, strict=True)]
        assert min(late) >= -0.002  # a timer's resolution
        return max(late)

    assert await quickest(late_s, 0.05) < 0.05


async def test_a_whole_answer_takes_the_time_of_its_tokens() -> None:
    async def took_s() -> float:
        started = time.monotonic()
        await ask(playing({"say": "a b c", "first_token_s": 0.1, "between_tokens_s": 0.05}))
        assert time.monotonic() - started >= 0.198
        return time.monotonic() - started

    assert await quickest(took_s, 0.3) < 0.3


async def test_a_reader_that_is_slow_does_not_slow_the_model() -> None:
    async def rest_s() -> float:
        answer = await ask(playing({"say": "a b c", "between_tokens_s": 0.2}), stream=True)
        await asyncio.sleep(0.45)
        started = time.monotonic()
        assert len(await rest_of(answer)) == 6
        return time.monotonic() - started

    assert await quickest(rest_s, 0.2) < 0.2  # it would take 0.4 s, had the model waited for its reader


async def test_a_stream_without_a_pace_lets_others_run() -> None:
    answer = await ask(playing({"say_tokens": 2000}), stream=True)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await rest_of(answer)
    task.cancel()
    assert turns > 50


# its failures


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("status", "fault", "failure", "told_status"),
    [
        (429, Fault.BUSY, Refused, 429),
        (500, Fault.DOWN, Upstream, 502),
        (503, Fault.DOWN, Unavailable, 503),
        (408, Fault.DOWN, Upstream, 502),
        (401, Fault.KEY, Upstream, 502),
    ],
)
async def test_a_status_of_the_backends_fault_is_a_failed_attempt(
    status: int, fault: Fault, failure: type, told_status: int, is_stream: bool
) -> None:
    provider = playing({"status": status, "error": {"error": {"message": "no", "code": "c"}}, "retry_after_s": 1.5})
    with pytest.raises(AttemptFailed) as failed:
        await ask(provider, stream=is_stream)
    assert (failed.value.fault, type(failed.value.failure), failed.value.failure.status) == (
        fault,
        failure,
        told_status,
    )
    assert failed.value.retry_after_s == (None if fault is Fault.KEY else 1.5)


async def test_any_other_4xx_is_a_refusal_in_the_scripts_words() -> None:
    error = {"error": {"message": "Too rude.", "type": "invalid_request_error", "param": "messages", "code": "rude"}}
    with pytest.raises(Refused, match=r"Too rude\.") as refused:
        await ask(playing({"status": 422, "error": error}))
    details = {"type": "invalid_request_error", "param": "messages", "code": "rude"}
    assert (refused.value.status, refused.value.details) == (422, details)


async def test_a_failure_may_take_its_time() -> None:
    started = time.monotonic()
    with pytest.raises(AttemptFailed):
        await ask(playing({"status": 500, "first_token_s": 0.1}))
    assert time.monotonic() - started >= 0.098


@pytest.mark.parametrize("rule", [{"silent_after": 0}, {"first_token_s": 60.0}, {"silent_after": 0, "status": 500}])
@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_server_that_hangs_is_a_deadline(rule: dict[str, Any], is_stream: bool) -> None:
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await ask(playing(rule), stream=is_stream, within_s=0.1)
    assert 0.098 <= time.monotonic() - started < SOON_S


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_break_before_the_first_byte_is_a_failed_attempt(is_stream: bool) -> None:
    with pytest.raises(AttemptFailed, match="broke off") as failed:
        await ask(playing({"breaks_off_after": 0}), stream=is_stream)
    assert failed.value.fault is Fault.DOWN


async def test_a_stream_breaks_off_after_so_many_tokens() -> None:
    answer = await ask(playing({"say": "a b c", "breaks_off_after": 2}), stream=True)
    reads = [await answer.more() for _ in range(2)]
    assert [orjson.loads(read[6:])["choices"][0]["delta"] for read in reads] == [{"content": "a"}, {"content": " b"}]
    for _ in range(2):  # it does not turn into a clean end
        with pytest.raises(Upstream):
            await answer.more()


async def test_a_stream_falls_silent_after_so_many_tokens() -> None:
    answer = await ask(playing({"say": "a b c", "silent_after": 1}), stream=True)
    assert b'"a"' in await answer.more()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(answer.more(), 0.1)


async def test_a_stream_may_end_as_if_it_were_whole() -> None:
    reads = await rest_of(await ask(playing({"say": "a b c", "cut_after": 1}), stream=True))
    assert len(reads) == 2
    assert b'finish_reason":null' in reads[-1]


async def test_an_ending_after_more_tokens_than_there_are_comes_after_the_last() -> None:
    answer = await ask(playing({"say": "a", "breaks_off_after": 9}), stream=True)
    assert b'"a"' in await answer.more()
    with pytest.raises(Upstream):
        await answer.more()


@pytest.mark.parametrize(
    ("rule", "failure"),
    [
        ({"breaks_off_after": 2}, AttemptFailed),
        ({"silent_after": 2}, DeadlineExceeded),
        ({"cut_after": 2}, Upstream),
        ({"body": "<html>"}, Upstream),
        ({"body": "[]"}, Upstream),
    ],
)
async def test_a_whole_answer_that_ends_badly_is_none(rule: dict[str, Any], failure: type[Exception]) -> None:
    within_s = 0.1 if failure is DeadlineExceeded else 30
    with pytest.raises(failure):
        await ask(playing({"say": "a b c"} | rule if "body" not in rule else rule), within_s=within_s)


async def test_an_empty_completion_that_is_cut_has_no_first_byte() -> None:
    for ending in ("cut_after", "breaks_off_after"):
        with pytest.raises(AttemptFailed, match=r"before the first byte|broke off"):
            await ask(playing({"say": "", ending: 3}), COMPLETIONS, prompt="a", stream=True)
    with pytest.raises(DeadlineExceeded):
        await ask(playing({"say": "", "silent_after": 3}), COMPLETIONS, prompt="a", stream=True, within_s=0.1)


# letting go of an answer


async def _left(answer: Answer) -> None:
    waiting = asyncio.create_task(answer.more())
    await asyncio.sleep(0.02)
    answer.close()
    answer.close()
    with pytest.raises(Upstream, match="closed"):
        await asyncio.wait_for(waiting, 30)


@pytest.mark.parametrize("rule", [{"between_tokens_s": 600.0}, {"silent_after": 1}])
async def test_a_closed_answer_says_no_more_even_to_one_who_waits(rule: dict[str, Any]) -> None:
    answer = await ask(playing({"say": "a b", **rule}), stream=True)
    await answer.more()
    await _left(answer)
    with pytest.raises(Upstream, match="closed"):
        await answer.more()


async def test_a_wait_that_is_cancelled_loses_no_token() -> None:
    answer = await ask(playing({"say": "a b", "between_tokens_s": 1.0}), stream=True)
    await answer.more()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(answer.more(), 0.02)
    assert b'" b"' in await answer.more()


async def test_a_cancelled_question_leaves_no_task_behind() -> None:
    asking = asyncio.create_task(ask(playing({"silent_after": 0})))
    await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert asyncio.all_tasks() == {asyncio.current_task()}
