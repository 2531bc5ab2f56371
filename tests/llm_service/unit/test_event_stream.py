"""Events leave whole and unchanged, however the bytes arrive."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_service.features.chat.events import MAX_HELD_BYTES, EventStream
from llm_service.features.chat.usage import Usage, usage_in

STREAM = (
    b'data: {"choices":[{"delta":{"content":"a\\n\\nb"}}]}\n\n: ping\r\n\r\n'
    b'data: {"finish_reason": "stop"}\n\ndata: [DONE]\n\n'
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_bytes_are_the_same_however_they_are_torn(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    events = EventStream(keeps_usage=True)
    out = [events.feed(STREAM[a:b]) for a, b in pairwise(edges)]
    assert b"".join(out) + events.rest() == STREAM
    assert all(piece.endswith((b"\n\n", b"\r\n\r\n")) for piece in out if piece)
    assert events.is_finished


def test_half_an_event_is_held_back_until_it_is_whole() -> None:
    events = EventStream(keeps_usage=True)
    assert events.feed(b"data: 1\n\ndata: ") == b"data: 1\n\n"
    assert events.feed(b"2\n") == b""
    assert events.feed(b"\n") == b"data: 2\n\n"


def test_an_event_without_end_is_not_kept_for_ever() -> None:
    events = EventStream(keeps_usage=True)
    chunk = b"x" * (MAX_HELD_BYTES // 2)
    assert [len(events.feed(chunk)) for _ in range(3)] == [0, 0, 3 * len(chunk)]
    assert events.rest() == b""


@pytest.mark.parametrize(
    ("end", "is_finished"),
    [
        (b"data: [DONE]\n\n", True),
        (b'data: {"finish_reason":"length"}\n\n', True),
        (b'data: {"finish_reason":null}\n\n', False),
        (b'data: {"finish_reason": null}\n\n' + b": ping\n\n" * 9, False),
    ],
)
def test_a_stream_is_finished_when_the_model_said_so(end: bytes, is_finished: bool) -> None:
    events = EventStream(keeps_usage=True)
    events.feed(b'data: {"choices":[]}\n\n')
    events.feed(end)
    assert events.is_finished is is_finished


COUNTS = b'data: {"choices":[],"usage":{"prompt_tokens":10,"total_tokens":15,"completion_tokens": 5}}\n\n'
WORDS = b'data: {"choices":[{"delta":{"content":"\\"usage\\": {"}}],"usage":null}\n\n'


@given(st.lists(st.integers(0, len(WORDS + COUNTS)), max_size=12))
def test_counts_that_nobody_asked_for_are_left_out_however_they_are_torn(cuts: list[int]) -> None:
    stream = WORDS + COUNTS + b"data: [DONE]\n\n"
    edges = [0, *sorted(cuts), len(stream)]
    events = EventStream(keeps_usage=False)
    out = b"".join(events.feed(stream[a:b]) for a, b in pairwise(edges))
    assert out == WORDS + b"data: [DONE]\n\n"
    assert events.usage == Usage(prompt=10, completion=5)


def test_counts_that_were_asked_for_stay() -> None:
    events = EventStream(keeps_usage=True)
    assert events.feed(WORDS + COUNTS) == WORDS + COUNTS
    assert events.usage == Usage(prompt=10, completion=5)


def test_an_event_with_counts_and_words_stays() -> None:
    both = COUNTS.replace(b"[]", b'[{"delta":{"content":"a"}}]')
    events = EventStream(keeps_usage=False)
    assert events.feed(both) == both
    assert events.usage == Usage(prompt=10, completion=5)


def test_nothing_from_an_error_on_goes_out() -> None:
    events = EventStream(keeps_usage=False)
    error = b'{"error": {"message": "died", "code": 500}}'
    assert events.feed(WORDS + b"data: " + error + b"\n\ndata: [DONE]\n\n") == WORDS
    assert events.error == error
    assert not events.is_done


@pytest.mark.parametrize(
    ("payload", "usage"),
    [
        (b'{"choices":[]}', None),
        (b'{"usage":null}', None),
        (
            b'{"usage":{"prompt_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}}',
            Usage(7, 2, 4),
        ),
        (b'{"data":[],"usage":{"prompt_tokens":7,"total_tokens":7}}', Usage(7)),
        # Found here: a counter cannot take such a number, and the request ended as our own bug.
        (b'{"usage":{"prompt_tokens":' + b"9" * 900 + b',"completion_tokens":2}}', Usage(0, 2)),
    ],
)
def test_usage_is_found_at_the_end_of_an_answer(payload: bytes, usage: Usage | None) -> None:
    assert usage_in(payload) == usage
