"""What was once answered is stored, and answered again bit for bit."""

import asyncio
import contextlib
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from llm_service.core.errors import Refused
from llm_service.providers.base import Answer, AttemptFailed, Call, Fault, Provider
from llm_service.providers.paced import PacedStream, WholeAnswer
from llm_service.providers.recorded.recorder import Recorder
from llm_service.providers.recorded.replay import replay_provider
from llm_service.providers.scripted.provider import scripted_provider
from llm_service.providers.scripted.script import CHAT, Script
from service_kit.errors import DeadlineExceeded, NotFound, ServiceError, Unavailable, Upstream

KEY = "sk-planted-7f3a"

Saying = bytes | list[bytes | ServiceError] | Exception


class Told:
    """A backend that answers with what a test gives it, in turn: a whole body, the reads of a stream, or a failure."""

    address = "http://told/v1"

    def __init__(self, *answers: Saying, models: Sequence[dict[str, Any]] = (), pause_s: float = 0.0) -> None:
        self.key = KEY
        self.answers = list(answers)
        self.listed = tuple(models)
        self.pause_s = pause_s
        self.closed: list[str] = []

    async def send(self, call: Call) -> Answer:
        said = self.answers.pop(0)
        await asyncio.sleep(self.pause_s)
        if isinstance(said, Exception):
            raise said from RuntimeError(f"Authorization: Bearer {self.key}")
        if isinstance(said, bytes):
            return WholeAnswer(said)
        first, *rest = said
        assert isinstance(first, bytes)
        steps = ((self.pause_s * (i + 2), read) for i, read in enumerate(rest))
        return PacedStream(first, steps, asyncio.get_running_loop().time() - self.pause_s)

    async def models(self) -> tuple[dict[str, Any], ...]:
        return self.listed

    async def fetch(self, path: str) -> bytes:
        if path != "/version":
            raise NotFound("none")
        return b'{"version": "1"}'

    async def close(self) -> None:
        self.closed.append("provider")


def call_of(body: Any = None, *, path: str = CHAT, within_s: float = 5.0) -> Call:
    content = body if isinstance(body, bytes) else orjson.dumps(body or {"model": "m", "messages": []})
    deadline = asyncio.get_running_loop().time() + within_s
    return Call(path, content, False, first_by=deadline, expires_at=deadline)


async def reads_of(answer: Answer) -> list[bytes]:
    reads = [answer.first]
    while read := await answer.more():
        reads.append(read)
    return reads


async def record(folder: Path, *answers: Saying, **told: Any) -> None:
    """Ask the same question once for each answer, and read each to its end."""
    recorder = Recorder(Told(*answers, **told), folder)
    for _ in answers:
        with contextlib.suppress(AttemptFailed, ServiceError):
            await reads_of(await recorder.send(call_of()))


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


# what is stored


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
    await record(tmp_path, [b"data: \xc3\xa4\n\n", b"\xff"])
    header, *reads, end = [orjson.loads(line) for line in files_in(tmp_path)[0].read_bytes().splitlines()]
    assert (header["path"], header["request"]) == (CHAT, {"messages": [], "model": "m"})
    assert [read.get("text") for read in reads] == ["data: ä\n\n", None]
    assert reads[1]["base64"] == "/w=="
    assert end["end"] == "whole"
    assert 0 <= reads[0]["at_s"] <= reads[1]["at_s"] <= end["at_s"] < 1


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

    far = asyncio.get_running_loop().time() + 10
    said = await asyncio.gather(*[_all(recorder, call(n)) for n in range(20)])
    replay = replay_provider(tmp_path, pace=False)
    assert await asyncio.gather(*[_all(replay, call(n)) for n in range(20)]) == said
    assert len({reads[0] for reads in said}) == 20


async def _all(provider: Provider, call: Call) -> list[bytes]:
    return await reads_of(await provider.send(call))


# what is replayed


