"""TEI's /predict: the labels of a text, a pair or a batch, what is refused, what is counted."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.embedding_service.integration.conftest import QUERY, TEXTS, Serve, answered, cross_encoder


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


def test_a_default_prompt_is_put_before_single_texts_and_refused_for_pairs(serve: Serve) -> None:
    plain, prompted = serve("classifier"), serve("classifier", default_prompt="find: ")
    by_hand = answered(plain.post("/predict", json={"inputs": "find: a"}))
    assert answered(prompted.post("/predict", json={"inputs": "a"})) == by_hand
    refused = prompted.post("/predict", json={"inputs": ["a", "b"]})
    assert (refused.status_code, "DEFAULT_PROMPT" in refused.json()["error"]) == (422, True)
