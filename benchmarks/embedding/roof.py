"""The roof: what a core gives in a float32 matrix product, and what the model's forward pass needs of it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# In a process of its own, so that thread counts and kernels are its own. Each library's best of several, in GFLOP per
# CPU-second of one thread.
_PROBE = """
import json, time
def rate(multiply, a, b, n, seconds):
    multiply(a, b)
    best, end = 0.0, time.perf_counter() + seconds
    while not best or time.perf_counter() < end:
        cpu = time.process_time()
        for _ in range(3): multiply(a, b)
        best = max(best, 3 * 2 * n**3 / (time.process_time() - cpu) / 1e9)
    return best
n, found = 1024, {}
import numpy
a = numpy.random.default_rng(0).random((n, n), numpy.float32)
found["numpy"] = rate(numpy.matmul, a, a.T.copy(), n, SECONDS)
try:
    import torch
    torch.set_num_threads(1)
    b = torch.from_numpy(a)
    found["torch"] = rate(torch.matmul, b, b.T.contiguous(), n, SECONDS)
except ImportError:
    pass
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Encoder:
    """The sizes of a BERT-like encoder, as config.json has them."""

    hidden: int
    intermediate: int
    layers: int

    @classmethod
    def of(cls, model: Path) -> "Encoder":
        """Read a model folder's config.json."""
        config = json.loads((model / "config.json").read_text())
        return cls(config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"])

    def flop_per_token(self, length: float) -> float:
        """Floating-point operations of the forward pass for one token of a text of `length` tokens, without padding.

        A layer: 2 x 4 hidden^2 for query, key, value and output, 2 x 2 hidden x intermediate for the two products of
        the feed-forward, 2 x 2 length x hidden for scores and their sum over values. A multiply-add counts as two;
        softmax, norms, activations, embeddings and pooling, about 1 %, are not counted.
        """
        dense = 8 * self.hidden**2 + 4 * self.hidden * self.intermediate
        return self.layers * (dense + 4 * length * self.hidden)


def measure_roof(seconds: float = 1.0) -> dict[str, float]:
    """GFLOP per CPU-second by library (numpy, and torch where it is installed), all cores busy with one thread each.

    All at once, since cores that share units or a power budget are slower together, and a server uses them together.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OPENBLAS_", "OMP_", "MKL_"))}
    one = {**clean, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _PROBE.replace("SECONDS", str(seconds))]
    probes = [subprocess.Popen(command, env=one, stdout=subprocess.PIPE, text=True) for _ in range(os.cpu_count() or 1)]
    found = [json.loads(probe.communicate(timeout=60 + 10 * seconds)[0]) for probe in probes]
    return {name: round(sum(rates[name] for rates in found) / len(found), 1) for name in found[0]}
