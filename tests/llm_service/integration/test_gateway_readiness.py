"""What /readyz and the list of models say, and who serves which: with no server, one, and one that has no good list."""

from typing import Any

import httpx
import openai
import pytest

from tests.llm_service.conftest import Start
from tests.llm_service.wire import COMPLETION, ask, error_of, post, sdk
from tests.support.live import free_port
from tests.support.scripted_llm import ScriptedLlm
from tests.support.unruly_llm import UnrulyLlm, answer, die


async def test_without_settings_it_says_which_two_would_change_it(start: Start) -> None:
    url = start()
    with pytest.raises(openai.InternalServerError) as caught:
        await ask(url)
    assert caught.value.status_code == 503
    async with httpx.AsyncClient() as http:
        ready, models = await http.get(url + "/readyz"), await http.get(url + "/v1/models")
        assert (await http.get(url + "/healthz")).status_code == 200
        one = await http.get(url + "/v1/models/gpt-4o-mini")
    told = [str(caught.value), ready.json()["checks"][0]["detail"], models.json()["message"], error_of(one)["message"]]
    assert all("OPENAI_API_KEY" in text and "LLM_BASE_URL" in text for text in told)
    assert ready.status_code == 503
    assert (models.status_code, models.json()["object"], models.json()["data"]) == (200, "list", [])


async def test_readyz_is_ready_before_a_server_that_answers(start: Start, llm: ScriptedLlm) -> None:
    async with httpx.AsyncClient() as http:
        response = await http.get(start(llm.app()) + "/readyz")
    assert response.status_code == 200
    assert "scripted-model" in response.json()["checks"][1]["detail"]


async def test_readyz_names_the_server_that_is_down(start: Start) -> None:
    down = f"http://127.0.0.1:{free_port()}/v1"
    async with httpx.AsyncClient() as http:
        response = await http.get(start(llm_base_url=down) + "/readyz")
    assert response.status_code == 503
    assert down in response.json()["checks"][1]["detail"]


async def test_a_model_that_is_not_served_is_404(start: Start, llm: ScriptedLlm) -> None:
    client = sdk(start(llm.app()))
    with pytest.raises(openai.NotFoundError, match="scripted-model") as caught:
        await client.models.retrieve("gpt-9")
    assert caught.value.code == "model_not_found"


async def test_default_name_before_several_models_asks_for_llm_model(start: Start) -> None:
    upstream = UnrulyLlm([answer(200, COMPLETION)], models=["qwen", "llama"])
    response = await post(start(upstream), model="gpt-4o-mini")
    assert (response.status_code, error_of(response)["code"]) == (404, "model_not_found")
    assert all(word in error_of(response)["message"] for word in ("qwen", "llama", "LLM_MODEL"))
    assert upstream.calls == 0


@pytest.mark.parametrize("play", [answer(200, {"models": []}), answer(200, b"<p>hi</p>"), answer(500, {}), die])
async def test_a_list_of_models_that_cannot_be_read_is_told(start: Start, play: Any) -> None:
    async def upstream(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await play(send)

    url = start(upstream)
    async with httpx.AsyncClient() as http:
        models, ready = await http.get(url + "/v1/models"), await http.get(url + "/readyz")
    assert models.status_code in {502, 503}
    assert error_of(models)["type"] == "server_error"
    assert ready.status_code == 503


async def test_a_server_without_a_list_of_models_is_ready_with_a_hint(start: Start) -> None:
    async def upstream(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await answer(404 if scope["method"] == "GET" else 200, COMPLETION)(send)

    url = start(upstream)
    async with httpx.AsyncClient() as http:
        assert (await http.get(url + "/v1/models")).json() == {"object": "list", "data": []}
        ready = await http.get(url + "/readyz")
    assert ready.status_code == 200
    assert "/v1" in ready.json()["checks"][1]["detail"]
    assert (await post(url)).json() == COMPLETION
