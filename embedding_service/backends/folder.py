"""Reads what a folder says of its model: a SentenceTransformers one, a classifier, a cross-encoder or a SPLADE.

No model library is imported for it.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embedding_service.backends.base import ModelError
from embedding_service.backends.resolve import ModelFolder, file_sha256
from embedding_service.core.model import Kind, ModelSpec

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")

# RoBERTa numbers positions from the padding's id + 1, so that so many rows of its table hold no position.
_POSITIONS_FROM_PAD = {"roberta", "xlm-roberta", "camembert"}

# Pooling flags of older folders, by the word that newer ones (and TEI) use.
_POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def read_spec(model: ModelFolder, pooling: str = "") -> ModelSpec:
    """The specification of the model in a folder. Fails with ModelError where the folder holds no such model.

    pooling: "splade" makes a SPLADE of a masked language model whose folder does not say so (TEI's --pooling).
    """
    folder = model.folder
    config = _read(folder / "config.json")
    modules = _modules(folder)
    sentence = _read(folder / "sentence_bert_config.json", optional=True)
    prompts = _read(folder / "config_sentence_transformers.json", optional=True)
    named = {str(name): str(text) for name, text in (prompts.get("prompts") or {}).items()}
    kind = _kind(config, modules, pooling)
    if kind == "splade" and modules[-1][0] != "SpladePooling":
        modules = [("Transformer", ""), ("SpladePooling", "")]
    id2label = _id2label(config) if kind in {"classifier", "reranker"} else {}
    return ModelSpec(
        name=model.name,
        folder=folder,
        revision=model.revision,
        max_tokens=_window(sentence, _read(folder / "tokenizer_config.json", optional=True), config),
        pooling=_pooling(folder, modules) if kind in {"embedding", "splade"} else "",
        modules=tuple(kind for kind, _ in modules),
        config=config,
        digest=_digest(folder),
        lower_case=bool(sentence.get("do_lower_case")),
        prompts=named,
        default_prompt=named.get(prompts.get("default_prompt_name") or ""),
        kind=kind,
        id2label=id2label,
        label2id={label: int(id_) for id_, label in id2label.items()},
    )


def _read(path: Path, *, optional: bool = False) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as exc:
        if optional:
            return {}
        raise ModelError(f"{path.parent} holds no {path.name}: not a SentenceTransformers model") from exc
    except ValueError as exc:
        raise ModelError(f"{path} is not JSON") from exc


def _modules(folder: Path) -> list[tuple[str, str]]:
    """(class name, sub-folder) of each module, in order; SentenceTransformers' default where the folder is silent."""
    listed = _read(folder / "modules.json", optional=True)
    if not listed:
        return [("Transformer", ""), ("Pooling", "")]
    return [(str(module["type"]).rsplit(".", 1)[-1], str(module["path"])) for module in listed]


def _kind(config: Mapping[str, Any], modules: list[tuple[str, str]], pooling: str) -> Kind:
    """TEI's rule: by the architecture; a classifier with one label is a reranker."""
    architectures = [str(name) for name in config.get("architectures") or []]
    if any(name.endswith("ForSequenceClassification") for name in architectures):
        return "reranker" if len(_id2label(config)) == 1 else "classifier"
    if modules[-1][0] == "SpladePooling":
        return "splade"
    if pooling != "splade":
        return "embedding"
    if not any(name.endswith("MaskedLM") for name in architectures):
        raise ModelError(f"POOLING is splade, but the model is {', '.join(architectures) or 'unknown'}, no ForMaskedLM")
    return "splade"


def _id2label(config: Mapping[str, Any]) -> dict[str, str]:
    # transformers leaves out of config.json what is its default: two labels.
    found = config.get("id2label") or {str(number): f"LABEL_{number}" for number in range(2)}
    return {str(id_): str(label) for id_, label in found.items()}


def _pooling(folder: Path, modules: list[tuple[str, str]]) -> str:
    for kind, path in modules:
        if kind == "SpladePooling":
            return _splade(_read(folder / path / "config.json") if path else {})
        if kind != "Pooling":
            continue
        if not path:
            return "mean"
        config = _read(folder / path / "config.json")
        if isinstance(config.get("pooling_mode"), str):
            return str(config["pooling_mode"])
        return "+".join(word for flag, word in _POOLING_FLAGS.items() if config.get(flag))
    return ""


def _splade(config: Mapping[str, Any]) -> str:
    """ "splade" for max(log(1 + relu)), which is the only one that TEI knows; others with their differences named."""
    strategy = config.get("pooling_strategy", "max")
    activation = config.get("activation_function", "relu")
    return "splade" if (strategy, activation) == ("max", "relu") else f"splade_{strategy}_{activation}"


def _window(sentence: Mapping[str, Any], tokenizer: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    """As SentenceTransformers: its own setting, else the smaller of the tokenizer's and of the position table."""
    if sentence.get("max_seq_length"):
        return int(sentence["max_seq_length"])
    positions = config.get("max_position_embeddings")
    if positions and config.get("model_type") in _POSITIONS_FROM_PAD:
        positions -= int(config.get("pad_token_id") or 0) + 1
    limits = [tokenizer.get("model_max_length"), positions]
    known = [int(limit) for limit in limits if limit]
    if not known:
        raise ModelError("the model states no window: put max_seq_length into its sentence_bert_config.json")
    return min(known)


def _digest(folder: Path) -> str:
    weights = sorted(path for pattern in _WEIGHTS for path in folder.rglob(pattern))
    if not weights:
        raise ModelError(f"{folder} holds no weights (model.safetensors or pytorch_model.bin)")
    whole = hashlib.sha256()
    for path in [*weights, folder / "tokenizer.json"]:
        whole.update(f"{path.relative_to(folder).as_posix()}\0{file_sha256(path) if path.exists() else ''}\n".encode())
    return whole.hexdigest()
