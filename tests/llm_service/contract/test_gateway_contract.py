"""What a client may rely on, whatever is behind the gateway: one suite for a real vLLM and for a script."""

from typing import Any

import httpx
import openai
import orjson
import pytest

from tests.llm_service.contract.conftest import EVERYTHING, MODELS, WRONG_KEY, Gateway

HELLO: Any = [{"role": "user", "content": "hello"}]
GREEDY: Any = {"messages": HELLO, "max_tokens": 24, "temperature": 0}
TOO_LONG: Any = [{"role": "user", "content": "zq " * 600}]

of_models = pytest.mark.parametrize("gateway", MODELS, indirect=True)
of_everything = pytest.mark.parametrize("gateway", EVERYTHING, indirect=True)
whole_and_streamed = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def events_of(response: httpx.Response) -> list[dict[str, Any]]:
    """The JSON of each event of a stream that ended well."""
    assert response.status_code == 200, response.text
    *events, done, rest = response.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    told = [event.removeprefix("data: ") for event in events if not event.startswith(":")]
    return [orjson.loads(event) for event in told]


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])


def assert_envelope(body: Any) -> dict[str, Any]:
    """OpenAI's four fields and no others, with a code that is a word."""
    error = body["error"]
    assert set(body) == {"error"}
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert error["type"] in {"invalid_request_error", "server_error", "rate_limit_error"}
    assert error["param"] is None or isinstance(error["param"], str)
    assert error["code"] is None or isinstance(error["code"], str)
    return dict(error)


@of_models
def test_a_whole_answer_is_the_servers_own_with_its_usage(gateway: Gateway) -> None:
    answer = gateway.sdk.chat.completions.create(model=gateway.model, **GREEDY)
    assert answer.model == gateway.model
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in {"stop", "length"}
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


@of_models
def test_a_stream_says_what_the_whole_answer_says(gateway: Gateway) -> None:
    whole = gateway.sdk.chat.completions.create(model=gateway.model, **GREEDY).choices[0]
    chunks = list(gateway.sdk.chat.completions.create(model=gateway.model, stream=True, **GREEDY))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == [whole.finish_reason]
    assert len(chunks) > 3  # not one piece at the end


@of_models
def test_the_default_model_stands_for_the_only_one_and_the_answer_says_which(gateway: Gateway) -> None:
    answer = gateway.sdk.chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_tokens=2)
    assert answer.model == gateway.model


@of_models
def test_usage_that_is_asked_for_comes_once_and_last(gateway: Gateway) -> None:
    response = gateway.post("/v1/chat/completions", stream=True, stream_options={"include_usage": True}, **GREEDY)
    *events, last = events_of(response)
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == last["usage"]["prompt_tokens"] + last["usage"]["completion_tokens"]
    assert all(event["choices"] and not event.get("usage") for event in events)


@of_models
@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": False}}], ids=["silent", "declined"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_usage_that_is_not_asked_for_is_counted_and_not_shown(gateway: Gateway, options: Any, path: str) -> None:
    asked = {"prompt": "hello"} if path == "/v1/completions" else {"messages": HELLO}
    response = gateway.post(path, stream=True, max_tokens=7, ignore_eos=True, **asked, **options)
    events = events_of(response)
    assert events
    assert all(event["choices"] and event.get("usage") is None for event in events)
    assert gateway.tokens("completion") == 7
    assert gateway.tokens("prompt") > 0


@of_models
def test_a_whole_answers_tokens_are_counted(gateway: Gateway) -> None:
    usage = gateway.sdk.chat.completions.create(model=gateway.model, **GREEDY).usage
    assert usage is not None
    assert gateway.tokens("completion") == usage.completion_tokens
    assert gateway.tokens("prompt") == usage.prompt_tokens


@of_models
@whole_and_streamed
def test_an_answer_ends_before_a_stop_sequence(gateway: Gateway, stream: bool) -> None:
    text = str(gateway.sdk.chat.completions.create(model=gateway.model, **GREEDY).choices[0].message.content)
    stop = next(text[i : i + 2] for i in range(6, len(text)) if text[i : i + 2].isascii() and text[i].isalpha())
    response = gateway.post("/v1/chat/completions", stop=[stop], stream=stream, **GREEDY)
    if stream:
        events = events_of(response)
        said, reason = text_of(events), events[-1]["choices"][0]["finish_reason"]
    else:
        choice = response.json()["choices"][0]
        said, reason = choice["message"]["content"], choice["finish_reason"]
    assert (said, reason) == (text[: text.index(stop)], "stop")


