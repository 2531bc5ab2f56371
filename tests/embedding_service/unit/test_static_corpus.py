"""Code to fit a table to: what is taken, in which order, and what is left for tests."""

from pathlib import Path

from embedding_service.backends.static_corpus import Source, chunks_of, is_held_out, sources_sha256, stdlib_sources


def test_sources_come_by_path_without_tests_and_installed_packages(tmp_path: Path) -> None:
    for name in ("b.py", "a/x.py", "a/note.txt", "test/t.py", "site-packages/p.py", "a/tests/u.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"# caf\xe9\n")
    assert {source.path: source.text for source in stdlib_sources(tmp_path)} == {
        "a/x.py": "# caf\ufffd\n",  # whatever its encoding
        "b.py": "# caf\ufffd\n",
    }


def test_the_standard_library_is_there_and_half_of_it_is_held_out() -> None:
    sources = stdlib_sources()
    assert len(sources) > 400
    held_out = sum(is_held_out(source.path) for source in sources)
    assert 0.4 < held_out / len(sources) < 0.6


def test_chunks_are_so_many_lines_without_blank_ones_and_no_line_is_lost() -> None:
    source = Source("a.py", "one\n\n  \ntwo\nthree")
    assert chunks_of([source, Source("b.py", "")], 2) == ["one\ntwo\n", "three"]


def test_the_hash_changes_with_a_text_and_with_a_path() -> None:
    hashes = {sources_sha256([Source(path, text)]) for path, text in [("a", "1"), ("a", "2"), ("b", "1")]}
    assert len(hashes) == 3
