"""The backend for every SentenceTransformers model, by the library itself. Needs the torch extra."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedding_service.backends.base import (
    MAIN_TASK,
    BackendFailed,
    Batch,
    ModelError,
    Task,
    Vectors,
    pad,
    token_rows,
)
from embedding_service.core.model import ModelSpec
from embedding_service.core.settings import Dtype

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer, SparseEncoder
    from transformers import PreTrainedModel

NAME = "sentence_transformers"


class SentenceTransformersBackend:
    """Runs the model's own modules, all but a closing Normalize: vectors leave a backend as they are pooled."""

    name = NAME

    def __init__(self, spec: ModelSpec, model: "SentenceTransformer | SparseEncoder"):
        """model: loaded, in evaluation mode."""
        self._spec = spec
        self._modules: list[Any] = [module for module in model if type(module).__name__ != "Normalize"]
        self._device = model.device
        self.device = str(model.device)
        main = MAIN_TASK[spec.kind]
        self.tasks: frozenset[Task] = frozenset({main, "embed_all"} if main == "embed" else {main})
        self.dim = spec.vocab_size if spec.kind == "splade" else int(model.get_embedding_dimension() or 0)

    def run(self, task: Task, batch: Batch) -> Vectors:
        """Rows of float32; see Backend.run."""
        import torch

        # No token types: MPNet and RoBERTa know none, and BERT's default is the zeros that one text has.
        ids, mask, lengths = _tensors(batch, self._spec.pad_id, self._device)
        features: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        # The first module is the transformer, whose token embeddings are the hidden states before any pooling.
        modules = self._modules[:1] if task == "embed_all" else self._modules
        try:
            with torch.inference_mode():
                for module in modules:
                    features = module(features)
                if task == "embed_all":
                    return token_rows(_array(features["token_embeddings"]), lengths)
                return _array(features["sentence_embedding"])
        except RuntimeError as exc:
            raise BackendFailed(f"sentence_transformers failed on {len(batch.ids)} texts: {exc}") from exc


class ClassifierBackend:
    """Runs a sequence classification model by transformers: raw logits, as a CrossEncoder has before its activation."""

    name = NAME
    tasks: frozenset[Task] = frozenset({"predict"})

    def __init__(self, spec: ModelSpec, model: "PreTrainedModel"):
        """model: loaded, in evaluation mode."""
        self._spec = spec
        self._model = model
        self.device = str(model.device)
        self._has_types = int(spec.config.get("type_vocab_size") or 0) > 1
        self.dim = len(spec.id2label)

    def run(self, task: Task, batch: Batch) -> Vectors:
        """Logits, (n, labels); see Backend.run."""
        import torch

        ids, mask, lengths = _tensors(batch, self._spec.pad_id, self._model.device)
        inputs = {"input_ids": ids, "attention_mask": mask}
        if self._has_types:
            second = lengths if batch.second is None else np.asarray(batch.second, np.int32)
            types = np.arange(ids.shape[1]) >= second[:, None]
            inputs["token_type_ids"] = torch.from_numpy(types).long().to(self._model.device) * mask
        try:
            with torch.inference_mode():
                return _array(self._model(**inputs).logits)
        except (RuntimeError, IndexError) as exc:
            raise BackendFailed(f"transformers failed on {len(batch.ids)} texts: {exc}") from exc


TorchBackend = SentenceTransformersBackend | ClassifierBackend


def load_sentence_transformers(spec: ModelSpec, dtype: Dtype = "float32") -> TorchBackend:
    """Load the model of `spec`, onto a GPU where torch sees one.

    dtype: of weights and arithmetic, whatever the file holds. Fails with ModelError, which names the extra to install.
    """
    try:
        import sentence_transformers
        import torch
        import transformers
    except ImportError as exc:
        raise ModelError(
            f"model {spec.name!r} needs sentence_transformers and torch, which are not installed; run: make setup-torch"
        ) from exc
    torch.set_num_threads(1)  # of each thread that asks; see onnx_runtime
    # cuDNN's attention, torch's first choice for half precision on Hopper, makes a plan for each new shape, and nearly
    # every batch is one: on an H200 float16 gave 231 texts/s, float32, which it does not take, 2,158.
    torch.backends.cuda.enable_cudnn_sdp(False)
    folder = str(spec.folder)
    device, precision = sentence_transformers.util.get_device_name(), getattr(torch, dtype)
    try:
        if spec.kind in {"classifier", "reranker"}:
            model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True)
            return ClassifierBackend(spec, model.to(device, precision).eval())
        encoder = (
            sentence_transformers.SparseEncoder if spec.kind == "splade" else sentence_transformers.SentenceTransformer
        )
        model = encoder(folder, device=device, local_files_only=True)
        return SentenceTransformersBackend(spec, model.to(precision).eval())
    except Exception as exc:  # transformers, safetensors and torch each raise their own
        raise ModelError(f"sentence_transformers cannot load {spec.folder}: {exc}") from exc


def _tensors(
    batch: Batch, pad_id: int, device: "torch.device"
) -> tuple["torch.Tensor", "torch.Tensor", NDArray[np.int32]]:
    """Padded ids (n, longest), their mask (n, longest), both int64 on the device, and the lengths (n,)."""
    import torch

    ids, lengths = pad(batch.ids, pad_id)
    mask = torch.from_numpy(np.arange(ids.shape[1]) < lengths[:, None])
    return torch.from_numpy(ids).to(device), mask.long().to(device), lengths


def _array(tensor: "torch.Tensor") -> Vectors:
    found: Vectors = tensor.float().cpu().numpy()
    return found
