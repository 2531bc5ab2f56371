"""What is seen of several servers: by operators at /readyz, by clients in the list of models and in answers."""

from pathlib import Path

import httpx
import pytest

from tests.llm_service.conftest import Start
from tests.llm_service.integration.conftest import Serve, checks, get, nobody, saying, table, write
from tests.llm_service.wire import post, until
from tests.support.live import free_port, live
from tests.support.scripted_llm import ScriptedLlm
from tests.support.unruly_llm import UnrulyLlm, answer, die


@pytest.mark.usefixtures("rests_long")
async def test_readyz_says_of_each_backend_whether_it_is_usable_and_why_not(
    start: Start, serve: Serve, file: Path
) -> None:
    cools = UnrulyLlm([answer(429, {"error": {"message": "slow"}}, {"retry-after": "50"})], models=["busy"])
    refuses = UnrulyLlm([answer(401, {"error": "Unauthorized"})], models=["locked"])
    fails = UnrulyLlm([answer(500, {"error": {"message": "MY SECRET PROMPT"}})], models=["broken"])
    gone = nobody()
    write(
        file,
        table("gone", gone),
        table("cools", serve(cools)),
        table("refuses", serve(refuses), key_file=str(file.with_name("key"))),
        table("fails", serve(fails)),
        table("good", serve(UnrulyLlm([answer(200, saying("good"))]))),
    )
    file.with_name("key").write_text("sk-planted")
    url = start(None, llm_backends_file=file, llm_max_retries=0)
    before = await checks(url)
    assert [before[f"backend {name}"][0] for name in ("gone", "cools", "refuses", "fails", "good")] == [
        False,
        True,
        True,
        True,
        True,
    ]
    assert before["backends"] == (True, "4 of 5 are usable")
    statuses = [(await post(url, model=name)).status_code for name in ("busy", "locked", *["broken"] * 5)]
    assert statuses == [429, 502] + [502] * 5
    async with httpx.AsyncClient() as http:
        response = await http.get(url + "/readyz")
    assert (response.status_code, response.json()["status"]) == (200, "ready")
    assert "MY SECRET PROMPT" not in response.text
    assert "sk-planted" not in response.text
    told = await checks(url)
    assert told["backends"] == (True, "1 of 5 are usable")
    assert gone in told["backend gone"][1]
    assert "cannot be reached" in told["backend gone"][1]
    assert "cooling, asked again in" in told["backend cools"][1]
    assert f"refused the key (401); check {file.with_name('key')}" in told["backend refuses"][1]
    assert "answered 500 (open, asked again in" in told["backend fails"][1]
    assert told["backend good"][0]


async def test_readyz_is_not_ready_while_no_backend_is_usable_and_soon_after_one_is(start: Start, file: Path) -> None:
    port = free_port()
    write(file, table("gone", nobody()), table("comes", f"http://127.0.0.1:{port}/v1"))
    url = start(None, llm_backends_file=file)
    async with httpx.AsyncClient() as http:
        assert (await http.get(url + "/readyz")).status_code == 503
        with live(UnrulyLlm([answer(200, saying("x"))]), port):

            async def is_ready() -> bool:
                return (await http.get(url + "/readyz")).status_code == 200

            await until(is_ready)


async def test_models_are_those_of_all_backends_with_the_aliases(start: Start, serve: Serve, file: Path) -> None:
    write(
        file,
        table("a", serve(UnrulyLlm([die], models=["x", "both"]))),
        table("b", serve(UnrulyLlm([die], models=["both", "y"]))) + 'aliases = {quick = "y"}\n',
        table("gone", nobody(), models=["z"]),
    )
    url = start(None, llm_backends_file=file)
    listed = (await get(url + "/v1/models"))["data"]
    assert [model["id"] for model in listed] == ["x", "both", "y", "quick", "z"]
    assert (await get(url + "/v1/models/quick"))["root"] == "y"


async def test_an_alias_is_another_name_at_each_backend_and_the_answer_says_which(
    start: Start, serve: Serve, file: Path
) -> None:
    llm = ScriptedLlm(model="org/qwen")
    write(file, table("a", serve(llm.app())) + 'aliases = {"gpt-4o-mini" = "org/qwen"}\n')
    response = await post(start(None, llm_backends_file=file), model="gpt-4o-mini")
    assert llm.requests[0]["model"] == "org/qwen"
    assert response.json()["model"] == "org/qwen"
