"""A Qwen2 of 0.9 million random weights with a tokenizer trained here: small enough to make anew for each test run.

It talks nonsense, the same nonsense every time, through the code that a real Qwen2.5-Coder runs through. It is written
without transformers: the names of the tensors and of the configuration's fields are the published ones.
Source: https://huggingface.co/Qwen/Qwen2.5-Coder-7B-Instruct/tree/main for both.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SEED = 20
HIDDEN = 64  # in heads of 32, the smallest that vLLM's attention on a CPU takes
HEADS = 2
KEY_VALUE_HEADS = 1
LAYERS = 24  # deep and narrow: some 200 tokens a second, slow enough for a client to leave in the middle
INTERMEDIATE = 128
VOCABULARY = 512  # 256 bytes, so that any text has tokens, three marks and a few merges
POSITIONS = 512

END, TURN, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if preamble %}{{ preamble }}{% endif %}"  # what chat_template_kwargs can reach
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

# Enough to merge the commonest pairs of English and of Python.
_CORPUS = [
    "def rank(hits: list[Hit], limit: int = 10) -> list[Hit]:\n    return sorted(hits, key=score)[:limit]\n",
    "for path in sorted(root.rglob('*.py')):\n    print(path.name, path.stat().st_size)\n",
    "The lock is taken before the file is read, and released after the last write.\n",
    "Where does the program start? It starts in the function main, which reads its arguments.\n",
    "class Chunk:\n    def __init__(self, text: str) -> None:\n        self.text = text\n",
]


def write_tiny_qwen2(folder: Path) -> None:
    """Fill `folder`, which must exist, with what `vllm serve folder` needs. The same bytes at every call."""
    tokenizer = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    end = tokenizer.token_to_id(TURN_END)
    for name, content in {
        "config.json": _config(end),
        "generation_config.json": {"eos_token_id": end},
        "tokenizer_config.json": _tokenizer_config(),
    }.items():
        (folder / name).write_text(json.dumps(content, indent=1))
    save_file(_weights(), folder / "model.safetensors", metadata={"format": "pt"})


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END, TURN, TURN_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer


def _tokenizer_config() -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None,
        "eos_token": TURN_END,
        "pad_token": END,
        "clean_up_tokenization_spaces": False,
        "model_max_length": POSITIONS,
        "chat_template": CHAT_TEMPLATE,
    }


def _config(end: int | None) -> dict[str, object]:
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_VALUE_HEADS,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": POSITIONS,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000.0,
        "tie_word_embeddings": False,
        "use_sliding_window": False,
        "bos_token_id": None,
        "eos_token_id": end,
        "torch_dtype": "float32",
    }


def _weights() -> dict[str, np.ndarray]:
    random = np.random.default_rng(SEED)

    def normal(*shape: int) -> np.ndarray:
        return random.normal(0, 0.3, shape).astype(np.float32)  # 0.3: wide enough that the next token varies

    ones = np.ones(HIDDEN, np.float32)
    key_value = KEY_VALUE_HEADS * HIDDEN // HEADS
    tensors = {
        "model.embed_tokens.weight": normal(VOCABULARY, HIDDEN),
        "model.norm.weight": ones,
        "lm_head.weight": normal(VOCABULARY, HIDDEN),
    }
    for layer in range(LAYERS):
        block = {
            "input_layernorm.weight": ones,
            "post_attention_layernorm.weight": ones,
            "self_attn.q_proj.weight": normal(HIDDEN, HIDDEN),
            "self_attn.q_proj.bias": normal(HIDDEN),
            "self_attn.k_proj.weight": normal(key_value, HIDDEN),
            "self_attn.k_proj.bias": normal(key_value),
            "self_attn.v_proj.weight": normal(key_value, HIDDEN),
            "self_attn.v_proj.bias": normal(key_value),
            "self_attn.o_proj.weight": normal(HIDDEN, HIDDEN),
            "mlp.gate_proj.weight": normal(INTERMEDIATE, HIDDEN),
            "mlp.up_proj.weight": normal(INTERMEDIATE, HIDDEN),
            "mlp.down_proj.weight": normal(HIDDEN, INTERMEDIATE),
        }
        tensors |= {f"model.layers.{layer}.{name}": tensor for name, tensor in block.items()}
    return tensors
