"""What no client should send: each gets its status and a message, and none a 500."""

from typing import Any

import httpx
import pytest

BAD_BODIES: dict[str, tuple[str | bytes, str]] = {
    "empty body": ("", "not JSON"),
    "not JSON": ("inputs=hello", "not JSON"),
    "torn": ('{"inputs": "a', "not JSON"),
    "invalid UTF-8": (b'{"inputs": "\xff\xfe"}', "not JSON"),
    "lone surrogate": ('{"inputs": "\\ud800"}', "not JSON"),
    "NaN dimensions": ('{"inputs": "a", "dimensions": NaN}', "not JSON"),
    "nested too deep": ('{"inputs": ' + "[" * 5_000 + "]" * 5_000 + "}", "not JSON"),
    "nested just not too deep for the parser": (
        '{"inputs": [101, ' + "[" * 1_000 + "]" * 1_000 + "]}",
        "nested too deeply",
    ),
    "nested in a field": ('{"inputs": "a", "truncate": ' + "[" * 1_000 + "]" * 1_000 + "}", "truncate"),
    "a list": ('["a"]', "must be a JSON object"),
    "no inputs": ("{}", "inputs: Field required"),
    "null": ('{"inputs": null}', "must be a string"),
    "number": ('{"inputs": 7}', "must be a string"),
    "object": ('{"inputs": {"text": "a"}}', "must be a string"),
    "null among texts": ('{"inputs": ["a", null]}', "item 1"),
    "number among texts": ('{"inputs": ["a", 7]}', "item 1"),
    "list of lists of texts": ('{"inputs": [["a"]]}', "token ids"),
    "negative id": ('{"inputs": [[101, -1]]}', "-1"),
    "fractional id": ('{"inputs": [101, 1.5]}', "1.5"),
    "boolean id": ('{"inputs": [101, true]}', "True"),
    "id out of range": ('{"inputs": [101, 30522]}', "30522"),
    "huge id": ('{"inputs": [18446744073709551615]}', "vocabulary"),
    "fractional dimensions": ('{"inputs": "a", "dimensions": 1.5}', "dimensions"),
    "dimensions 0": ('{"inputs": "a", "dimensions": 0}', "greater than or equal to 1"),
    "too many dimensions": ('{"inputs": "a", "dimensions": 385}', "the model has 384"),
    "normalize not boolean": ('{"inputs": "a", "normalize": "yes"}', "normalize"),
    "truncate not boolean": ('{"inputs": "a", "truncate": 1}', "truncate"),
    "unknown direction": ('{"inputs": "a", "truncation_direction": "up"}', "truncation_direction"),
    "numeric direction": ('{"inputs": "a", "truncation_direction": 1}', "truncation_direction"),
    "unknown prompt": ('{"inputs": "a", "prompt_name": "query"}', "'query'"),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_a_bad_body_is_422_with_a_message_that_says_what_is_wrong(http: httpx.Client, case: str) -> None:
    body, message = BAD_BODIES[case]
    answer = http.post("/embed", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.json()["error_type"] == "Validation"
    assert message in answer.json()["error"]
    assert len(answer.content) < 1_000


@pytest.mark.parametrize("inputs", [[], "", ["a", ""], [[]], ["a", []]], ids=repr)
def test_nothing_to_embed_is_400_empty(http: httpx.Client, inputs: Any) -> None:
    answer = http.post("/embed", json={"inputs": inputs})
    assert answer.status_code == 400
    assert answer.json()["error_type"] == "Empty"


def test_an_empty_text_among_many_is_named(http: httpx.Client) -> None:
    assert "item 1 of 3" in http.post("/embed", json={"inputs": ["a", "", "b"]}).json()["error"]


def test_a_body_over_the_limit_is_413_in_the_envelope_of_the_route(http: httpx.Client) -> None:
    text = "x" * 2_000_001
    answer = http.post("/embed", json={"inputs": text})
    assert (answer.status_code, answer.json()["error_type"]) == (413, "Validation")
    assert "2000000" in answer.json()["error"]
    answer = http.post("/v1/embeddings", json={"input": text})
    assert (answer.status_code, answer.json()["code"]) == (413, 413)


def test_a_text_just_under_the_limit_is_embedded(http: httpx.Client) -> None:
    answer = http.post("/embed", json={"inputs": "x = 1\n" * 200_000})
    assert answer.status_code == 200
    assert answer.headers["x-compute-tokens"] == "256"


def test_ten_thousand_texts_are_refused_with_the_limit(http: httpx.Client) -> None:
    for path, field in (("/embed", "inputs"), ("/v1/embeddings", "input"), ("/tokenize", "inputs")):
        answer = http.post(path, json={field: ["text"] * 10_000})
        assert answer.status_code == 422, path
        assert "batch size 10000 > maximum allowed batch size 64" in answer.text


def test_tokenize_takes_texts_only_and_not_beyond_its_limit(http: httpx.Client) -> None:
    assert "list of strings" in http.post("/tokenize", json={"inputs": [101, 102]}).json()["error"]
    answer = http.post("/tokenize", json={"inputs": ["a", "x" * 64_001]})
    assert answer.status_code == 422
    assert "at most 64000 characters. Given: 64001" in answer.json()["error"]
    assert http.post("/tokenize", json={"inputs": "a", "prompt_name": "none such"}).status_code == 422
    assert http.post("/tokenize", json={"inputs": [""]}).status_code == 400


def test_other_routes_and_methods_fail_in_our_own_envelope_or_teis(http: httpx.Client) -> None:
    answer = http.get("/nothing/here")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    answer = http.get("/embed")
    assert (answer.status_code, answer.json()["error_type"]) == (405, "Validation")
