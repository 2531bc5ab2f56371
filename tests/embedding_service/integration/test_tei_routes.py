"""TEI's routes over HTTP, in TEI's shapes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from embedding_service.backends.load import LoadedModel
from embedding_service.main import create_app
from tests.embedding_service.conftest import MakeSettings, wait_until_ready
from tests.support.engines import InProcess
from tests.support.live import live

Reference = Callable[[list[str]], NDArray[np.float32]]


def vectors_of(answer: httpx.Response) -> NDArray[np.float32]:
    assert answer.status_code == 200, answer.text
    return np.array(answer.json(), np.float32)


def test_a_single_text_is_answered_by_a_list_of_one_vector(http: httpx.Client, reference: Reference) -> None:
    vectors = vectors_of(http.post("/embed", json={"inputs": "where is the lock taken?"}))
    np.testing.assert_allclose(vectors, reference(["where is the lock taken?"]), atol=1e-4)


def test_bulk_keeps_the_order_though_short_texts_are_embedded_first(
    http: httpx.Client, reference: Reference, code_texts: list[str]
) -> None:
    texts = sorted(code_texts, key=len, reverse=True)
    np.testing.assert_allclose(vectors_of(http.post("/embed", json={"inputs": texts})), reference(texts), atol=1e-4)


def test_posting_to_the_root_embeds_too(http: httpx.Client) -> None:
    same = [http.post(path, json={"inputs": ["close the pool"]}).json() for path in ("/", "/embed")]
    assert same[0] == same[1]


def test_token_ids_are_one_input_and_lists_of_them_several(http: httpx.Client, onnx_model: LoadedModel) -> None:
    texts = ["close the pool", "open the door to the cellar"]
    ids = onnx_model.tokenizer.encode(texts, None)
    by_text = vectors_of(http.post("/embed", json={"inputs": texts}))
    by_ids = vectors_of(http.post("/embed", json={"inputs": ids}))
    mixed = vectors_of(http.post("/embed", json={"inputs": [texts[0], ids[1]]}))
    single = vectors_of(http.post("/embed", json={"inputs": ids[0]}))
    np.testing.assert_allclose(by_ids, by_text, atol=1e-6)
    np.testing.assert_allclose(mixed, by_text, atol=1e-6)
    np.testing.assert_allclose(single, by_text[:1], atol=1e-6)


def test_vectors_have_length_one_unless_normalize_is_false(http: httpx.Client) -> None:
    unit = vectors_of(http.post("/embed", json={"inputs": ["one", "two"]}))
    raw = vectors_of(http.post("/embed", json={"inputs": ["one", "two"], "normalize": False}))
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    assert np.abs(lengths - 1).min() > 0.5
    np.testing.assert_allclose(raw / lengths, unit, atol=1e-6)


def test_dimensions_cut_first_and_normalise_then(http: httpx.Client) -> None:
    whole = vectors_of(http.post("/embed", json={"inputs": "cut me"}))
    cut = vectors_of(http.post("/embed", json={"inputs": "cut me", "dimensions": 64}))
    assert cut.shape == (1, 64)
    np.testing.assert_allclose(cut, whole[:, :64] / np.linalg.norm(whole[:, :64]), atol=1e-6)


def test_truncation_takes_the_side_that_is_asked_for(http: httpx.Client) -> None:
    head, tail = "alpha " * 254, "omega " * 254  # each fills the window of 256 with its two special tokens
    expected = vectors_of(http.post("/embed", json={"inputs": [head, tail]}))
    for spelling in ("right", "Right"):
        right = {"inputs": head + tail, "truncation_direction": spelling}
        np.testing.assert_allclose(vectors_of(http.post("/embed", json=right)), expected[:1], atol=1e-6)
    left = {"inputs": head + tail, "truncation_direction": "Left"}
    np.testing.assert_allclose(vectors_of(http.post("/embed", json=left)), expected[1:], atol=1e-6)


def test_left_truncation_of_a_text_of_many_windows_keeps_its_end(http: httpx.Client) -> None:
    tail = "omega " * 254
    left = {"inputs": "alpha " * 20_000 + tail, "truncation_direction": "left"}
    expected = vectors_of(http.post("/embed", json={"inputs": tail}))
    np.testing.assert_allclose(vectors_of(http.post("/embed", json=left)), expected, atol=1e-6)


def test_token_ids_over_the_window_are_cut_on_the_side_that_is_asked_for(http: httpx.Client) -> None:
    ids = list(range(1000, 1300))
    expected = vectors_of(http.post("/embed", json={"inputs": [ids[:256], ids[-256:]]}))
    right = vectors_of(http.post("/embed", json={"inputs": ids}))
    left = vectors_of(http.post("/embed", json={"inputs": ids, "truncation_direction": "Left"}))
    np.testing.assert_allclose(np.concatenate([right, left]), expected, atol=1e-6)


def test_a_text_over_the_window_is_refused_where_truncate_is_false(http: httpx.Client) -> None:
    for inputs in (["short", "word " * 300], [list(range(1000, 1300))], "word " * 20_000):
        answer = http.post("/embed", json={"inputs": inputs, "truncate": False})
        assert answer.status_code == 422
        assert answer.json()["error_type"] == "Validation"
        assert "must have at most" in answer.json()["error"]


def test_a_prompt_of_the_model_is_put_before_each_text(make_settings: MakeSettings, onnx_model: LoadedModel) -> None:
    model = replace(onnx_model, spec=replace(onnx_model.spec, prompts={"query": "find: ", "plain": ""}))
    with (
        live(create_app(make_settings(), make_engine=lambda: InProcess(lambda: model))) as url,
        httpx.Client(base_url=url) as http,
    ):
        wait_until_ready(url)
        by_name = vectors_of(http.post("/embed", json={"inputs": "the lock", "prompt_name": "query"}))
        by_hand = vectors_of(http.post("/embed", json={"inputs": "find: the lock"}))
        np.testing.assert_array_equal(by_name, by_hand)
        tokens = http.post("/tokenize", json={"inputs": "the lock", "prompt_name": "query"}).json()
        assert tokens == http.post("/tokenize", json={"inputs": "find: the lock"}).json()
        unknown = http.post("/embed", json={"inputs": "the lock", "prompt_name": "document"})
        assert (unknown.status_code, "it has: plain, query" in unknown.text) == (422, True)
        # TEI decodes token ids, puts the prompt before them and tokenises again.
        (ids,) = model.tokenizer.encode(["the lock"], None)
        with_ids = vectors_of(http.post("/embed", json={"inputs": [ids, "the lock"], "prompt_name": "query"}))
        np.testing.assert_allclose(with_ids, np.repeat(by_hand, 2, axis=0), atol=1e-6)


def test_answers_carry_the_compute_headers_of_tei(http: httpx.Client) -> None:
    answer = http.post("/embed", json={"inputs": ["one two", "three"]})
    assert answer.headers["x-compute-characters"] == "12"
    assert answer.headers["x-compute-tokens"] == "7"  # three words, two special tokens each text
    for name in ("x-total-time", "x-tokenization-time", "x-queue-time", "x-inference-time", "x-compute-time"):
        assert answer.headers[name].isdigit()


def test_info_tells_the_model_the_limits_and_the_identity(http: httpx.Client) -> None:
    info = http.get("/info").json()
    assert info["model_id"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert info["model_dtype"] == "float32"
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert (info["max_input_length"], info["dim"]) == (256, 384)
    assert (info["max_client_batch_size"], info["max_concurrent_requests"]) == (64, 128)
    assert info["auto_truncate"] is True
    assert len(bytes.fromhex(info["identity"])) == 32
    assert set(info) >= {"model_sha", "served_model_name", "max_batch_tokens", "tokenization_workers", "version"}


def test_health_is_200_and_empty_when_ready(http: httpx.Client) -> None:
    assert http.head("/health").status_code == 200
    for path in ("/health", "/", "/ping"):
        answer = http.get(path)
        assert (answer.status_code, answer.content) == (200, b"")


def test_tokenize_tells_ids_texts_and_byte_positions(http: httpx.Client) -> None:
    (tokens,) = http.post("/tokenize", json={"inputs": "é = lock"}).json()
    assert tokens[0] == {"id": 101, "text": "[CLS]", "special": True, "start": None, "stop": None}
    assert [(token["text"], token["start"], token["stop"]) for token in tokens[1:-1]] == [
        ("é", 0, 2),  # bytes, as TEI counts
        ("=", 3, 4),
        ("lock", 5, 9),
    ]


def test_tokenize_leaves_special_tokens_out_where_asked_and_cuts_nothing(http: httpx.Client) -> None:
    body = {"inputs": ["word " * 700, "one"], "add_special_tokens": False}
    assert [len(tokens) for tokens in http.post("/tokenize", json=body).json()] == [700, 1]


def test_a_full_batch_is_taken_and_one_more_is_refused(http: httpx.Client) -> None:
    assert vectors_of(http.post("/embed", json={"inputs": ["text"] * 64})).shape == (64, 384)
    for path in ("/embed", "/tokenize"):
        answer = http.post(path, json={"inputs": ["text"] * 65})
        assert answer.status_code == 422
        assert "batch size 65 > maximum allowed batch size 64" in answer.json()["error"]


def test_metrics_count_by_the_names_of_tei(http: httpx.Client) -> None:
    def value(name: str) -> float:
        lines = [line for line in http.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
        return float(lines[0].split()[-1]) if lines else 0.0

    names = ['te_request_count{method="batch"}', 'te_request_success{method="batch"}', "te_embed_count"]
    names += ["te_request_duration_count", "te_embed_success", "te_embed_duration_count", "te_request_input_length_sum"]
    before = [value(name) for name in names]
    http.post("/embed", json={"inputs": ["one", "two", "three"]})
    http.post("/embed", json={"inputs": []})
    assert [value(name) - was for name, was in zip(names, before, strict=True)] == [2, 1, 3, 1, 3, 1, 9]
    assert value("te_queue_size") == 0


def test_every_metric_of_tei_is_there_by_its_name(http: httpx.Client) -> None:
    http.post("/embed", json={"inputs": "one"})
    http.post("/embed", json={"inputs": []})
    text = http.get("/metrics").text
    durations = [f"te_{of}_{part}duration" for of in ("request", "embed", "predict") for part in PARTS]
    counts = [f"te_{of}_{word}" for of in ("request", "embed", "predict") for word in ("count", "success")]
    others = ["te_request_failure", "te_request_input_length", "te_queue_size", "te_batch_next_size"]
    told = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE te_")}
    mine = {name for name in told if not name.endswith("_created")}  # which prometheus_client adds
    assert mine == {*durations, *counts, *others, "te_batch_next_tokens"}


PARTS = ["", "tokenization_", "queue_", "inference_"]

FAILURES: dict[str, Any] = {
    "validation": [{"inputs": []}, {"inputs": "a", "dimensions": 385}, {"inputs": [101, 40_000]}],
    "batch_size": [{"inputs": ["a"] * 65}],
    "tokenization": [
        {"inputs": ""},
        {"inputs": "word " * 300, "truncate": False},
        {"inputs": "a", "prompt_name": "none"},
    ],
}


@pytest.mark.parametrize("err", FAILURES)
def test_failures_are_counted_by_the_words_of_tei(http: httpx.Client, err: str) -> None:
    def value() -> float:
        name = f'te_request_failure{{err="{err}"}} '
        lines = [line for line in http.get("/metrics").text.splitlines() if line.startswith(name)]
        return float(lines[0].split()[-1]) if lines else 0.0

    for body in FAILURES[err]:
        before = value()
        assert http.post("/embed", json=body).status_code in {400, 422}
        assert value() - before == 1
