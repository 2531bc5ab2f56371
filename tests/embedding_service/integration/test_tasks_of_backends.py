"""What a model gives beside a vector a text: token vectors, sparse weights, logits; by onnx and by torch, as the
libraries themselves give them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embedding_service.backends.base import BackendFailed, Batch, ModelError, UnsupportedModel
from embedding_service.backends.load import LoadedModel, load_model
from tests.embedding_service.conftest import MakeSettings
from tests.embedding_service.made_models import BERT, save

TOLERANCE = 1e-4  # a component, as stated; what is seen is under 1e-5 where weights are of a trained model's size
BACKENDS = ["onnx", "sentence_transformers"]

TEXTS = ["def close(self): ...", "x", "return the number of open connections in the pool " * 8]
PAIRS = [
    ("where is the lock taken?", "def acquire(self): self._lock.acquire()"),
    ("where is the lock taken? " * 9, "with lock:"),
    ("x", "with lock: " * 60),
    ("both are long " * 30, "so that both are cut " * 30),
    ("", "nothing is asked"),
]


@dataclass
class Folders:
    """Makes folders of models; each test asks for the one that it needs."""

    root: Path
    tokenizer: Path

    def classifier(self, labels: int) -> Path:
        from transformers import BertConfig, BertForSequenceClassification

        model = BertForSequenceClassification(BertConfig(**BERT, num_labels=labels))
        return save(self.root / f"classifier{labels}", self.tokenizer, model)

    def masked(self, **fields: Any) -> Path:
        from transformers import BertConfig, BertForMaskedLM

        return save(self.root / "masked", self.tokenizer, BertForMaskedLM(BertConfig(**BERT, **fields)))

    def splade(self, strategy: str = "max", **fields: Any) -> Path:
        from sentence_transformers import SparseEncoder
        from sentence_transformers.base.modules import Transformer
        from sentence_transformers.sparse_encoder.modules import SpladePooling

        transformer = Transformer(str(self.masked(**fields)), transformer_task="fill-mask")
        folder = self.root / f"splade_{strategy}"
        SparseEncoder(modules=[transformer, SpladePooling(strategy)]).save(str(folder))
        return folder


@pytest.fixture
def folders(tmp_path: Path, onnx_model: LoadedModel) -> Folders:
    return Folders(tmp_path, onnx_model.spec.folder)


@pytest.fixture
def load(make_settings: MakeSettings) -> Callable[..., LoadedModel]:
    def load(folder: Path, backend: str = "auto", **fields: Any) -> LoadedModel:
        return load_model(make_settings(embedding_model=str(folder), embedding_backend=backend, **fields))

    return load


def logits(folder: Path, texts: list[Any], direction: str = "right") -> NDArray[np.float32]:
    """transformers' own, each text alone, so that padding has no say."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, truncation_side=direction)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    rows = []
    for text in texts:
        pair = [text] if isinstance(text, str) else list(text)
        encoded = tokenizer(*pair, truncation="longest_first", max_length=64, return_tensors="pt")
        with torch.inference_mode():
            rows.append(model(**encoded).logits[0].numpy())
    return np.array(rows, np.float32)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("direction", ["right", "left"])
