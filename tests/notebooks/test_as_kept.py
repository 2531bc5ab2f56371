"""The notebooks as they are kept: they read well, say nothing of a machine, and define no logic."""

import ast
import re
import socket

import pytest

from tests.notebooks.books import FOLDER, NAMES, Book, links

# A forge still shows a notebook of a megabyte; six of this size are light to clone.
MAX_BYTES = 300_000
MAX_CELL_LINES = 14
MACHINE = re.compile(
    r"(?<![\w.])/(?:home|root|tmp|work|usr|var|opt|mnt|private|Users)/"  # an absolute path
    r"|[A-Z]:\\|\b(?:127\.0\.0\.1|localhost):\d+|site-packages|ipykernel"
)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_there_are_six() -> None:
    assert [name[:2] for name in NAMES] == ["01", "02", "03", "04", "05", "06"]


def test_it_has_its_outputs_with_plots_of_the_cells_as_they_are(name: str) -> None:
    book = Book.kept(name)
    assert book.is_fresh, f"{name}: its cells have changed since they were run; `make notebooks` runs them"
    assert len(book.plots) >= 2
    assert all(plot.startswith(b"\x89PNG") for plot in book.plots)
    assert [cell["execution_count"] for cell in book.cells("code")] == list(range(1, len(book.code) + 1))


def test_its_outputs_tell_nothing_of_the_machine(name: str) -> None:
    said = Book.kept(name).said
    assert MACHINE.search(said) is None
    assert socket.gethostname() not in said or len(socket.gethostname()) < 5


@pytest.mark.parametrize("text", ["see /home/me/x.py", "C:\\x", "http://127.0.0.1:8000", "/tmp/a", "'/root/x'"])
def test_what_a_machine_says_is_seen(text: str) -> None:
    assert MACHINE.search(text)


def test_it_is_small(name: str) -> None:
    assert (FOLDER / f"{name}.ipynb").stat().st_size < MAX_BYTES


def test_its_cells_are_short_and_define_nothing(name: str) -> None:
    for cell in Book.kept(name).code:
        assert len(cell.splitlines()) <= MAX_CELL_LINES, cell
        defined = [node for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        assert not defined, f"logic is imported, never defined in a notebook:\n{cell}"


def test_it_explains_itself_before_each_part(name: str) -> None:
    book = Book.kept(name)
    assert book.content["cells"][0]["cell_type"] == "markdown"
    assert book.words.startswith("# ")
    assert len(book.words.split()) >= 150
    assert len(book.cells("markdown")) * 2 >= len(book.cells("code"))


def test_its_links_lead_somewhere(name: str) -> None:
    for target in links(Book.kept(name).words):
        assert (FOLDER / target).exists(), target


def test_the_readme_names_each(name: str) -> None:
    assert f"({name}.ipynb)" in (FOLDER / "README.md").read_text("utf-8")
