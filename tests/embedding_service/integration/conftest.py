"""Small models of each kind that TEI's routes are for, each served on a real port, and what they are held to."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from embedding_service.backends.load import LoadedModel
from embedding_service.main import create_app
from tests.embedding_service.conftest import MakeSettings, wait_until_ready
from tests.embedding_service.made_models import BERT, save
from tests.support.live import live

Serve = Callable[..., httpx.Client]

QUERY = "where is the lock taken?"
TEXTS = ["def acquire(self): self._lock.acquire()", "x", "return the number of open connections " * 20, "x"]


@pytest.fixture(scope="session")
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
