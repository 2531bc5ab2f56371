"""Events leave whole and unchanged, however the bytes arrive."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_service.features.chat.events import MAX_HELD_BYTES, EventStream

STREAM = (
    b'data: {"choices":[{"delta":{"content":"a\\n\\nb"}}]}\n\n: ping\r\n\r\n'
    b'data: {"finish_reason": "stop"}\n\ndata: [DONE]\n\n'
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_bytes_are_the_same_however_they_are_torn(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    events = EventStream()
    out = [events.feed(STREAM[a:b]) for a, b in pairwise(edges)]
    assert b"".join(out) + events.rest() == STREAM
    assert all(piece.endswith((b"\n\n", b"\r\n\r\n")) for piece in out if piece)
    assert events.is_finished


def test_half_an_event_is_held_back_until_it_is_whole() -> None:
    events = EventStream()
    assert events.feed(b"data: 1\n\ndata: ") == b"data: 1\n\n"
    assert events.feed(b"2\n") == b""
    assert events.feed(b"\n") == b"data: 2\n\n"


def test_an_event_without_end_is_not_kept_for_ever() -> None:
    events = EventStream()
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
    events = EventStream()
    events.feed(b'data: {"choices":[]}\n\n')
    events.feed(end)
    assert events.is_finished is is_finished


def test_tokens_are_read_from_the_end_alone() -> None:
    events = EventStream()
    events.feed(b'data: {"usage":{"prompt_tokens": 999}}\n\n' + b": ping\n\n" * 1000)
    assert events.tokens() == {}
    events.feed(b'data: {"usage":{"prompt_tokens":10,"completion_tokens": 5,"total_tokens":15}}\n\n')
    assert events.tokens() == {"prompt": 10, "completion": 5}