def test_a_classifier_gives_the_logits_of_transformers_for_texts_and_pairs(
    folders: Folders, load: Callable[..., LoadedModel], backend: str, direction: Any
) -> None:
    folder = folders.classifier(3)
    loaded = load(folder, backend)
    assert (loaded.backend.name, loaded.spec.kind, loaded.backend.dim) == (backend, "classifier", 3)
    assert loaded.backend.tasks == {"predict"}
    batch = loaded.tokenizer.encode_pairs([*([text] for text in TEXTS), *PAIRS], direction)
    found = loaded.backend.run("predict", batch)
    np.testing.assert_allclose(found, logits(folder, [*TEXTS, *PAIRS], direction), atol=TOLERANCE)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_cross_encoder_gives_the_scores_of_sentence_transformers(
    folders: Folders, load: Callable[..., LoadedModel], backend: str
) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    folder = folders.root / "saved"
    CrossEncoder(str(folders.classifier(1)), device="cpu").save(str(folder))
    loaded = load(folder, backend)
    assert (loaded.spec.kind, loaded.spec.id2label, loaded.spec.label2id) == (
        "reranker",
        {"0": "LABEL_0"},
        {"LABEL_0": 0},
    )
    found = loaded.backend.run("predict", loaded.tokenizer.encode_pairs(PAIRS, "right"))
    model = CrossEncoder(str(folder), device="cpu")
    scores = model.predict(PAIRS)  # after its sigmoid
    assert np.ptp(scores) > 0.1  # else nothing is compared
    np.testing.assert_allclose(1 / (1 + np.exp(-found[:, 0])), scores, atol=TOLERANCE)
    raw = model.predict(PAIRS, activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(found[:, 0], raw, atol=TOLERANCE)


def test_a_classifier_of_two_labels_has_the_names_that_transformers_leaves_out(
    folders: Folders, load: Callable[..., LoadedModel]
) -> None:
    spec = load(folders.classifier(2)).spec
    assert "id2label" not in spec.config
    assert (spec.kind, spec.id2label) == ("classifier", {"0": "LABEL_0", "1": "LABEL_1"})


def test_a_classifier_that_is_no_bert_is_run_by_torch(folders: Folders, load: Callable[..., LoadedModel]) -> None:
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    config = DistilBertConfig(vocab_size=30522, dim=48, n_layers=2, n_heads=4, hidden_dim=96, num_labels=4)
    folder = save(folders.root / "distil", folders.tokenizer, DistilBertForSequenceClassification(config))
    loaded = load(folder)
    assert loaded.backend.name == "sentence_transformers"
    texts = [*TEXTS[:2], PAIRS[0]]
    pairs = [[text] if isinstance(text, str) else text for text in texts]
    found = loaded.backend.run("predict", loaded.tokenizer.encode_pairs(pairs, "right"))
    np.testing.assert_allclose(found, logits(folder, texts), atol=TOLERANCE)
    with pytest.raises(UnsupportedModel, match="not a BertModel"):
        load(folder, "onnx")


def test_the_window_of_a_roberta_leaves_out_the_rows_before_its_first_position(
    folders: Folders, load: Callable[..., LoadedModel]
) -> None:
    from transformers import RobertaConfig, RobertaForSequenceClassification

    config = RobertaConfig(**BERT, pad_token_id=1, type_vocab_size=1, num_labels=1)
    folder = save(folders.root / "roberta", folders.tokenizer, RobertaForSequenceClassification(config))
    loaded = load(folder)
    assert (loaded.spec.kind, loaded.spec.max_tokens) == ("reranker", 62)
    # A whole window, and a pair: it knows one token type only, and must not be given another.
    found = loaded.backend.run("predict", loaded.tokenizer.encode_pairs([["word " * 100], ["a", "b"]], "right"))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_over_the_position_table_is_a_failure_of_the_classifier(
    folders: Folders, load: Callable[..., LoadedModel], backend: str
) -> None:
    loaded = load(folders.classifier(3), backend)
    with pytest.raises(BackendFailed, match="1 texts"):
        loaded.backend.run("predict", Batch([[101] * 600]))


@pytest.mark.parametrize("fields", [{}, {"tie_word_embeddings": False}], ids=["tied", "own decoder"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_splade_gives_the_weights_of_sparse_encoder(
    folders: Folders, load: Callable[..., LoadedModel], backend: str, fields: dict[str, Any]
) -> None:
    from sentence_transformers import SparseEncoder

    folder = folders.splade(**fields)
    loaded = load(folder, backend)
    assert (loaded.backend.name, loaded.spec.kind, loaded.spec.pooling) == (backend, "splade", "splade")
    assert (loaded.backend.tasks, loaded.backend.dim) == ({"embed_sparse"}, 30522)
    found = loaded.backend.run("embed_sparse", Batch(loaded.tokenizer.encode(TEXTS, "right")))
    expected = SparseEncoder(str(folder), device="cpu").encode(TEXTS, convert_to_sparse_tensor=False)
    assert 0.01 < (found > 0).mean() < 0.99  # some are zero and some are not, else nothing is compared
    np.testing.assert_allclose(found, np.asarray(expected), atol=TOLERANCE)


def test_a_splade_that_sums_is_left_to_torch(folders: Folders, load: Callable[..., LoadedModel]) -> None:
    from sentence_transformers import SparseEncoder

    folder = folders.splade("sum")
    loaded = load(folder)
    assert (loaded.backend.name, loaded.spec.pooling) == ("sentence_transformers", "splade_sum_relu")
    found = loaded.backend.run("embed_sparse", Batch(loaded.tokenizer.encode(TEXTS, "right")))
    expected = SparseEncoder(str(folder), device="cpu").encode(TEXTS, convert_to_sparse_tensor=False)
    np.testing.assert_allclose(found, np.asarray(expected), rtol=1e-5, atol=TOLERANCE)


@pytest.mark.parametrize("backend", BACKENDS)
def test_pooling_splade_makes_a_splade_of_a_masked_language_model(
    folders: Folders, load: Callable[..., LoadedModel], backend: str
) -> None:
    folder = folders.masked()
    assert load(folder, backend).spec.kind == "embedding"
    loaded = load(folder, backend, pooling="splade")
    by_folder = load(folders.splade(), backend)
    batch = Batch(loaded.tokenizer.encode(TEXTS, "right"))
    rows = [model.backend.run("embed_sparse", batch) for model in (loaded, by_folder)]
    np.testing.assert_allclose(*rows, atol=TOLERANCE)


def test_pooling_splade_is_refused_for_another_model(folders: Folders, load: Callable[..., LoadedModel]) -> None:
    with pytest.raises(ModelError, match="POOLING is splade, but the model is BertModel"):
        load(folders.tokenizer, pooling="splade")


def test_token_vectors_are_those_of_encode_one_text_after_the_other(loaded: LoadedModel) -> None:
    from sentence_transformers import SentenceTransformer

    ids = loaded.tokenizer.encode(TEXTS, "right")
    found = loaded.backend.run("embed_all", Batch(ids))
    model = SentenceTransformer(str(loaded.spec.folder), device="cpu")
    expected = [tokens.numpy() for tokens in model.encode(TEXTS, output_value="token_embeddings")]
    assert [len(tokens) for tokens in expected] == [len(sequence) for sequence in ids]
    np.testing.assert_allclose(found, np.concatenate(expected), atol=TOLERANCE)
