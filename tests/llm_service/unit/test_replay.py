"""What a folder of recordings answers: by which name, in which order, at what pace; and what is wrong with a file."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from llm_service.core.errors import Refused
from llm_service.providers.recorded.recorder import Recorder
from llm_service.providers.recorded.replay import replay_provider
from service_kit.errors import DeadlineExceeded, NotFound, Upstream
from tests.llm_service.wire import quickest
from tests.support.recordings import Told, call_of, files_in, reads_of, record


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


async def test_a_replay_keeps_the_recorded_pace_where_it_is_asked_to(tmp_path: Path) -> None:
    await record(tmp_path, [b"a", b"b", b"c"], pause_s=0.2)

    async def replayed_s(pace: bool) -> float:
        started = time.monotonic()
        assert await reads_of(await replay_provider(tmp_path, pace=pace).send(call_of())) == [b"a", b"b", b"c"]
        return time.monotonic() - started

    assert await replayed_s(pace=True) >= 0.59
    assert await quickest(lambda: replayed_s(pace=False), 0.19) < 0.19


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
    await record(tmp_path, [b"a", b"b"], pause_s=1.0)
    answer = await replay_provider(tmp_path, pace=True).send(call_of())
    waiting = asyncio.create_task(answer.more())
    await asyncio.sleep(0.01)
    answer.close()
    with pytest.raises(Upstream, match="closed"):
        await asyncio.wait_for(waiting, 30)


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
