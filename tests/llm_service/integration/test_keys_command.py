"""`python -m llm_service.keys` as an operator runs it."""

import asyncio
import concurrent.futures
import re
import stat
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from llm_service import keys
from llm_service.admission.keys import KeyRing, watched_keys


def ring(path: Path) -> KeyRing:
    return KeyRing.parse(path.read_bytes(), path)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "llm_service.keys", "new", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_new_key_opens_the_gateway_whose_file_has_the_printed_stanza() -> None:
    done = run("ci", "--requests-per-minute", "60", "--tokens-per-minute", "100000")
    assert done.returncode == 0
    key, _, stanza = done.stdout.partition("\n")
    assert key not in stanza
    assert key not in done.stderr
    found = KeyRing.parse(stanza.encode(), Path("keys.toml")).find(b"Bearer " + key.encode())
    assert (found.name, found.requests_per_minute, found.tokens_per_minute) == ("ci", 60, 100_000)


def test_a_file_is_made_for_its_owner_alone_and_holds_the_hash_and_no_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    done = run("ci", "--file", str(path))
    key = done.stdout.removesuffix("\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key not in path.read_text()
    assert sha256(key.encode()).hexdigest() in path.read_text()
    assert ring(path).find(b"Bearer " + key.encode()).name == "ci"
    assert [entry.name for entry in tmp_path.iterdir()] == ["keys.toml"]


def new(path: Path, name: str, *arguments: str) -> int:
    return keys.main(["new", name, "--file", str(path), *arguments])


def test_a_second_key_is_added_and_what_people_wrote_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "keys.toml"
    path.write_text("# of the team\n")
    path.chmod(0o640)
    assert new(path, "ci") == 0
    path.write_text(path.read_text().removesuffix("\n"))  # an editor that ends no line
    assert new(path, "dev", "--tokens-per-minute", "5") == 0
    assert path.read_text().startswith("# of the team\n")
    assert [(key.name, key.tokens_per_minute) for key in ring(path).keys] == [("ci", None), ("dev", 5)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    first, second = capsys.readouterr().out.split()
    assert ring(path).find(b"Bearer " + first.encode()).name == "ci"
    assert ring(path).find(b"Bearer " + second.encode()).name == "dev"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ci"], "two keys have the name 'ci'"),
        (["a b"], "`name` must be"),
        (['"\\\nsha256 = "'], "not TOML"),
        (["dev", "--requests-per-minute", "0"], "`requests_per_minute` must be a whole number from 1 on"),
    ],
)
def test_what_would_spoil_the_file_is_refused_and_no_key_is_shown(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.toml"
    new(path, "ci")
    before = path.read_bytes()
    capsys.readouterr()
    assert new(path, *arguments) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.match(f"no key was made: .*{words}", shown.err)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["keys.toml"]


def test_a_bad_name_without_a_file_makes_no_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert keys.main(["new", "a b"]) == 1
    assert capsys.readouterr().out == ""


def test_a_link_stays_a_link_to_the_file_that_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "keys.toml"
    link.symlink_to("real/keys.toml")
    assert new(link, "ci") == 0
    assert link.is_symlink()
    assert len(ring(tmp_path / "real" / "keys.toml").keys) == 1


async def test_a_gateway_that_runs_takes_a_new_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "keys.toml"
    new(path, "ci")
    running = watched_keys(path)
    async with running.watching():
        assert new(path, "dev") == 0
        header = b"Bearer " + capsys.readouterr().out.split()[-1].encode()
        for _ in range(300):
            await asyncio.sleep(0.1)
            if len(running.value.keys) == 2:
                break
    assert running.value.find(header).name == "dev"


def test_a_folder_that_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new(tmp_path / "nowhere" / "keys.toml", "ci") == 1
    assert "No such file or directory" in capsys.readouterr().err


def test_of_keys_made_at_the_same_time_none_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda number: new(path, f"k{number}"), range(24))) == {0}
    assert len(ring(path).keys) == 24


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.toml"
    new(path, "ci")
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keys.os, "fsync", full)
    assert new(path, "dev") == 1
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["keys.toml"]
