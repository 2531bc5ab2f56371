"""What was once answered is stored, and answered again bit for bit."""

import asyncio
import stat
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from llm_service.core.errors import Refused
from llm_service.providers.base import AttemptFailed, Call, Fault, Provider
from llm_service.providers.recorded.recorder import Recorder
from llm_service.providers.recorded.replay import replay_provider
from llm_service.providers.scripted.provider import scripted_provider
from llm_service.providers.scripted.script import CHAT, Script
from service_kit.errors import DeadlineExceeded, ServiceError, Unavailable, Upstream
from tests.support.recordings import KEY, Told, call_of, files_in, reads_of, record


async def test_a_whole_answer_passes_unchanged_and_is_replayed_bit_for_bit(tmp_path: Path) -> None:
    said = b'{"id": "x",  "created": 17, "odd \\u00e4": "\xc3\xa4"}\n'
    answer = await Recorder(Told(said), tmp_path).send(call_of())
    assert (answer.is_stream, answer.first) == (False, said)
    again = await replay_provider(tmp_path, pace=False).send(call_of())
    assert (again.is_stream, again.first, await again.more()) == (False, said, b"")


async def test_a_stream_is_replayed_in_the_same_reads(tmp_path: Path) -> None:
    # A character torn in two, an event torn in two, bytes that are no text at all, and a line end of Windows.
    said: list[bytes | ServiceError] = [b"data: \xc3", b"\xa4\n\nda", b"ta: [DONE]\r\n\r\n", b"\xff\x00", b": end\n\n"]
    answer = await Recorder(Told(said), tmp_path).send(call_of())
    assert answer.is_stream
    assert await reads_of(answer) == said
    again = await replay_provider(tmp_path, pace=False).send(call_of())
    assert again.is_stream
    assert await reads_of(again) == said


async def test_the_scripted_provider_is_replayed_through_every_route(tmp_path: Path) -> None:
    def calls() -> list[Call]:
        chat = {"model": "scripted", "messages": [{"role": "user", "content": "Hi"}]}
        bodies = [
            (CHAT, chat),
            (CHAT, {**chat, "stream": True, "stream_options": {"include_usage": True}}),
            ("/v1/completions", {"model": "scripted", "prompt": "a", "n": 2}),
            ("/v1/embeddings", {"model": "scripted", "input": "a"}),
            ("/tokenize", {"prompt": "a"}),
        ]
        far = asyncio.get_running_loop().time() + 5
        return [Call(path, orjson.dumps(body), body.get("stream") is True, far, far) for path, body in bodies]

    scripted: Provider = scripted_provider(Script())
    recorder = Recorder(scripted, tmp_path)
    said = [await reads_of(await recorder.send(call)) for call in calls()]
    version = await recorder.fetch("/version")
    replay = replay_provider(tmp_path, pace=False)
    assert [await reads_of(await replay.send(call)) for call in calls()] == said
    assert await replay.fetch("/version") == version
    assert said == [await reads_of(await scripted.send(call)) for call in calls()]


async def test_the_order_of_a_requests_keys_does_not_matter(tmp_path: Path) -> None:
    await Recorder(Told(b"{}"), tmp_path).send(call_of(b'{"a": 1, "b": {"c": 2, "d": 3}}'))
    answer = await replay_provider(tmp_path, pace=False).send(call_of(b'{"b":{"d":3,"c":2},"a":1}'))
    assert answer.first == b"{}"


@pytest.mark.parametrize(
    "body",
    # No JSON; nested deeper than orjson writes (254), and just not; numbers that are no int64.
    [b"\xff{", b"[" * 400 + b"]" * 400, b"[" * 254 + b"]" * 254, b'{"seed":123456789012345678901234567890}'],
)
async def test_whatever_was_asked_is_stored(body: bytes, tmp_path: Path) -> None:
    await Recorder(Told(b"{}"), tmp_path).send(call_of(body))
    assert (await replay_provider(tmp_path, pace=False).send(call_of(body))).first == b"{}"


@pytest.mark.parametrize(
    "failure",
    [
        AttemptFailed(Unavailable("down", retry_after_s=3), Fault.DOWN, 2.5),
        AttemptFailed(Refused(429, "slow", code="rate_limit_exceeded"), Fault.BUSY),
        Refused(400, "too long", type="invalid_request_error", param="messages", code="context_length_exceeded"),
        Refused(409, "later", retry_after_s=4),
        Upstream("it said: no JSON", logged="no JSON"),
        DeadlineExceeded("late"),
    ],
)
async def test_a_failure_is_replayed_as_what_it_was(failure: AttemptFailed | ServiceError, tmp_path: Path) -> None:
    with pytest.raises(type(failure)) as passed:
        await Recorder(Told(failure), tmp_path).send(call_of())
    assert passed.value is failure
    with pytest.raises(type(failure)) as again:
        await replay_provider(tmp_path, pace=False).send(call_of())
    assert _told(again.value) == _told(failure)


def _told(error: BaseException) -> list[Any]:
    if isinstance(error, AttemptFailed):
        return [str(error), error.fault, error.retry_after_s, *_told(error.failure)]
    assert isinstance(error, ServiceError)
    return [
        type(error),
        str(error),
        error.message,
        error.code,
        error.status,
        error.retry_after_s,
        error.details,
        error.logged,
    ]


