"""TEI's routes together: what a model is not for, the root, /info, /vertex, headers, the document, and odd bodies."""

from typing import Any

import httpx
import pytest

from tests.embedding_service.integration.conftest import Serve, answered

HEADERS = {
    "x-compute-type",
    "x-compute-time",
    "x-compute-characters",
    "x-compute-tokens",
    "x-total-time",
    "x-tokenization-time",
    "x-queue-time",
    "x-inference-time",
}

# --- what a model is not for


@pytest.mark.parametrize(
    ("kind", "path", "body", "message"),
    [
        ("embedding", "/rerank", {"query": "a", "texts": ["b"]}, "model is not a re-ranker model"),
        ("embedding", "/predict", {"inputs": "a"}, "Model is not a classifier model"),
        ("embedding", "/embed_sparse", {"inputs": "a"}, "Model is not an embedding model with SPLADE pooling"),
        ("splade", "/embed_all", {"inputs": "a"}, "`embed_all` is not available for SPLADE models"),
        ("splade", "/predict", {"inputs": "a"}, "Model is not a classifier model"),
        ("classifier", "/rerank", {"query": "a", "texts": ["b"]}, "model is not a re-ranker model"),
        ("classifier", "/embed", {"inputs": "a"}, "Model is not an embedding model"),
        ("classifier", "/embed_all", {"inputs": ["a"]}, "Model is not an embedding model"),
        ("reranker", "/embed", {"inputs": "a"}, "Model is not an embedding model"),
        ("reranker", "/similarity", {"inputs": {"source_sentence": "a", "sentences": ["b"]}}, "not an embedding model"),
    ],
)
def test_what_the_model_is_not_for_is_424_in_the_words_of_tei(
    serve: Serve, http: httpx.Client, kind: str, path: str, body: Any, message: str
) -> None:
    client = http if kind == "embedding" else serve(kind)
    answer = client.post(path, json=body)
    assert (answer.status_code, answer.json()["error_type"]) == (424, "Backend")
    assert answer.json()["error"].startswith("Backend error: ")
    assert answer.json()["error"].endswith(message)
    assert 'te_request_failure{err="model_type"}' in client.get("/metrics").text


def test_openai_embeddings_of_a_classifier_are_424_in_their_envelope(classifier: httpx.Client) -> None:
    answer = classifier.post("/v1/embeddings", json={"input": "a"})
    message = "Backend error: Model is not an embedding model"
    assert (answer.status_code, answer.json()) == (424, {"message": message, "code": 424, "type": "Backend"})


# --- the root, /info, headers


def test_the_root_and_invocations_are_the_route_that_the_model_is_for(serve: Serve, http: httpx.Client) -> None:
    bodies: list[tuple[httpx.Client, str, Any]] = [
        (serve("reranker"), "/rerank", {"query": "a", "texts": ["b", "c"]}),
        (serve("classifier"), "/predict", {"inputs": "a"}),
        (serve("splade"), "/embed_sparse", {"inputs": "a"}),
        (http, "/embed", {"inputs": "a"}),
    ]
    for client, path, body in bodies:
        expected = answered(client.post(path, json=body))
        assert answered(client.post("/", json=body)) == answered(client.post("/invocations", json=body)) == expected


def test_info_tells_the_kind_of_model_as_tei_does(
    classifier: httpx.Client, reranker: httpx.Client, splade: httpx.Client
) -> None:
    assert answered(classifier.get("/info"))["model_type"] == {
        "classifier": {
            "id2label": {"0": "joy", "1": "anger", "2": "neither"},
            "label2id": {"joy": 0, "anger": 1, "neither": 2},
        }
    }
    one = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    assert answered(reranker.get("/info"))["model_type"] == {"reranker": one}
    assert answered(splade.get("/info"))["model_type"] == {"embedding": {"pooling": "splade"}}


def test_all_inference_routes_carry_the_headers_of_tei_and_the_others_none(serve: Serve, http: httpx.Client) -> None:
    bodies: list[tuple[httpx.Client, str, Any, int]] = [
        (http, "/embed", {"inputs": "abc"}, 3),
        (http, "/embed_all", {"inputs": ["abc", "é"]}, 4),
        (http, "/similarity", {"inputs": {"source_sentence": "ab", "sentences": ["cd", "e"]}}, 5),
        (http, "/v1/embeddings", {"input": "abc"}, 3),
        (serve("splade"), "/embed_sparse", {"inputs": "abc"}, 3),
        (serve("classifier"), "/predict", {"inputs": [["abc"], ["de", "f"]]}, 6),
        (serve("reranker"), "/rerank", {"query": "ab", "texts": ["cde", "f"]}, 8),  # the query counts for each text
    ]
    for client, path, body, characters in bodies:
        headers = client.post(path, json=body).headers
        assert set(headers) >= HEADERS, path
        assert headers["x-compute-characters"] == str(characters), path
        assert int(headers["x-compute-tokens"]) > 2, path
    for path, body in (("/tokenize", {"inputs": "a"}), ("/decode", {"ids": [101]})):
        assert not HEADERS & set(http.post(path, json=body).headers)


