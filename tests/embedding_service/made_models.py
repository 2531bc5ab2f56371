"""Models made on the spot, with random weights so large that a wrong wiring cannot hide behind tiny ones."""

import shutil
from pathlib import Path
from typing import Any

BERT: dict[str, Any] = {
    "vocab_size": 30522,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "max_position_embeddings": 64,
}


def save(folder: Path, tokenizer_from: Path, model: Any, *, std: float = 0.3) -> Path:
    """A bare transformers folder of this model, its weights drawn anew, with the default model's tokenizer."""
    import torch

    torch.manual_seed(7)
    for name, parameter in model.named_parameters():
        # A norm's scale stays around 1: around 0 it would wipe out what the layers before it say of the text.
        torch.nn.init.normal_(parameter, mean=float(name.endswith("LayerNorm.weight")), std=std)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer_from / name, folder)
    return folder
