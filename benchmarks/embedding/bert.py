"""A BERT encoder in plain torch, run padded or packed: the model of the GPU benchmark, whose variants differ in how."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

# (tokens, heads, head size) for query, key and value, and the sequences' ends -> (tokens, heads, head size)
PackedAttention = Callable[[Tensor, Tensor, Tensor, "Packed"], Tensor]


@dataclass(frozen=True, slots=True)
class Sizes:
    """As in config.json. eps: of the layer norms."""

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    positions: int = 512
    eps: float = 1e-12

    @classmethod
    def of(cls, model: Path) -> "Sizes":
        """Read a model folder's config.json."""
        config = json.loads((model / "config.json").read_text())
        return cls(
            config["vocab_size"],
            config["hidden_size"],
            config["intermediate_size"],
            config["num_hidden_layers"],
            config["num_attention_heads"],
            config["max_position_embeddings"],
            config["layer_norm_eps"],
        )


# BAAI/bge-large-en's sizes. Its weights cannot be had everywhere, and a matrix product takes as long with random ones.
LARGE = Sizes(vocabulary=30522, hidden=1024, intermediate=4096, layers=24, heads=16)


@dataclass(frozen=True, slots=True)
class Padded:
    """n sequences as rows: ids (n, longest) int64, mask (n, longest) bool, True where a token is."""

    ids: Tensor
    mask: Tensor


@dataclass(frozen=True, slots=True)
class Packed:
    """n sequences one after the other, without padding.

    ids (tokens,) int64; positions (tokens,) int64, from 0 in each sequence; sequence (tokens,) int64, which one a token
    belongs to; ends (n + 1,) int32, where each begins and the last one ends; longest: tokens of the longest.
    """

    ids: Tensor
    positions: Tensor
    sequence: Tensor
    ends: Tensor
    longest: int


class Layer(nn.Module):
    """One layer, over any number of leading dimensions; attention is an argument."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.heads = sizes.heads
        self.qkv = nn.Linear(sizes.hidden, 3 * sizes.hidden)
        self.out = nn.Linear(sizes.hidden, sizes.hidden)
        self.norm_attention = nn.LayerNorm(sizes.hidden, sizes.eps)
        self.up = nn.Linear(sizes.hidden, sizes.intermediate)
        self.down = nn.Linear(sizes.intermediate, sizes.hidden)
        self.norm_output = nn.LayerNorm(sizes.hidden, sizes.eps)

    def forward(self, states: Tensor, attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """states (..., hidden) -> the same shape. attend: over (..., heads, head size)."""
        query, key, value = self.qkv(states).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        attended = self.out(attend(query, key, value).flatten(-2))
        states = self.norm_attention(states + attended)
        fed: Tensor = self.norm_output(states + self.down(functional.gelu(self.up(states))))
        return fed


class Bert(nn.Module):
    """Token ids in, unit vectors by mean pooling out, as all-MiniLM-L6-v2 has it."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.words = nn.Embedding(sizes.vocabulary, sizes.hidden)
        self.positions = nn.Embedding(sizes.positions, sizes.hidden)
        self.types = nn.Embedding(2, sizes.hidden)
        self.norm = nn.LayerNorm(sizes.hidden, sizes.eps)
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))

    def padded(self, batch: Padded) -> Tensor:
        """(n, hidden), in the dtype of the weights."""
        positions = torch.arange(batch.ids.shape[1], device=batch.ids.device)
        states = self._embed(batch.ids, positions)  # (n, longest, hidden)
        mask = batch.mask[:, None, None, :]

        def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            q, k, v = (part.transpose(1, 2) for part in (query, key, value))  # (n, heads, longest, head size)
            return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)

        for layer in self.layers:
            states = layer(states, attend)
        kept = batch.mask[:, :, None]
        return functional.normalize((states * kept).sum(1).float() / kept.sum(1), dim=1).to(states.dtype)

    def packed(self, batch: Packed, attention: PackedAttention) -> Tensor:
        """(n, hidden), in the dtype of the weights."""
        states = self._embed(batch.ids, batch.positions)  # (tokens, hidden)
        for layer in self.layers:
            states = layer(states, lambda query, key, value: attention(query, key, value, batch))
        n = batch.ends.shape[0] - 1
        sums = torch.zeros(n, states.shape[1], dtype=torch.float32, device=states.device)
        sums = sums.index_add(0, batch.sequence, states.float())
        return functional.normalize(sums / batch.ends.diff()[:, None], dim=1).to(states.dtype)

    def _embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        embedded: Tensor = self.norm(self.words(ids) + self.positions(positions) + self.types.weight[0])
        return embedded


def read_bert(model: Path) -> Bert:
    """The model of a folder with config.json and model.safetensors, float32, on the CPU."""
    bert, weights = Bert(Sizes.of(model)), load_file(model / "model.safetensors")
    bert.load_state_dict(_renamed(weights, len(bert.layers)))
    return bert.eval()


def random_bert(sizes: Sizes, seed: int = 0) -> Bert:
    """A model of these sizes with random weights, float32, on the CPU."""
    torch.manual_seed(seed)
    bert = Bert(sizes)
    for name, parameter in bert.named_parameters():
        if parameter.dim() > 1 or "bias" in name:
            nn.init.normal_(parameter, std=0.02)  # as BERT is initialised; torch's own embeddings have std 1
    return bert.eval()


def _renamed(weights: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    names = {
        "words": "embeddings.word_embeddings",
        "positions": "embeddings.position_embeddings",
        "types": "embeddings.token_type_embeddings",
    }
    found = {f"{ours}.weight": weights[f"{theirs}.weight"] for ours, theirs in names.items()}
    linears = {"norm": "embeddings.LayerNorm"}
    for index in range(layers):
        source, target = f"encoder.layer.{index}", f"layers.{index}"
        linears |= {
            f"{target}.out": f"{source}.attention.output.dense",
            f"{target}.norm_attention": f"{source}.attention.output.LayerNorm",
            f"{target}.up": f"{source}.intermediate.dense",
            f"{target}.down": f"{source}.output.dense",
            f"{target}.norm_output": f"{source}.output.LayerNorm",
        }
        for kind in ("weight", "bias"):
            parts = [weights[f"{source}.attention.self.{name}.{kind}"] for name in ("query", "key", "value")]
            found[f"{target}.qkv.{kind}"] = torch.cat(parts)
    return found | {f"{a}.{kind}": weights[f"{b}.{kind}"] for a, b in linears.items() for kind in ("weight", "bias")}
