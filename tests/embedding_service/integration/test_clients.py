"""The clients that people have for text-embeddings-inference, unmodified, against the live service.

Those of `openai` and of Hugging Face's hub for /v1/embeddings and /embed are in test_openai_routes.py.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import Callable, Iterator

import httpx
import numpy as np
import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from numpy.typing import NDArray
from openai import OpenAI

from embedding_service.backends.load import LoadedModel
from embedding_service.main import create_app
from rag_app.clients.reranking import Reranker
from rag_app.core.settings import RagSettings
from tests.embedding_service.conftest import MakeSettings, wait_until_ready
from tests.embedding_service.made_models import BERT, save
from tests.support.live import live

Reference = Callable[[list[str]], NDArray[np.float32]]

TEXTS = ["def close(self): ...", "where is the lock taken?"]


def test_the_llama_index_client_for_openai_like_servers_embeds_text_and_query(
    service: str, reference: Reference
) -> None:
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding

    client = OpenAILikeEmbedding(model_name="any", api_base=f"{service}/v1", api_key="none", max_retries=0)
    np.testing.assert_allclose(client.get_text_embedding_batch(TEXTS), reference(TEXTS), atol=1e-4)
    np.testing.assert_allclose([client.get_query_embedding(TEXTS[1])], reference(TEXTS[1:]), atol=1e-4)
    short = OpenAILikeEmbedding(model_name="any", api_base=f"{service}/v1", api_key="none", dimensions=8)
    assert len(short.get_text_embedding(TEXTS[0])) == 8


async def test_the_llama_index_client_for_openai_like_servers_embeds_asynchronously(
    service: str, reference: Reference
) -> None:
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding

    client = OpenAILikeEmbedding(model_name="any", api_base=f"{service}/v1", api_key="none", max_retries=0)
    np.testing.assert_allclose(await client.aget_text_embedding_batch(TEXTS), reference(TEXTS), atol=1e-4)


def test_the_inference_client_compares_sentences(service: str, reference: Reference) -> None:
    found = InferenceClient().sentence_similarity(TEXTS[0], other_sentences=TEXTS, model=f"{service}/similarity")
    vectors = reference(TEXTS)
    np.testing.assert_allclose(found, vectors @ vectors[0], atol=1e-4)


def test_the_inference_client_compares_sentences_at_the_root_where_task_says_so(
    make_settings: MakeSettings, onnx_model: LoadedModel, reference: Reference
) -> None:
    with live(create_app(make_settings(task="sentence-similarity"))) as url:
        wait_until_ready(url)
        found = InferenceClient(base_url=url).sentence_similarity(TEXTS[0], other_sentences=TEXTS)
    vectors = reference(TEXTS)
    np.testing.assert_allclose(found, vectors @ vectors[0], atol=1e-4)


async def test_the_asynchronous_inference_client_extracts_features(service: str, reference: Reference) -> None:
    client = AsyncInferenceClient(model=f"{service}/embed")
    features = await client.feature_extraction(TEXTS[0], normalize=True)
    np.testing.assert_allclose(features, reference(TEXTS[:1]), atol=1e-4)


def test_the_inference_client_shows_the_failure(service: str) -> None:
    with pytest.raises(HfHubHTTPError, match="424"):
        InferenceClient().text_classification("I like you.", model=f"{service}/predict")


@pytest.fixture(scope="module")
def classifier_url(
    make_settings: MakeSettings, onnx_model: LoadedModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(**BERT, num_labels=1)
    folder = save(tmp_path_factory.mktemp("one"), onnx_model.spec.folder, BertForSequenceClassification(config))
    settings = make_settings(embedding_model=str(folder))
    with live(create_app(settings)) as url:
        wait_until_ready(url)
        yield url


def test_the_inference_client_classifies_text(classifier_url: str) -> None:
    best = InferenceClient().text_classification("I like you.", model=f"{classifier_url}/predict")
    (expected,) = httpx.post(f"{classifier_url}/predict", json={"inputs": "I like you."}).json()
    assert (best.label, best.score) == (expected["label"], pytest.approx(expected["score"], abs=1e-6))


def test_the_reranker_of_llama_index_orders_nodes(classifier_url: str) -> None:
    from llama_index.core.schema import NodeWithScore, TextNode
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

    nodes = [NodeWithScore(node=TextNode(text=text), score=0.5) for text in (*TEXTS, "x", "with lock: " * 9)]
    ranker = TextEmbeddingInference(base_url=classifier_url, top_n=3, truncate_text=True)
    found = ranker.postprocess_nodes(nodes, query_str="where is the lock taken?")
    texts = [node.node.get_content() for node in nodes]
    ranks = httpx.post(f"{classifier_url}/rerank", json={"query": "where is the lock taken?", "texts": texts}).json()
    assert [node.node.get_content() for node in found] == [texts[rank["index"]] for rank in ranks[:3]]
    assert [node.score for node in found] == pytest.approx([rank["score"] for rank in ranks[:3]], abs=1e-5)


def test_the_search_of_this_product_reads_its_scores(classifier_url: str) -> None:
    texts = [*TEXTS, "x", "with lock: " * 9]

    async def read() -> list[float]:
        reranker = Reranker(RagSettings(_env_file=None, rerank_url=classifier_url))
        scores = await reranker.scores("where is the lock taken?", texts)
        await reranker.close()
        return scores

    scores = asyncio.run(read())
    body = {"query": "where is the lock taken?", "texts": texts, "truncate": True}
    ranks = httpx.post(f"{classifier_url}/rerank", json=body).json()
    assert scores == pytest.approx([rank["score"] for rank in sorted(ranks, key=lambda rank: rank["index"])], abs=1e-5)


def test_the_python_examples_of_the_documentation_of_tei_run_as_they_are(service: str, reference: Reference) -> None:
    """docs/source/en/quick_tour.md of TEI 1.9, with its address changed and nothing else."""
    client = InferenceClient()
    embedding = client.feature_extraction("What is deep learning?", model=f"{service}/embed")
    assert len(embedding[0]) == 384
    openai = OpenAI(base_url=f"{service}/v1", api_key="-")
    response = openai.embeddings.create(
        model="text-embeddings-inference",
        input="What is Deep Learning?",
    )
    np.testing.assert_allclose([response.data[0].embedding], reference(["What is Deep Learning?"]), atol=1e-4)


_LANGCHAIN = """
import asyncio, json, sys
from langchain_huggingface import HuggingFaceEndpointEmbeddings
client = HuggingFaceEndpointEmbeddings(model=sys.argv[1])
texts = json.loads(sys.argv[2])
print(json.dumps([
    client.embed_documents(texts), [client.embed_query(texts[0])], asyncio.run(client.aembed_documents(texts))
]))
"""


@pytest.mark.skipif(
    "LANGCHAIN_PYTHON" not in os.environ,
    reason="langchain-huggingface wants huggingface-hub<2 and this environment has 2.x; make test has one for it",
)
def test_the_endpoint_embeddings_of_langchain_embed_documents_and_queries(service: str, reference: Reference) -> None:
    done = subprocess.run(
        [os.environ["LANGCHAIN_PYTHON"], "-c", _LANGCHAIN, service, json.dumps(TEXTS)],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    documents, query, asynchronous = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(documents, reference(TEXTS), atol=1e-4)
    np.testing.assert_allclose(query, reference(TEXTS[:1]), atol=1e-4)
    np.testing.assert_allclose(asynchronous, reference(TEXTS), atol=1e-4)
