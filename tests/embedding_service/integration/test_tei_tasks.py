"""TEI's routes beside /embed, over HTTP: what each kind of model answers, and what it refuses in TEI's words."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers

from embedding_service.backends.base import ModelError
from embedding_service.backends.load import LoadedModel, load_model
from embedding_service.backends.tokenizer import load_tokenizer
from embedding_service.main import create_app
from tests.embedding_service.conftest import MakeSettings, wait_until_ready
from tests.embedding_service.made_models import BERT, save
from tests.support.engines import InProcess
from tests.support.live import live

Reference = Callable[[list[str]], NDArray[np.float32]]
Serve = Callable[..., httpx.Client]

QUERY = "where is the lock taken?"
TEXTS = ["def acquire(self): self._lock.acquire()", "x", "return the number of open connections " * 20, "x"]
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


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, onnx_model: LoadedModel) -> dict[str, Path]:
    """A reranker, a classifier of three labels and a masked language model, each small and random."""
    from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

    root, tokenizer = tmp_path_factory.mktemp("models"), onnx_model.spec.folder
    names = {0: "joy", 1: "anger", 2: "neither"}
    labels = {"num_labels": 3, "id2label": names, "label2id": {name: id_ for id_, name in names.items()}}
    return {
        "reranker": save(
            root / "one", tokenizer, BertForSequenceClassification(BertConfig(**BERT, num_labels=1)), std=0.2
        ),
        "classifier": save(
            root / "three", tokenizer, BertForSequenceClassification(BertConfig(**BERT, **labels)), std=0.2
        ),
        "splade": save(root / "masked", tokenizer, BertForMaskedLM(BertConfig(**BERT)), std=0.2),
    }


@pytest.fixture(scope="module")
def serve(make_settings: MakeSettings, folders: dict[str, Path]) -> Iterator[Serve]:
    """A client of a ready service with the model of a kind; settings by name, its own service for each set of them."""
    with ExitStack() as stack:
        running: dict[str, httpx.Client] = {}

        def client(kind: str, **fields: Any) -> httpx.Client:
            key = f"{kind} {fields}"
            if key not in running:
                pooling = {"pooling": "splade"} if kind == "splade" else {}
                limits = {"max_client_batch_size": 8, "max_batch_tokens": 128}
                settings = make_settings(embedding_model=str(folders[kind]), **pooling, **{**limits, **fields})
                url = stack.enter_context(live(create_app(settings)))
                wait_until_ready(url)
                running[key] = stack.enter_context(httpx.Client(base_url=url, timeout=60))
            return running[key]

        yield client


@pytest.fixture
def reranker(serve: Serve) -> httpx.Client:
    return serve("reranker")


@pytest.fixture
def classifier(serve: Serve) -> httpx.Client:
    return serve("classifier")


@pytest.fixture
def splade(serve: Serve) -> httpx.Client:
    return serve("splade")


def answered(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()


def cross_encoder(folder: Path, pairs: list[tuple[str, str]], *, raw: bool = False) -> NDArray[np.float32]:
    import torch
    from sentence_transformers import CrossEncoder

    activation = torch.nn.Identity() if raw else torch.nn.Sigmoid()
    return np.asarray(CrossEncoder(str(folder), device="cpu").predict(pairs, activation_fn=activation), np.float32)


# --- /rerank


def test_rerank_gives_the_scores_of_the_cross_encoder_best_first(
    reranker: httpx.Client, folders: dict[str, Path]
) -> None:
    found = answered(reranker.post("/rerank", json={"query": QUERY, "texts": TEXTS}))
    expected = cross_encoder(folders["reranker"], [(QUERY, text) for text in TEXTS])
    assert np.ptp(expected) > 0.05  # else no order is tested
    assert [set(rank) for rank in found] == [{"index", "score"}] * 4  # no text unless asked for
    assert [rank["score"] for rank in found] == sorted((rank["score"] for rank in found), reverse=True)
    scores = {rank["index"]: rank["score"] for rank in found}
    np.testing.assert_allclose([scores[index] for index in range(4)], expected, atol=1e-4)


def test_rerank_gives_raw_scores_and_texts_where_asked(reranker: httpx.Client, folders: dict[str, Path]) -> None:
    body = {"query": QUERY, "texts": TEXTS[:2], "raw_scores": True, "return_text": True}
    found = answered(reranker.post("/rerank", json=body))
    expected = cross_encoder(folders["reranker"], [(QUERY, text) for text in TEXTS[:2]], raw=True)
    assert [rank["text"] for rank in found] == [TEXTS[rank["index"]] for rank in found]
    np.testing.assert_allclose([rank["score"] for rank in found], np.sort(expected)[::-1], atol=1e-4)


def test_of_two_equal_texts_the_later_one_is_ranked_first_as_by_tei(reranker: httpx.Client) -> None:
    found = answered(reranker.post("/rerank", json={"query": "test", "texts": ["test", "other", "test"]}))
    order = [rank["index"] for rank in found]
    assert order.index(2) + 1 == order.index(0)


def test_rerank_cuts_the_side_that_is_asked_for(reranker: httpx.Client) -> None:
    def scores(**fields: Any) -> dict[int, float]:
        body = {"query": "q", "texts": ["alpha " * 70 + "omega " * 70, "alpha " * 70, "omega " * 70], **fields}
        return {rank["index"]: rank["score"] for rank in answered(reranker.post("/rerank", json=body))}

    # Longer than is tokenised at all (125 characters a token for each part of a pair): its end is kept nevertheless.
    (huge,) = answered(
        reranker.post(
            "/rerank",
            json={"query": "q", "texts": ["alpha " * 3_000 + "omega " * 70], "truncation_direction": "left"},
        )
    )
    right, left = scores(), scores(truncation_direction="Left")
    assert huge["score"] == pytest.approx(left[2], abs=1e-5)
    assert right[0] == pytest.approx(right[1], abs=1e-5)
    assert left[0] == pytest.approx(left[2], abs=1e-5)
    assert right[1] != pytest.approx(right[2], abs=1e-3)


def test_rerank_refuses_what_tei_refuses(reranker: httpx.Client) -> None:
    empty = reranker.post("/rerank", json={"query": QUERY, "texts": []})
    assert (empty.status_code, empty.json()) == (400, {"error": "`texts` cannot be empty", "error_type": "Empty"})
    many = reranker.post("/rerank", json={"query": QUERY, "texts": ["a"] * 9})
    assert (many.status_code, many.json()["error_type"]) == (422, "Validation")
    assert "batch size 9 > maximum allowed batch size 8" in many.json()["error"]
    long = reranker.post("/rerank", json={"query": QUERY, "texts": ["word " * 100], "truncate": False})
    assert (long.status_code, long.json()["error_type"]) == (422, "Validation")
    for body in ({"query": QUERY}, {"texts": ["a"]}, {"query": ["a"], "texts": ["a"]}, {"query": "a", "texts": "a"}):
        assert reranker.post("/rerank", json=body).status_code == 422
    both = reranker.post("/rerank", json={"query": "", "texts": [""]})
    assert (both.status_code, both.json()["error_type"]) == (400, "Empty")
    assert reranker.post("/rerank", json={"query": "", "texts": ["a"]}).status_code == 200  # one of the two suffices


# --- /predict


def test_predict_gives_the_probabilities_of_transformers_best_first(
    classifier: httpx.Client, folders: dict[str, Path]
) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folders["classifier"])
    model = AutoModelForSequenceClassification.from_pretrained(folders["classifier"]).eval()
    with torch.inference_mode():
        logits = model(**tokenizer(QUERY, TEXTS[0], return_tensors="pt")).logits[0]
    for raw, expected in ((False, logits.softmax(0)), (True, logits)):
        found = answered(classifier.post("/predict", json={"inputs": [QUERY, TEXTS[0]], "raw_scores": raw}))
        assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
        by_label = {one["label"]: one["score"] for one in found}
        assert set(by_label) == {"joy", "anger", "neither"}
        scores = [by_label[name] for name in ("joy", "anger", "neither")]
        np.testing.assert_allclose(scores, expected.numpy(), atol=1e-4)


def test_predict_tells_a_single_text_a_pair_and_a_batch_apart(classifier: httpx.Client) -> None:
    single = answered(classifier.post("/predict", json={"inputs": "I like you."}))
    in_list = answered(classifier.post("/predict", json={"inputs": ["I like you."]}))
    pair = answered(classifier.post("/predict", json={"inputs": ["I like you.", "And I you."]}))
    batch = answered(classifier.post("/predict", json={"inputs": [["I like you."], ["I like you.", "And I you."]]}))
    assert isinstance(single[0], dict)
    assert single == in_list != pair
    for found, expected in zip(batch, [single, pair], strict=True):
        assert [one["label"] for one in found] == [one["label"] for one in expected]
        np.testing.assert_allclose([one["score"] for one in found], [one["score"] for one in expected], atol=1e-5)


@pytest.mark.parametrize("inputs", [[], ["a", "b", "c"], [["a", "b", "c"]], [[]], [["a"], "b"], [["a"], [1]], 7, None])
def test_predict_refuses_other_shapes(classifier: httpx.Client, inputs: Any) -> None:
    answer = classifier.post("/predict", json={"inputs": inputs})
    assert (answer.status_code, answer.json()["error_type"]) == (422, "Validation")


def test_predict_refuses_empty_and_too_many_texts(classifier: httpx.Client) -> None:
    for inputs in ("", ["", ""], [["a"], [""]]):
        answer = classifier.post("/predict", json={"inputs": inputs})
        assert (answer.status_code, answer.json()["error_type"]) == (400, "Empty")
    many = classifier.post("/predict", json={"inputs": [["a"]] * 9})
    assert "batch size 9 > maximum allowed batch size 8" in many.json()["error"]


def test_a_reranker_predicts_its_one_label_by_a_sigmoid(reranker: httpx.Client, folders: dict[str, Path]) -> None:
    (one,) = answered(reranker.post("/predict", json={"inputs": [QUERY, TEXTS[0]]}))
    expected = cross_encoder(folders["reranker"], [(QUERY, TEXTS[0])])
    assert one == {"score": pytest.approx(float(expected[0]), abs=1e-4), "label": "LABEL_0"}


# --- /embed_sparse


def test_embed_sparse_gives_the_weights_of_sparse_encoder(splade: httpx.Client, folders: dict[str, Path]) -> None:
    from sentence_transformers import SparseEncoder

    found = answered(splade.post("/embed_sparse", json={"inputs": TEXTS}))
    encoder = SparseEncoder(str(folders["splade"]), device="cpu")
    expected = np.asarray(encoder.encode(TEXTS, convert_to_sparse_tensor=False))
    for row, weights in zip(found, expected, strict=True):
        assert [one["index"] for one in row] == sorted(one["index"] for one in row)
        assert all(one["value"] > 0 for one in row)
        dense = np.zeros(30522)
        dense[[one["index"] for one in row]] = [one["value"] for one in row]
        np.testing.assert_allclose(dense, weights, atol=1e-4)
    single = answered(splade.post("/embed_sparse", json={"inputs": TEXTS[0]}))
    assert [len(row) for row in single] == [len(found[0])]  # a list of one


def test_a_splade_embeds_densely_only_where_normalize_is_false(splade: httpx.Client) -> None:
    refused = splade.post("/embed", json={"inputs": "a"})
    message = "Backend error: `normalize` is not available for SPLADE models"
    assert (refused.status_code, refused.json()) == (424, {"error": message, "error_type": "Backend"})
    dense = answered(splade.post("/embed", json={"inputs": QUERY, "normalize": False}))
    (row,) = answered(splade.post("/embed_sparse", json={"inputs": QUERY}))
    assert np.flatnonzero(dense[0]).tolist() == [one["index"] for one in row]


# --- /embed_all, /similarity


def test_embed_all_gives_the_vectors_of_the_tokens_in_the_order_of_the_texts(http: httpx.Client) -> None:
    texts = ["close the pool", "a longer text, so that it is computed after the next one " * 9, "x"]
    found = answered(http.post("/embed_all", json={"inputs": texts}))
    tokens = answered(http.post("/tokenize", json={"inputs": texts}))
    assert [len(vectors) for vectors in found] == [len(one) for one in tokens]
    pooled = answered(http.post("/embed", json={"inputs": texts, "normalize": False}))
    for vectors, expected in zip(found, pooled, strict=True):  # the model pools by the mean
        np.testing.assert_allclose(np.mean(vectors, axis=0), expected, atol=1e-5)
    (single,) = answered(http.post("/embed_all", json={"inputs": texts[0]}))
    np.testing.assert_allclose(single, found[0], atol=1e-5)


def test_similarity_gives_the_cosines_with_the_source(http: httpx.Client, reference: Reference) -> None:
    body = {"inputs": {"source_sentence": QUERY, "sentences": TEXTS[:3]}, "parameters": {"truncate": True}}
    found = answered(http.post("/similarity", json=body))
    vectors = reference([QUERY, *TEXTS[:3]])
    np.testing.assert_allclose(found, vectors[1:] @ vectors[0], atol=1e-4)


def test_similarity_counts_the_source_and_refuses_what_tei_refuses(http: httpx.Client) -> None:
    empty = http.post("/similarity", json={"inputs": {"source_sentence": "a", "sentences": []}})
    assert empty.json() == {"error": "`inputs.sentences` cannot be empty", "error_type": "Empty"}
    many = http.post("/similarity", json={"inputs": {"source_sentence": "a", "sentences": ["b"] * 64}})
    assert (many.status_code, "batch size 65 > maximum" in many.json()["error"]) == (422, True)
    for inputs in ("a", {"source_sentence": "a"}, {"source_sentence": ["a"], "sentences": ["b"]}):
        assert http.post("/similarity", json={"inputs": inputs}).status_code == 422


# --- /decode


def test_decode_gives_the_texts_of_ids(http: httpx.Client) -> None:
    ids = [token["id"] for token in answered(http.post("/tokenize", json={"inputs": "close the pool"}))[0]]
    assert answered(http.post("/decode", json={"ids": ids})) == ["close the pool"]
    assert answered(http.post("/decode", json={"ids": [ids, ids[1:2]]})) == ["close the pool", "close"]
    whole = answered(http.post("/decode", json={"ids": ids, "skip_special_tokens": False}))
    assert whole == ["[CLS] close the pool [SEP]"]


@pytest.mark.parametrize(
    ("ids", "status", "kind"),
    [
        ([], 400, "Empty"),
        ([[]], 400, "Empty"),
        ([2**32], 422, "Validation"),
        ([-1], 422, "Validation"),
        ("a", 422, "Validation"),
        ([["a"]], 422, "Validation"),
        ([[1]] * 65, 422, "Validation"),
    ],
    ids=range(7),
)
def test_decode_refuses_what_is_no_ids(http: httpx.Client, ids: Any, status: int, kind: str) -> None:
    answer = http.post("/decode", json={"ids": ids})
    assert (answer.status_code, answer.json()["error_type"]) == (status, kind)


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


# --- the root, /info, headers, metrics


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


def test_task_makes_the_root_of_an_embedding_model_similarity(
    make_settings: MakeSettings, onnx_model: LoadedModel
) -> None:
    settings = make_settings(task="sentence-similarity")
    app = create_app(settings, make_engine=lambda: InProcess(lambda: onnx_model))
    with live(app) as url, httpx.Client(base_url=url) as client:
        wait_until_ready(url)
        body = {"inputs": {"source_sentence": "a", "sentences": ["a"]}}
        assert answered(client.post("/", json=body)) == [pytest.approx(1, abs=1e-5)]


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


def test_predictions_are_counted_by_the_names_of_tei(serve: Serve) -> None:
    client = serve("reranker", auto_truncate=False)  # a service of its own, so that the counts are its own
    answered(client.post("/rerank", json={"query": "a", "texts": ["b", "c"]}))
    answered(client.post("/predict", json={"inputs": ["a", "b"]}))
    text = client.get("/metrics").text
    for line in (
        "te_predict_count 3.0",
        "te_predict_success 3.0",
        "te_predict_duration_count 2.0",
        'te_request_count{method="batch"} 1.0',
        'te_request_count{method="single"} 1.0',
        'te_request_success{method="single"} 1.0',
        "te_request_duration_count 2.0",
    ):
        assert line in text.splitlines(), line
    assert client.post("/predict", json={"inputs": "word " * 100}).status_code == 422  # auto_truncate is off


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


# --- the tokenizer fails, the key, the default prompt


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


def test_a_default_prompt_is_put_before_single_texts_and_refused_for_pairs(serve: Serve) -> None:
    plain, prompted = serve("classifier"), serve("classifier", default_prompt="find: ")
    by_hand = answered(plain.post("/predict", json={"inputs": "find: a"}))
    assert answered(prompted.post("/predict", json={"inputs": "a"})) == by_hand
    refused = prompted.post("/predict", json={"inputs": ["a", "b"]})
    assert (refused.status_code, "DEFAULT_PROMPT" in refused.json()["error"]) == (422, True)


def test_every_route_of_tei_is_in_the_openapi_document_with_its_body(http: httpx.Client) -> None:
    paths = answered(http.get("/openapi.json"))["paths"]
    posts = {path for path, methods in paths.items() if "requestBody" in methods.get("post", {})}
    assert posts >= {*PATHS[1:], "/vertex", "/v1/embeddings"}
    assert {"/info", "/health"} <= set(paths)


# --- the door, and a backend that can do less


class Held:
    """A reranker whose every score is 1, given when it may."""

    name, dim, tasks = "held", 1, frozenset({"predict"})

    def __init__(self) -> None:
        self.entered, self.may_finish = threading.Event(), threading.Event()

    def run(self, task: Any, batch: Any) -> Any:
        self.entered.set()
        assert self.may_finish.wait(30)
        return np.ones((len(batch.ids), 1), np.float32)


def test_each_text_of_a_reranking_takes_a_permit_and_gives_it_back(
    make_settings: MakeSettings, onnx_model: LoadedModel
) -> None:
    spec = replace(onnx_model.spec, kind="reranker", id2label={"0": "LABEL_0"}, label2id={"LABEL_0": 0})
    backend = Held()
    settings = make_settings(max_concurrent_requests=3, max_client_batch_size=3)
    model = LoadedModel(spec, onnx_model.tokenizer, backend, 1)
    app = create_app(settings, make_engine=lambda: InProcess(lambda: model))
    with live(app) as url, httpx.Client(base_url=url, timeout=60) as client, ThreadPoolExecutor(1) as pool:
        wait_until_ready(url)
        body = {"query": "a", "texts": ["b", "c"]}
        first = pool.submit(client.post, "/rerank", json=body)
        assert backend.entered.wait(30)
        for path, refused_body in (("/rerank", body), ("/predict", {"inputs": [["a"], ["b", "c"]]})):
            refused = client.post(path, json=refused_body)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1"), path
            assert refused.json()["error_type"] == "Overloaded"
            assert refused.json()["error"].startswith("Model is overloaded")
        assert answered(client.post("/tokenize", json={"inputs": ["a", "b", "c"]}))  # which takes no permit, as in TEI
        backend.may_finish.set()
        assert first.result().status_code == 200
        assert answered(client.post("/rerank", json={"query": "a", "texts": ["b", "c", "d"]}))


def test_embed_all_is_424_where_the_backend_has_no_token_vectors(
    make_settings: MakeSettings, onnx_model: LoadedModel
) -> None:
    class Pooled:
        name, dim, tasks = "table", 384, frozenset({"embed"})

        def run(self, task: Any, batch: Any) -> Any:
            return np.ones((len(batch.ids), 384), np.float32)

    model = LoadedModel(onnx_model.spec, onnx_model.tokenizer, Pooled(), 1)
    with live(create_app(make_settings(), make_engine=lambda: InProcess(lambda: model))) as url:
        wait_until_ready(url)
        answer = httpx.post(f"{url}/embed_all", json={"inputs": "a"})
        assert (answer.status_code, answer.json()["error_type"]) == (424, "Backend")
        assert "`embed_all` is not available for the table backend" in answer.json()["error"]
        assert len(answered(httpx.post(f"{url}/embed", json={"inputs": "a"}))[0]) == 384


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


@pytest.mark.parametrize("kind", ["embedding", "reranker", "splade"])
@pytest.mark.parametrize("path", [*PATHS, "/vertex", "/invocations"])
def test_no_odd_body_is_a_500(serve: Serve, http: httpx.Client, kind: str, path: str) -> None:
    client = http if kind == "embedding" else serve(kind)
    for body in [*ODD, [], "a", None, 7]:
        answer = client.post(path, json=body)
        assert answer.status_code in {200, 400, 422, 424}, (answer.status_code, body)
        assert answer.status_code == 200 or set(answer.json()) == {"error", "error_type"}
