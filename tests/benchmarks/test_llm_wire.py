"""What counts as the whole answer, and what does not."""

import orjson
import pytest

from benchmarks.llm import wire


def _stream() -> bytes:
    return b"".join(wire.events(with_usage=True))


def test_the_answers_that_the_upstream_gives_are_whole() -> None:
    wire.check(200, wire.plain_answer(), is_stream=False)
    wire.check(200, _stream(), is_stream=True)
    wire.check(200, b"".join(wire.events(with_usage=False)), is_stream=True)


def test_a_stream_has_an_event_of_a_real_ones_size_for_each_token() -> None:
    *tokens, end = wire.events(with_usage=False)
    assert len(tokens) == wire.TOKENS == 50
    assert all(200 < len(event) < 320 for event in tokens)
    assert all(event.startswith(b"data: {") and event.endswith(b"}\n\n") for event in tokens)
    assert [orjson.loads(event[6:])["choices"][0]["delta"]["content"] for event in tokens] == [
        wire.token(number) for number in range(50)
    ]
    assert end.endswith(b"data: [DONE]\n\n")


def test_a_server_may_write_the_events_anew_with_spaces() -> None:
    wire.check(200, _stream().replace(b'":', b'": '), is_stream=True)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (_stream().replace(b" word07", b""), "343 characters in place of 350"),
        (_stream().replace(b'" word07"', b'" word06"'), "350 characters in place of 350"),
        (_stream() + _stream(), "700 characters in place of 350"),
        (_stream().replace(b"data: [DONE]\n\n", b""), r"no \[DONE\]"),
        (b"", "0 characters"),
    ],
    ids=["lost token", "doubled token", "twice", "no DONE", "empty"],
)
def test_a_stream_that_is_not_what_the_upstream_said_is_wrong(body: bytes, said: str) -> None:
    with pytest.raises(wire.WrongAnswer, match=said):
        wire.check(200, body, is_stream=True)


def test_an_answer_other_than_200_is_wrong_even_with_the_right_text() -> None:
    with pytest.raises(wire.WrongAnswer, match="429"):
        wire.check(429, wire.plain_answer(), is_stream=False)


@pytest.mark.parametrize("is_stream", [True, False])
def test_every_server_gets_the_same_request_with_the_key(is_stream: bool) -> None:
    head, _, body = wire.request(8002, is_stream=is_stream).partition(b"\r\n\r\n")
    fields = orjson.loads(body)
    assert f"authorization: Bearer {wire.KEY}".encode() in head
    assert f"content-length: {len(body)}".encode() in head
    assert fields["model"] == wire.MODEL
    assert fields.get("stream", False) is is_stream
    assert 1500 < len(body) < 4000