@of_models
def test_a_completion_whole_and_streamed(gateway: Gateway) -> None:
    asked: Any = {"model": gateway.model, "prompt": "def rank", "max_tokens": 12, "temperature": 0}
    whole = gateway.sdk.completions.create(**asked)
    chunks = list(gateway.sdk.completions.create(stream=True, **asked))
    assert whole.object == "text_completion"
    assert whole.choices[0].text
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text


@of_models
def test_models_are_listed_with_their_window(gateway: Gateway) -> None:
    listed = {model.id: model for model in gateway.sdk.models.list()}
    assert gateway.model in listed
    assert listed[gateway.model].to_dict()["max_model_len"] == gateway.max_model_len
    assert gateway.sdk.models.retrieve(gateway.model).id == gateway.model


@of_models
@whole_and_streamed
def test_a_prompt_over_the_window_is_the_callers_error(gateway: Gateway, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        gateway.sdk.chat.completions.create(model=gateway.model, messages=TOO_LONG, stream=stream)
    error = assert_envelope(caught.value.response.json())
    assert error["code"] == "context_length_exceeded"
    assert str(gateway.max_model_len) in error["message"]


@of_models
@whole_and_streamed
def test_an_unknown_model_is_not_found(gateway: Gateway, stream: bool) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        gateway.sdk.chat.completions.create(model="no-such-model", messages=HELLO, stream=stream)
    error = assert_envelope(caught.value.response.json())
    assert error["code"] == "model_not_found"
    assert "no-such-model" in error["message"]
    assert gateway.model in error["message"]  # what there is


@of_models
@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"messages": "hello"}, id="messages is a text"),
        pytest.param({"messages": HELLO, "temperature": "hot"}, id="temperature is a text"),
        pytest.param({"messages": HELLO, "max_tokens": -1}, id="max_tokens is negative"),
        pytest.param({"messages": HELLO, "max_tokens": "many"}, id="max_tokens is a text"),
        pytest.param({"messages": []}, id="no messages"),
    ],
)
def test_a_wrong_field_is_a_bad_request(gateway: Gateway, wrong: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        gateway.sdk.chat.completions.create(model=gateway.model, **wrong)
    assert assert_envelope(caught.value.response.json())["type"] == "invalid_request_error"


@of_everything
@pytest.mark.parametrize("body", [b'{"model": ', b"[]", b"", b'{"model": "\xff"}'])
def test_a_body_that_is_no_json_object_is_a_bad_request(gateway: Gateway, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    response = httpx.post(gateway.url + "/v1/chat/completions", content=body, headers=headers)
    assert response.status_code == 400
    assert assert_envelope(response.json())["type"] == "invalid_request_error"


@of_everything
@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nothing", 404), ("PUT", "/v1/models", 405)])
def test_an_unknown_route_answers_in_the_envelope(gateway: Gateway, method: str, path: str, status: int) -> None:
    response = httpx.request(method, gateway.url + path)
    assert response.status_code == status
    assert_envelope(response.json())


@pytest.mark.parametrize("locked_out", MODELS, indirect=True)
def test_a_refused_key_of_the_gateway_is_the_operators_fault(locked_out: Gateway) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        locked_out.sdk.chat.completions.create(model=locked_out.model, messages=HELLO)
    assert caught.value.status_code == 502
    assert_envelope(caught.value.response.json())
    ready = httpx.get(locked_out.url + "/readyz")
    assert ready.status_code == 503
    assert "refused the key" in ready.text
    for told in (caught.value.response.text, ready.text, httpx.get(locked_out.url + "/metrics").text):
        assert WRONG_KEY not in told
        assert "of-a-caller" not in told


@pytest.mark.parametrize("gateway", ["none"], indirect=True)
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": HELLO}),
        ("/v1/chat/completions", {"messages": HELLO, "stream": True}),
        ("/v1/completions", {"prompt": "a"}),
        ("/v1/embeddings", {"input": "a"}),
        ("/tokenize", {"prompt": "a"}),
        ("/detokenize", {"tokens": [1]}),
    ],
)
def test_without_a_backend_every_route_says_what_to_set(gateway: Gateway, path: str, body: Any) -> None:
    response = gateway.post(path, **body)
    error = assert_envelope(response.json())
    assert (response.status_code, error["code"]) == (503, "model_not_configured")
    assert int(response.headers["retry-after"]) > 0
    assert "OPENAI_API_KEY" in error["message"]
    assert "LLM_BASE_URL" in error["message"]


@pytest.mark.parametrize("gateway", ["none"], indirect=True)
def test_without_a_backend_there_are_no_models_and_it_is_not_ready(gateway: Gateway) -> None:
    assert list(gateway.sdk.models.list()) == []
    with pytest.raises(openai.InternalServerError) as caught:
        gateway.sdk.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    assert caught.value.code == "model_not_configured"
    assert httpx.get(gateway.url + "/readyz").status_code == 503
