"""`python -m benchmarks.capacity`: what an index takes, from 100 thousand chunks to a billion."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.capacity.measure import sizes
from benchmarks.capacity.page import put_in, tables
from benchmarks.capacity.parts import REAL

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scaling.md"


def main() -> None:
    """Print the tables; --write puts them into docs/scaling.md, --measure takes the parts of an index that is there."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=main.__doc__)
    options.add_argument("--write", action="store_true", help="put the tables into docs/scaling.md")
    options.add_argument("--measure", metavar="URL", help="of a Qdrant or vector_db whose collection is measured")
    options.add_argument("--collection", default="code")
    options.add_argument("--data-dir", type=Path, help="its DATA_DIR, with --measure")
    chosen = options.parse_args()
    if chosen.measure:
        if chosen.data_dir is None:
            options.error("--measure wants --data-dir, too")
        print(json.dumps(asdict(sizes(chosen.measure, chosen.collection, chosen.data_dir))))
    elif chosen.write:
        PAGE.write_text(put_in(PAGE.read_text("utf-8"), REAL), "utf-8")
    else:
        print(tables(REAL))


if __name__ == "__main__":
    main()