async def test_a_stream_that_broke_off_breaks_off_again(tmp_path: Path) -> None:
    await record(tmp_path, [b"data: a\n\n", Upstream("broke off")])
    again = await replay_provider(tmp_path, pace=False).send(call_of())
    assert again.first == b"data: a\n\n"
    with pytest.raises(Upstream, match="broke off"):
        await again.more()


async def test_the_same_request_is_replayed_in_order_and_the_last_for_ever(tmp_path: Path) -> None:
    await record(tmp_path, AttemptFailed(Upstream("x"), Fault.DOWN), b'{"a":1}', b'{"a":2}')
    replay = replay_provider(tmp_path, pace=False)
    with pytest.raises(AttemptFailed):
        await replay.send(call_of())
    said = [(await replay.send(call_of())).first for _ in range(4)]
    assert said == [b'{"a":1}', b'{"a":2}', b'{"a":2}', b'{"a":2}']


async def test_a_stream_that_is_let_go_after_its_last_event_is_whole(tmp_path: Path) -> None:
    answer = await Recorder(Told([b"data: a\n\n", b"data: [DO", b"NE]\n\n"]), tmp_path).send(call_of())
    for _ in range(2):
        await answer.more()
    answer.close()
    assert len(files_in(tmp_path)) == 1
    assert len(await reads_of(await replay_provider(tmp_path, pace=False).send(call_of()))) == 3


async def test_the_half_exchange_of_a_client_that_left_is_not_stored(tmp_path: Path) -> None:
    answer = await Recorder(Told([b"data: a\n\n", b"data: b\n\n", b"data: [DONE]\n\n"]), tmp_path).send(call_of())
    await answer.more()
    answer.close()
    with pytest.raises(Upstream):  # the answer's own word for having been closed
        await answer.more()
    assert files_in(tmp_path) == []


async def test_a_question_that_was_cancelled_is_not_stored(tmp_path: Path) -> None:
    asking = asyncio.create_task(Recorder(Told(b"{}", pause_s=60), tmp_path).send(call_of()))
    await asyncio.sleep(0.02)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert files_in(tmp_path) == []


async def test_closing_goes_through(tmp_path: Path) -> None:
    told = Told([b"a", b"b"])
    recorder = Recorder(told, tmp_path)
    answer = await recorder.send(call_of())
    answer.close()
    with pytest.raises(Upstream, match="closed"):
        await answer.more()
    await recorder.close()
    assert told.closed == ["provider"]
    assert recorder.address == told.address


async def test_files_are_for_their_owner_only_and_hold_no_key(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "recordings"
    await record(folder, b'{"a":1}', Upstream("x"), models=[{"id": "m"}])
    files = files_in(folder)
    assert len(files) == 2
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert not any(KEY.encode() in file.read_bytes() for file in files)


async def test_a_file_is_json_lines_that_a_person_can_read(tmp_path: Path) -> None:
    began = time.monotonic()
    await record(tmp_path, [b"data: \xc3\xa4\n\n", b"\xff"])
    took_s = time.monotonic() - began
    header, *reads, end = [orjson.loads(line) for line in files_in(tmp_path)[0].read_bytes().splitlines()]
    assert (header["path"], header["request"]) == (CHAT, {"messages": [], "model": "m"})
    assert [read.get("text") for read in reads] == ["data: ä\n\n", None]
    assert reads[1]["base64"] == "/w=="
    assert end["end"] == "whole"
    assert 0 <= reads[0]["at_s"] <= reads[1]["at_s"] <= end["at_s"] <= took_s


async def test_a_folder_that_cannot_be_written_costs_the_recording_and_not_the_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "recordings"
    recorder = Recorder(Told(b"{}", [b"a", b"b"]), folder)
    folder.write_text("a file is in the way")
    assert (await recorder.send(call_of())).first == b"{}"
    assert await reads_of(await recorder.send(call_of())) == [b"a", b"b"]
    assert "is not recorded" in caplog.text


async def test_a_recording_that_fails_leaves_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    assert (await Recorder(Told(b"{}"), tmp_path).send(call_of())).first == b"{}"
    assert files_in(tmp_path) == []


async def test_exchanges_side_by_side_do_not_mix(tmp_path: Path) -> None:
    recorder = Recorder(scripted_provider(Script(between_tokens_s=0.001)), tmp_path)

    def call(n: int) -> Call:
        body = {"model": "scripted", "stream": True, "messages": [{"role": "user", "content": str(n)}]}
        return Call(CHAT, orjson.dumps(body), True, far, far)

    far = asyncio.get_running_loop().time() + 60
    said = await asyncio.gather(*[_all(recorder, call(n)) for n in range(20)])
    replay = replay_provider(tmp_path, pace=False)
    assert await asyncio.gather(*[_all(replay, call(n)) for n in range(20)]) == said
    assert len({reads[0] for reads in said}) == 20


async def _all(provider: Provider, call: Call) -> list[bytes]:
    return await reads_of(await provider.send(call))
