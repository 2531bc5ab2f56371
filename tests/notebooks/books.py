"""Runs notebooks, and says what stands in one: its cells, its plots, what it printed."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))

# The slowest cell waits for the index: half a minute on a quiet machine of two cores.
CELL_LIMIT_S = 400


@dataclass(frozen=True)
class Book:
    """A notebook as its file holds it."""

    content: dict[str, Any]

    @classmethod
    def kept(cls, name: str) -> "Book":
        return cls(json.loads((FOLDER / f"{name}.ipynb").read_text("utf-8")))

    def cells(self, kind: str) -> list[dict[str, Any]]:
        return [cell for cell in self.content["cells"] if cell["cell_type"] == kind]

    @property
    def code(self) -> list[str]:
        return ["".join(cell["source"]) for cell in self.cells("code")]

    @property
    def words(self) -> str:
        return "\n\n".join("".join(cell["source"]) for cell in self.cells("markdown"))

    @property
    def outputs(self) -> list[dict[str, Any]]:
        return [output for cell in self.cells("code") for output in cell["outputs"]]

    @property
    def plots(self) -> list[bytes]:
        shown = [output["data"].get("image/png") for output in self.outputs if "data" in output]
        return [base64.b64decode("".join(png)) for png in shown if png]

    @property
    def said(self) -> str:
        """All text of the outputs, pictures left out."""
        texts = []
        for output in self.outputs:
            texts.append("".join(output.get("text", "")))
            texts += ["".join(text) for kind, text in output.get("data", {}).items() if kind.startswith("text/")]
        return "\n".join(texts)

    @property
    def is_fresh(self) -> bool:
        """Were the outputs made by these very cells?"""
        return bool(self.content["metadata"].get("outputs_of") == self.digest)

    @property
    def digest(self) -> str:
        return hashlib.sha256("\0".join(self.code).encode()).hexdigest()[:16]


def run(name: str, environment: Mapping[str, str], probe: str) -> tuple[Book, Any]:
    """Execute a notebook in a kernel of its own; returns it with its outputs, and `probe`'s value when it had ended.

    probe: an expression over the notebook's names, of a value that JSON takes. Fails where a cell does.
    """
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(FOLDER / f"{name}.ipynb", 4)
    book.cells.append(nbformat.v4.new_code_cell(f"import json as _json\nprint(_json.dumps({probe}))"))
    place = {"metadata": {"path": str(FOLDER)}}
    client = NotebookClient(
        book, timeout=CELL_LIMIT_S, startup_timeout=CELL_LIMIT_S, record_timing=False, resources=place
    )
    client.execute(env=dict(environment))
    value = json.loads("".join(output.text for output in book.cells.pop().outputs))
    return Book(json.loads(nbformat.writes(book))), value


def keep(name: str, book: Book) -> None:
    """Write a notebook with its outputs, without what only this machine says."""
    for place, cell in enumerate(book.cells("code"), 1):
        cell["execution_count"] = place
        cell["metadata"] = {}
        for output in cell["outputs"]:
            output.pop("metadata", None)
            if output["output_type"] in ("execute_result", "display_data"):
                output["metadata"] = {}
                output["data"].pop("text/plain", None) if "image/png" in output["data"] else None
            if output["output_type"] == "execute_result":
                output["execution_count"] = place
    book.content["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "outputs_of": book.digest,
    }
    text = json.dumps(book.content, indent=1, ensure_ascii=False, sort_keys=True)
    (FOLDER / f"{name}.ipynb").write_text(f"{text}\n", "utf-8")


def links(words: str) -> list[str]:
    """Where Markdown links to, inside of this project."""
    return [target for target in re.findall(r"\]\(([^)]+)\)", words) if "://" not in target]