async def test_a_request_that_was_not_recorded_is_refused_in_words(tmp_path: Path) -> None:
    await record(tmp_path, b"{}")
    for call in (call_of(b'{"model":"other"}'), call_of(path="/tokenize")):
        with pytest.raises(Refused, match=f"not recorded in {tmp_path}") as refused:
            await replay_provider(tmp_path, pace=False).send(call)
        assert (refused.value.status, refused.value.details["code"]) == (404, "not_recorded")


async def test_a_replay_says_what_it_is(tmp_path: Path) -> None:
    recorder = Recorder(Told(b"{}", models=[{"id": "m", "owned_by": "acme", "max_model_len": 9}]), tmp_path)
    assert await recorder.models() == ({"id": "m", "owned_by": "acme", "max_model_len": 9},)
    replay = replay_provider(tmp_path, pace=False)
    assert await replay.models() == ({"id": "m", "owned_by": "recording", "max_model_len": 9},)
    assert replay.address == f"the recording in {tmp_path}"


async def test_the_models_of_two_backends_in_one_folder_are_all_listed(tmp_path: Path) -> None:
    for name in "ab":
        await Recorder(Told(models=[{"id": name}]), tmp_path).models()
    assert [model["id"] for model in await replay_provider(tmp_path, pace=False).models()] == ["a", "b"]


async def test_a_list_of_models_is_stored_when_it_changes_and_not_at_every_probe(tmp_path: Path) -> None:
    told = Told(models=[{"id": "a"}])
    recorder = Recorder(told, tmp_path)
    for _ in range(3):
        await recorder.models()
    assert len(files_in(tmp_path)) == 1
    told.listed = ({"id": "b"},)
    await recorder.models()
    assert len(files_in(tmp_path)) == 2


async def test_models_that_nobody_asked_for_are_those_of_the_requests(tmp_path: Path) -> None:
    await record(tmp_path, b"{}")
    listed = await replay_provider(tmp_path, pace=False).models()
    assert listed == ({"id": "m", "object": "model", "created": 0, "owned_by": "recording"},)


async def test_a_document_is_replayed_and_another_is_not_found(tmp_path: Path) -> None:
    recorder = Recorder(Told(), tmp_path)
    for _ in range(2):
        assert await recorder.fetch("/version") == b'{"version": "1"}'
    assert len(files_in(tmp_path)) == 1
    with pytest.raises(NotFound):
        await recorder.fetch("/other")
    replay = replay_provider(tmp_path, pace=False)
    assert await replay.fetch("/version") == b'{"version": "1"}'
    with pytest.raises(NotFound, match="/other"):
        await replay.fetch("/other")


@pytest.mark.parametrize(("pace", "least_s", "most_s"), [(True, 0.59, 1.2), (False, 0.0, 0.19)])
async def test_a_replay_keeps_the_recorded_pace_where_it_is_asked_to(
    pace: bool, least_s: float, most_s: float, tmp_path: Path
) -> None:
    await record(tmp_path, [b"a", b"b", b"c"], pause_s=0.2)
    started = time.monotonic()
    assert await reads_of(await replay_provider(tmp_path, pace=pace).send(call_of())) == [b"a", b"b", b"c"]
    assert least_s <= time.monotonic() - started < most_s


async def test_a_failure_comes_at_its_recorded_time(tmp_path: Path) -> None:
    await record(tmp_path, [b"a", Upstream("broke off")], pause_s=0.1)
    started = time.monotonic()
    answer = await replay_provider(tmp_path, pace=True).send(call_of())
    with pytest.raises(Upstream):
        await answer.more()
    assert time.monotonic() - started >= 0.19


async def test_a_paced_replay_keeps_the_deadline(tmp_path: Path) -> None:
    await record(tmp_path, b"{}", pause_s=0.2)
    with pytest.raises(DeadlineExceeded):
        await replay_provider(tmp_path, pace=True).send(call_of(within_s=0.05))


