"""The backend for every SentenceTransformers model, by the library itself. Needs the torch extra."""

from typing import TYPE_CHECKING, Any

from embedding_service.backends.base import BackendFailed, Batch, ModelError, Task, Vectors, pad
from embedding_service.core.model import ModelSpec

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class SentenceTransformersBackend:
    """Runs the model's own modules, all but a closing Normalize: vectors leave a backend as they are pooled."""

    name = "sentence_transformers"
    tasks: frozenset[Task] = frozenset({"embed"})

    def __init__(self, spec: ModelSpec, model: "SentenceTransformer"):
        """model: loaded, in evaluation mode."""
        self._spec = spec
        self._modules: list[Any] = [module for module in model if type(module).__name__ != "Normalize"]
        self._device = model.device
        self.dim = int(model.get_embedding_dimension() or 0)

    def run(self, task: Task, batch: Batch) -> Vectors:
        """Rows of float32; see Backend.run."""
        import torch

        ids, lengths = pad(batch.ids, self._spec.pad_id)
        mask = torch.arange(ids.shape[1])[None, :] < torch.from_numpy(lengths)[:, None]
        # No token types: MPNet and RoBERTa know none, and BERT's default is the zeros that one text has.
        features: dict[str, Any] = {
            "input_ids": torch.from_numpy(ids).to(self._device),
            "attention_mask": mask.long().to(self._device),
        }
        try:
            with torch.inference_mode():
                for module in self._modules:
                    features = module(features)
                vectors: Vectors = features["sentence_embedding"].float().cpu().numpy()
        except RuntimeError as exc:
            raise BackendFailed(f"sentence_transformers failed on {len(batch.ids)} texts: {exc}") from exc
        return vectors


def load_sentence_transformers(spec: ModelSpec) -> SentenceTransformersBackend:
    """Load the model of `spec`. Fails with ModelError, which names the extra to install."""
    try:
        import torch
        from sentence_transformers import SentenceTransformer
    except ImportError as exc:
        raise ModelError(
            f"model {spec.name!r} needs sentence_transformers and torch, which are not installed; run: make setup-torch"
        ) from exc
    torch.set_num_threads(1)  # of each thread that asks; see onnx_runtime
    try:
        model = SentenceTransformer(str(spec.folder), local_files_only=True)
    except Exception as exc:  # transformers, safetensors and torch each raise their own
        raise ModelError(f"sentence_transformers cannot load {spec.folder}: {exc}") from exc
    # Half-precision weights would be run as such: float32 is what an identity promises.
    return SentenceTransformersBackend(spec, model.float().eval())
