"""What settings change of TEI's routes: the task, the key, the default prompt, another tokenizer."""

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from embedding_service.backends.base import ModelError
from embedding_service.backends.load import LoadedModel, load_model
from embedding_service.backends.tokenizer import load_tokenizer
from embedding_service.main import create_app
from tests.embedding_service.conftest import MakeSettings, wait_until_ready
from tests.embedding_service.integration.conftest import answered
from tests.support.engines import InProcess
from tests.support.live import live


def test_task_makes_the_root_of_an_embedding_model_similarity(
    make_settings: MakeSettings, onnx_model: LoadedModel
) -> None:
    settings = make_settings(task="sentence-similarity")
    app = create_app(settings, make_engine=lambda: InProcess(lambda: onnx_model))
    with live(app) as url, httpx.Client(base_url=url) as client:
        wait_until_ready(url)
        body = {"inputs": {"source_sentence": "a", "sentences": ["a"]}}
        assert answered(client.post("/", json=body)) == [pytest.approx(1, abs=1e-5)]


def test_a_text_that_the_tokenizer_cannot_take_is_422_tokenizer(
    make_settings: MakeSettings, onnx_model: LoadedModel, tmp_path: Path
) -> None:
    knows_one_word = Tokenizer(models.WordLevel({"lock": 5}, unk_token="[UNK]"))
    knows_one_word.pre_tokenizer = pre_tokenizers.Whitespace()
    knows_one_word.save(str(tmp_path / "tokenizer.json"))
    spec = replace(onnx_model.spec, folder=tmp_path)
    model = LoadedModel(spec, load_tokenizer(spec), onnx_model.backend, 1)
    app = create_app(make_settings(), make_engine=lambda: InProcess(lambda: model))
    with live(app) as url, httpx.Client(base_url=url) as client:
        wait_until_ready(url)
        assert client.post("/embed", json={"inputs": "lock"}).status_code == 200
        answer = client.post("/embed", json={"inputs": "pool"})
        assert (answer.status_code, answer.json()["error_type"]) == (422, "Tokenizer")
        assert 'te_request_failure{err="tokenization"} 1.0' in client.get("/metrics").text


def test_with_a_key_all_but_health_and_metrics_want_it(make_settings: MakeSettings, onnx_model: LoadedModel) -> None:
    settings = make_settings(embedding_api_key="sésame")
    app = create_app(settings, make_engine=lambda: InProcess(lambda: onnx_model))
    with live(app) as url, httpx.Client(base_url=url) as client:
        wait_until_ready(url)
        for path in ("/health", "/", "/ping", "/metrics", "/healthz", "/readyz"):
            assert client.get(path).status_code == 200, path
        key = {"authorization": "Bearer sésame".encode()}
        for headers in ({}, {"authorization": b"Bearer x"}, {"authorization": "sésame".encode()}):
            assert client.get("/info", headers=headers).status_code == 401
            refused = client.post("/embed", json={"inputs": "a"}, headers=headers)
            assert (refused.status_code, "EMBEDDING_API_KEY" in refused.json()["error"]) == (401, True)
            assert client.post("/v1/embeddings", json={"input": "a"}, headers=headers).status_code == 401
        assert client.get("/info", headers=key).status_code == 200
        assert client.post("/embed", json={"inputs": "a"}, headers=key).status_code == 200


def test_a_default_prompt_is_put_before_texts_that_name_none(
    make_settings: MakeSettings, onnx_model: LoadedModel
) -> None:
    plain, prompted = load_model(make_settings()), load_model(make_settings(default_prompt="find: "))
    with ExitStack() as stack:
        clients = []
        for model in (plain, prompted):
            app = create_app(make_settings(), make_engine=partial(InProcess, lambda model=model: model))
            url = stack.enter_context(live(app))
            wait_until_ready(url)
            clients.append(stack.enter_context(httpx.Client(base_url=url)))
        by_hand = answered(clients[0].post("/embed", json={"inputs": "find: the lock"}))
        by_default = answered(clients[1].post("/embed", json={"inputs": "the lock"}))
        assert by_default == by_hand
        openai = answered(clients[1].post("/v1/embeddings", json={"input": "the lock"}))
        assert openai["data"][0]["embedding"] == by_hand[0]
        identities = [answered(client.get("/info"))["identity"] for client in clients]
        assert identities[0] != identities[1]


def test_a_default_prompt_is_named_or_given_and_must_be_one_of_the_model(make_settings: MakeSettings) -> None:
    with pytest.raises(ModelError, match="DEFAULT_PROMPT_NAME is 'query', which is not a prompt of the model"):
        load_model(make_settings(default_prompt_name="query"))
    with pytest.raises(ValueError, match="not both"):
        make_settings(default_prompt_name="query", default_prompt="find: ")