async def test_a_replayed_answer_can_be_let_go(tmp_path: Path) -> None:
    await record(tmp_path, [b"a", b"b"], pause_s=0.3)
    answer = await replay_provider(tmp_path, pace=True).send(call_of())
    waiting = asyncio.create_task(answer.more())
    await asyncio.sleep(0.01)
    answer.close()
    with pytest.raises(Upstream, match="closed"):
        await asyncio.wait_for(waiting, 1)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda lines: lines[:-1], "line 3: .*cut short"),
        (lambda lines: [], "line 1: .*not JSON"),
        (lambda lines: [lines[0], b"{", *lines[1:]], "line 2: .*JSON"),
        (lambda lines: [b"{}", *lines[1:]], "line 1: .*path"),
        (lambda lines: [lines[0], b'{"at_s": 0, "base64": "*"}', lines[-1]], "line 2: .*base64"),
        (lambda lines: [lines[0], b'{"at_s": "x", "text": "a"}', lines[-1]], "line 2: .*at_s"),
        (lambda lines: [lines[0], b'{"at_s": 0}', lines[-1]], "line 2: .*not a read"),
        (lambda lines: [*lines, lines[-1]], "line 4: .*not a read"),
        (lambda lines: [lines[0], lines[-1]], "line 2: .*without an answer"),
        (
            lambda lines: [*lines[:-1], b'{"at_s": 0, "failure": {"kind": "Odd"}}'],
            "line 4: failure kind Odd is none of Refused",
        ),
        (lambda lines: [*lines[:-1], b'{"at_s": 0, "failure": {"fault": "odd"}}'], "line 4: .*failure fault .*down"),
        (lambda lines: [lines[0].replace(b'"recording":1', b'"recording":2'), *lines[1:]], "line 1: .*recording"),
        (lambda lines: [b"\xff", *lines[1:]], "line 1: .*JSON"),
    ],
)
async def test_a_damaged_file_is_told_in_words_when_it_is_loaded(damage: Any, told: str, tmp_path: Path) -> None:
    await record(tmp_path, [b"a", b"b"])
    file = files_in(tmp_path)[0]
    file.write_bytes(b"\n".join(damage(file.read_bytes().splitlines())))
    with pytest.raises(ValueError, match=f"{file.name}, {told}"):
        replay_provider(tmp_path, pace=False)


async def test_a_damaged_list_of_models_is_told_in_words_when_it_is_loaded(tmp_path: Path) -> None:
    await Recorder(Told(models=[{"id": "m"}]), tmp_path).models()
    file = files_in(tmp_path)[0]
    file.write_bytes(file.read_bytes().replace(b"id", b"no"))
    with pytest.raises(ValueError, match=f"{file.name}, line 2: it is not a list of models"):
        replay_provider(tmp_path, pace=False)


@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: folder.mkdir(), lambda folder: folder.touch()])
def test_a_folder_without_a_recording_is_told_in_words(make: Any, tmp_path: Path) -> None:
    make(tmp_path / "recordings")
    with pytest.raises(ValueError, match="recordings holds no recording"):
        replay_provider(tmp_path / "recordings", pace=False)


async def test_what_a_killed_recorder_left_half_written_is_passed_over(tmp_path: Path) -> None:
    await record(tmp_path, b"{}")
    file = files_in(tmp_path)[0]
    file.with_name(f".{file.name}").write_bytes(b"{")
    assert (await replay_provider(tmp_path, pace=False).send(call_of())).first == b"{}"


async def test_a_recording_that_vanishes_while_it_is_replayed_is_told_in_words(tmp_path: Path) -> None:
    await record(tmp_path, b"{}")
    replay = replay_provider(tmp_path, pace=False)
    os.unlink(files_in(tmp_path)[0])
    with pytest.raises(Upstream, match="cannot be read"):
        await replay.send(call_of())
