"""The corpus: what was pinned, or nothing."""

import hashlib
import io
import sys
import tarfile
from pathlib import Path

import pytest

from tests.load.corpus import KEPT_SUFFIXES, LEFT_OUT, PACKAGES, Package, WrongContent, fingerprint, sources


def archive(folder: Path, files: dict[str, str]) -> tuple[Path, str]:
    path = folder / "tiny-1.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"tiny-1/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def package(path: Path, sha256: str, *folders: str) -> Package:
    copy = (sys.executable, "-c", "import shutil, sys; shutil.copy(*sys.argv[1:])", str(path), "{into}")
    return Package("tiny", "1", path.name, sha256, folders, copy, suffixes=KEPT_SUFFIXES, without=LEFT_OUT)


def silent(line: str) -> None: ...


def test_only_code_of_the_named_folders_is_kept(tmp_path: Path) -> None:
    files = {"src/a.py": "a = 1\n", "src/locale/b.py": "", "src/c.png": "", "tests/d.py": "", "README.md": "# x\n"}
    path, sha256 = archive(tmp_path, files)
    [root] = sources(tmp_path / "cache", silent, [package(path, sha256, "src")])
    assert [file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()] == ["src/a.py"]
    assert (root / "src/a.py").read_text() == "a = 1\n"


def test_an_archive_with_another_hash_is_refused(tmp_path: Path) -> None:
    path, _ = archive(tmp_path, {"a.py": ""})
    with pytest.raises(WrongContent, match="delete it and try again"):
        sources(tmp_path / "cache", silent, [package(path, "0" * 64)])
    assert not (tmp_path / "cache" / "sources").exists()


def test_an_archive_is_fetched_once(tmp_path: Path) -> None:
    path, sha256 = archive(tmp_path, {"a.py": ""})
    wanted = [package(path, sha256)]
    sources(tmp_path / "cache", silent, wanted)
    path.unlink()
    assert sources(tmp_path / "cache", silent, wanted)


def test_the_fingerprint_is_of_what_is_kept() -> None:
    other = Package("tiny", "1", "tiny.tgz", "0" * 64, ("src",), ())
    assert len({fingerprint(), fingerprint([other]), fingerprint([*PACKAGES, other])}) == 3