# --- /vertex


def test_vertex_answers_each_instance_by_what_it_is(http: httpx.Client, reranker: httpx.Client) -> None:
    found = answered(http.post("/vertex", json={"instances": [{"inputs": "a"}, {"inputs": ["b", "c"]}]}))
    assert [len(vectors) for vectors in found["predictions"]] == [1, 2]
    rerank = {"query": "a", "texts": ["b"]}
    found = answered(reranker.post("/vertex", json={"instances": [rerank, {"inputs": ["a", "b"]}]}))
    ((rank,), (prediction,)) = found["predictions"]
    assert rank["score"] == pytest.approx(prediction["score"], abs=1e-6)
    assert answered(http.post("/vertex", json={"instances": []})) == {"predictions": []}


def test_vertex_refuses_an_instance_that_is_nothing(http: httpx.Client) -> None:
    answer = http.post("/vertex", json={"instances": [{"inputs": "a"}, {"input": "a"}]})
    assert (answer.status_code, answer.json()["error_type"]) == (422, "Validation")
    answer = http.post("/vertex", json={"instances": [{"inputs": "a"}, {"inputs": ""}]})
    assert (answer.status_code, answer.json()["error_type"]) == (400, "Empty")
    answer = http.post("/vertex", json={"instances": [{"inputs": "a"}] * 65})
    assert (answer.status_code, "batch size 65" in answer.json()["error"]) == (422, True)


# --- every route


PATHS = ["/", "/embed", "/embed_all", "/embed_sparse", "/similarity", "/predict", "/rerank", "/tokenize", "/decode"]
ODD: list[Any] = [
    {"inputs": {"a": 1}, "ids": {"a": 1}, "query": {}, "texts": {}, "instances": {}},
    {"inputs": [[[1]]], "ids": [[[1]]], "query": "a", "texts": [["a"]], "instances": [[1]]},
    {"inputs": [None], "ids": [None], "query": None, "texts": [None], "instances": [None]},
    {"inputs": [["a", None]], "ids": [1, [2]], "query": "a", "texts": ["a"], "truncate": "yes", "instances": ["a"]},
    {"inputs": [True], "ids": [True], "query": "a", "texts": ["a"], "raw_scores": 1, "instances": [{}]},
    {"inputs": "\x00", "ids": [4294967295], "query": "\x00", "texts": ["\x00"], "instances": [{"inputs": [[]]}]},
    {"inputs": [4294967295], "ids": [[0], []], "query": "", "texts": [""], "instances": [{"query": "a", "texts": 1}]},
    {"inputs": {"source_sentence": "\x00", "sentences": ["\x00", ""]}, "parameters": {"truncation_direction": 1}},
    {"inputs": {"source_sentence": "", "sentences": [""]}, "parameters": None, "ids": [[-1]], "texts": []},
    {"inputs": "\U0001f680" * 20_000, "query": "\U0001f680" * 20_000, "texts": ["\U0001f680" * 20_000]},
]


def test_every_route_of_tei_is_in_the_openapi_document_with_its_body(http: httpx.Client) -> None:
    paths = answered(http.get("/openapi.json"))["paths"]
    posts = {path for path, methods in paths.items() if "requestBody" in methods.get("post", {})}
    assert posts >= {*PATHS[1:], "/vertex", "/v1/embeddings"}
    assert {"/info", "/health"} <= set(paths)


@pytest.mark.parametrize("kind", ["embedding", "reranker", "splade"])
@pytest.mark.parametrize("path", [*PATHS, "/vertex", "/invocations"])
def test_no_odd_body_is_a_500(serve: Serve, http: httpx.Client, kind: str, path: str) -> None:
    client = http if kind == "embedding" else serve(kind)
    for body in [*ODD, [], "a", None, 7]:
        answer = client.post(path, json=body)
        assert answer.status_code in {200, 400, 422, 424}, (answer.status_code, body)
        assert answer.status_code == 200 or set(answer.json()) == {"error", "error_type"}
