"""Pinned packages: what is kept of an archive, and what is refused."""

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from benchmarks.core.packages import STAND_IN, NotFetched, Package, WrongContent, debian, npm, pypi, unpacked

FILES = {"top/src/a.py": "a = 1\n", "top/tests/b.py": "b = 1\n", "top/README.md": "# top\n"}


def silent(line: str) -> None: ...


def packed(folder: Path, files: dict[str, str] = FILES, **more: object) -> Package:
    path = folder / "top-1.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    copy = (sys.executable, "-c", "import shutil, sys; shutil.copy(*sys.argv[1:])", str(path), "{into}")
    return Package("top", "1", path.name, str(more.pop("sha256", sha256)), (), copy, **more)  # type: ignore[arg-type]


def files_below(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_the_archive_s_own_top_folder_is_no_part_of_a_path(tmp_path: Path) -> None:
    [root] = unpacked([packed(tmp_path)], tmp_path / "cache", silent)
    assert files_below(root) == ["README.md", "src/a.py", "tests/b.py"]


def test_a_root_deeper_in_the_archive_is_taken_for_the_package_s(tmp_path: Path) -> None:
    files = {"./usr/share/gems/x-1/lib/a.rb": "a", "./usr/share/doc/x/changelog": "c"}
    [root] = unpacked([packed(tmp_path, files, root="usr/share/gems/x-1")], tmp_path / "cache", silent)
    assert files_below(root) == ["lib/a.rb"]


def test_other_folders_of_the_same_archive_are_unpacked_anew(tmp_path: Path) -> None:
    package = packed(tmp_path)
    unpacked([package], tmp_path / "cache", silent)
    fewer = Package(package.name, "1", package.archive, package.sha256, ("src", "README.md"), package.command)
    [root] = unpacked([fewer], tmp_path / "cache", silent)
    assert files_below(root) == ["README.md", "src/a.py"]


def test_another_hash_is_refused_before_anything_is_unpacked(tmp_path: Path) -> None:
    with pytest.raises(WrongContent, match="delete it and try again"):
        unpacked([packed(tmp_path, sha256="0" * 64)], tmp_path / "cache", silent)
    assert not (tmp_path / "cache" / "sources").exists()


def test_a_client_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    words = (sys.executable, "-c", "import sys; sys.exit('no such version')")
    with pytest.raises(NotFetched, match="x 9: no such version"):
        unpacked([Package("x", "9", "x-9.tgz", "", (), words)], tmp_path / "cache", silent)
    with pytest.raises(NotFetched, match="x 9: "):
        unpacked([Package("x", "9", "x-9.tgz", "", (), ("no-such-client",))], tmp_path / "cache", silent)


def test_a_path_out_of_the_folder_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(tarfile.FilterError):
        unpacked([packed(tmp_path, {"top/../../../evil.py": "x"})], tmp_path / "cache", silent)
    assert not list(tmp_path.rglob("evil.py"))


def test_each_registry_is_asked_by_its_own_client_for_one_version() -> None:
    assert pypi("click", "8.5.1", "")[-1] == "click==8.5.1"
    assert npm("@capacitor/ios", "8.5.2", "")[-1] == "@capacitor/ios@8.5.2"
    assert debian("ruby-faraday", "1.1.0-7", "")[-1] == "ruby-faraday=1.1.0-7"
    assert any(str(STAND_IN) in word for word in pypi("jiter", "0.19.0", "", is_maturin=True))


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is Debian's")
def test_a_debian_package_is_read_whatever_it_is_compressed_with(tmp_path: Path) -> None:
    (tmp_path / "deb/DEBIAN").mkdir(parents=True)
    (tmp_path / "deb/DEBIAN/control").write_text(
        "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n"
    )
    (tmp_path / "deb/usr/lib/x").mkdir(parents=True)
    (tmp_path / "deb/usr/lib/x/a.rb").write_text("a\n")
    path = tmp_path / "x_1_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", str(tmp_path / "deb"), str(path)], check=True)
    copy = (sys.executable, "-c", "import shutil, sys; shutil.copy(*sys.argv[1:])", str(path), "{into}")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    package = Package("x", "1", path.name, sha256, (), copy, root="usr/lib/x")
    [root] = unpacked([package], tmp_path / "cache", silent)
    assert files_below(root) == ["a.rb"]
