"""What a real server answered is answered again without it, bit for bit, through the gateway."""

from pathlib import Path

import httpx
import pytest

from tests.llm_service.conftest import Start
from tests.llm_service.wire import until
from tests.support.scripted_llm import ScriptedLlm

ASKED = [
    {"model": "scripted-model", "messages": [{"role": "user", "content": "hello"}]},
    {"model": "scripted-model", "messages": [{"role": "user", "content": "hello"}], "stream": True},
]


async def answers(url: str) -> list[bytes]:
    async with httpx.AsyncClient() as http:
        return [(await http.post(url + "/v1/chat/completions", json=body)).content for body in ASKED]


def recorded_in(folder: Path, method: str) -> int:
    return sum(f'"method":"{method}"' in path.read_text() for path in folder.glob("*.jsonl"))


async def test_an_evaluation_can_be_repeated_without_its_model(start: Start, llm: ScriptedLlm, tmp_path: Path) -> None:
    llm.will_say("In store.py [1].", "In a stream.")
    folder = tmp_path / "recording"
    recorded = await answers(start(llm.app(), llm_record_to=folder, llm_upstream_api_key="sk-planted"))
    # A stream is stored when its connection's use has ended, which is after its last byte was passed on.
    await until(lambda: recorded_in(folder, "POST") == len(ASKED), what="that both are stored")
    url = start(llm_provider="replay", llm_replay_from=folder)
    assert await answers(url) == recorded
    assert b"In store.py [1]." in recorded[0]
    assert len(llm.requests) == 2  # nobody asked it again
    assert not any("sk-planted" in path.read_text() for path in folder.iterdir())
    async with httpx.AsyncClient() as http:
        listed = (await http.get(url + "/v1/models")).json()["data"]
        unknown = await http.post(url + "/v1/chat/completions", json={**ASKED[0], "temperature": 1})
    assert [(model["id"], model["owned_by"]) for model in listed] == [("scripted-model", "recording")]
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_recorded")


def test_a_recording_that_is_not_there_is_told_at_the_start(start: Start, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no recording"):
        start(llm_provider="replay", llm_replay_from=tmp_path)
    with pytest.raises(ValueError, match="LLM_REPLAY_FROM"):
        start(llm_provider="replay")


async def test_the_scripted_provider_is_started_only_by_its_name(start: Start, llm: ScriptedLlm) -> None:
    async with httpx.AsyncClient() as http:
        bare = await http.post(start() + "/v1/chat/completions", json=ASKED[0])
        named = await http.post(
            start(llm.app(), llm_provider="scripted") + "/v1/chat/completions", json={"messages": ASKED[0]["messages"]}
        )
    assert bare.status_code == 503
    assert named.json()["model"] == "scripted"
    assert named.json()["system_fingerprint"].startswith("scripted-")
    assert llm.requests == []
