"""OpenAI's /v1/embeddings, and the clients that people have, unmodified."""

import base64
from collections.abc import Callable

import httpx
import numpy as np
import openai
import pytest
from huggingface_hub import InferenceClient
from numpy.typing import NDArray

Reference = Callable[[list[str]], NDArray[np.float32]]

TEXTS = ["def close(self): ...", "where is the lock taken?"]


def test_the_answer_has_the_shape_of_openai(http: httpx.Client, reference: Reference) -> None:
    answer = http.post("/v1/embeddings", json={"input": TEXTS, "model": "text-embedding-3-small"}).json()
    assert answer["object"] == "list"
    assert answer["model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert [(row["object"], row["index"]) for row in answer["data"]] == [("embedding", 0), ("embedding", 1)]
    tokens = sum(map(len, http.post("/tokenize", json={"inputs": TEXTS}).json()))
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    vectors = np.array([row["embedding"] for row in answer["data"]], np.float32)
    np.testing.assert_allclose(vectors, reference(TEXTS), atol=1e-4)


def test_base64_holds_the_same_little_endian_floats(http: httpx.Client) -> None:
    floats = http.post("/embeddings", json={"input": TEXTS[0]}).json()["data"][0]["embedding"]
    body = {"input": TEXTS[0], "encoding_format": "base64"}
    packed = http.post("/v1/embeddings", json=body).json()["data"][0]["embedding"]
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(packed), "<f4"), np.array(floats, np.float32))


def test_failures_come_in_the_openai_envelope_of_tei(http: httpx.Client) -> None:
    answer = http.post("/v1/embeddings", json={"input": []})
    assert answer.status_code == 400
    assert answer.json() == {"message": "`inputs` cannot be empty", "code": 400, "type": "Empty"}
    answer = http.post("/embeddings", json={"input": "x", "dimensions": 385})
    assert answer.status_code == 422
    assert answer.json() == {"message": "`dimensions` is 385; the model has 384", "code": 422, "type": "Validation"}
    answer = http.post("/v1/embeddings", json={"input": "x", "encoding_format": "int8"})
    assert (answer.status_code, answer.json()["type"]) == (422, "Validation")


def test_the_openai_client_reads_texts_token_ids_and_dimensions(service: str, reference: Reference) -> None:
    client = openai.OpenAI(base_url=f"{service}/v1", api_key="none", max_retries=0)
    answer = client.embeddings.create(model="any", input=TEXTS)  # it asks for base64 of its own accord
    vectors = np.array([row.embedding for row in answer.data], np.float32)
    np.testing.assert_allclose(vectors, reference(TEXTS), atol=1e-4)
    assert answer.usage.total_tokens > 4
    short = client.embeddings.create(model="any", input=[101, 5843, 102], dimensions=8, encoding_format="float")
    assert len(short.data[0].embedding) == 8


def test_the_openai_client_shows_the_message_of_a_failure(service: str) -> None:
    client = openai.OpenAI(base_url=f"{service}/v1", api_key="none", max_retries=0)
    with pytest.raises(openai.UnprocessableEntityError, match="maximum allowed batch size 64"):
        client.embeddings.create(model="any", input=["x"] * 65)


def test_the_llama_index_client_of_tei_embeds_text_and_query(service: str, reference: Reference) -> None:
    from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference

    client = TextEmbeddingsInference(model_name="sentence-transformers/all-MiniLM-L6-v2", base_url=service)
    np.testing.assert_allclose(client.get_text_embedding_batch(TEXTS), reference(TEXTS), atol=1e-4)
    np.testing.assert_allclose([client.get_query_embedding(TEXTS[1])], reference(TEXTS[1:]), atol=1e-4)


def test_the_inference_client_of_hugging_face_extracts_features(service: str, reference: Reference) -> None:
    client = InferenceClient(base_url=service)
    features = client.feature_extraction(TEXTS[0], normalize=True, truncate=True, truncation_direction="left")
    np.testing.assert_allclose(features, reference(TEXTS[:1]), atol=1e-4)
