"""Which key the RAG server asks for: the one that it is told, or one that it makes where others can reach it."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from rag_app.cli.server_key import key_for
from rag_app.core.settings import RagSettings
from rag_app.db.api_key import asked_key, asks_for_key, key_path, known_key


def settings(folder: Path, host: str = "0.0.0.0", **more: Any) -> RagSettings:
    return RagSettings(_env_file=None, data_dir=folder, rag_host=host, **more)


def text(key: SecretStr | None) -> str | None:
    return None if key is None else key.get_secret_value()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.9"])
def test_on_loopback_no_key_is_asked_for_and_none_is_made(tmp_path: Path, host: str) -> None:
    assert not asks_for_key(settings(tmp_path, host))
    assert asked_key(settings(tmp_path, host)) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "rag.example.org", ""])
def test_beyond_loopback_a_key_is_made_for_its_owner_alone_and_kept(tmp_path: Path, host: str) -> None:
    made = text(asked_key(settings(tmp_path / "data", host)))
    assert asks_for_key(settings(tmp_path / "data", host))
    assert made is not None
    assert made.startswith("ca-")
    assert len(made) == 46  # 32 bytes in base64, and the prefix
    path = tmp_path / "data" / "api_key"
    assert path.read_text() == f"{made}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path / "data") == ["api_key"]  # nothing half written is left
    assert text(asked_key(settings(tmp_path / "data", host))) == made


def test_two_folders_have_two_keys(tmp_path: Path) -> None:
    assert text(asked_key(settings(tmp_path / "a"))) != text(asked_key(settings(tmp_path / "b")))


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_a_key_that_is_told_is_asked_for_everywhere_and_none_is_made(tmp_path: Path, host: str) -> None:
    (tmp_path / "secret").write_text("of-a-file\n")
    data = tmp_path / "data"
    assert text(asked_key(settings(data, host, rag_api_key=SecretStr("told")))) == "told"
    assert text(asked_key(settings(data, host, rag_api_key_file=tmp_path / "secret"))) == "of-a-file"
    assert not data.exists()


def test_beside_an_empty_file_for_a_key_one_is_made(tmp_path: Path) -> None:
    (tmp_path / "secret").touch()
    made = text(asked_key(settings(tmp_path / "data", rag_api_key_file=tmp_path / "secret")))
    assert made is not None
    assert made.startswith("ca-")


def test_replicas_that_start_at_once_on_one_volume_ask_for_one_key(tmp_path: Path) -> None:
    # Each makes its own, up to the instant of the link, where all but one find that there is one.
    program = (
        "import sys; from pathlib import Path; from rag_app.db.api_key import asked_key;"
        "from rag_app.core.settings import RagSettings;"
        "chosen = RagSettings(_env_file=None, data_dir=Path(sys.argv[1]), rag_host='0.0.0.0');"
        "print('ready', flush=True); sys.stdin.read(); print(asked_key(chosen).get_secret_value())"
    )
    for attempt in range(3):
        command = [sys.executable, "-c", program, str(tmp_path / str(attempt))]
        replicas = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
        ]
        for replica in replicas:
            assert replica.stdout is not None
            assert replica.stdout.readline() == "ready\n"
        for replica in replicas:
            assert replica.stdin is not None
            replica.stdin.close()
        keys = set()
        for replica in replicas:
            assert replica.stdout is not None
            keys.add(replica.stdout.read())
            assert replica.wait(30) == 0
        assert len(keys) == 1
        assert os.listdir(tmp_path / str(attempt)) == ["api_key"]


def test_the_one_who_comes_second_takes_the_key_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def first_of_another(source: str, target: Path) -> None:
        Path(target).write_text("ca-of-another\n")
        raise FileExistsError

    monkeypatch.setattr("rag_app.db.api_key.os.link", first_of_another)
    assert text(asked_key(settings(tmp_path))) == "ca-of-another"
    assert os.listdir(tmp_path) == ["api_key"]


def test_where_no_key_can_be_made_the_server_does_not_start_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(ValueError, match=r"RAG_HOST is 0\.0\.0\.0, .*api_key.*; set RAG_API_KEY or RAG_API_KEY_FILE"):
        asked_key(settings(tmp_path / "data"))


@pytest.mark.parametrize("content", ["", "two words\n"])
def test_a_stored_key_that_is_none_is_told_by_its_place(tmp_path: Path, content: str) -> None:
    (tmp_path / "api_key").write_text(content)
    for ask in (asked_key, known_key):
        with pytest.raises(ValueError, match=str(tmp_path / "api_key")):
            ask(settings(tmp_path))


def test_to_know_a_key_makes_none(tmp_path: Path) -> None:
    assert known_key(settings(tmp_path)) is None
    assert not key_path(settings(tmp_path)).exists()


@pytest.mark.parametrize(
    ("url", "host", "is_shown"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1", True),
        ("http://localhost:8000/", "0.0.0.0", True),
        ("http://[::1]:8000", "::", True),
        ("http://127.0.0.1:8001", "0.0.0.0", False),  # another server of this machine
        ("http://127.0.0.1", "0.0.0.0", False),
        ("https://rag.example.org:8000", "0.0.0.0", False),
        ("http://192.0.2.7:8000", "192.0.2.7", False),  # an address that this machine has not
        ("http://rag.example.org:8000", "rag.example.org", False),
        ("http://127.0.0.1.example.org:8000", "0.0.0.0", False),
        ("http://127.0.0.1:8000@example.org:8000", "0.0.0.0", False),
        ("http://[bad", "0.0.0.0", False),
        ("no address", "0.0.0.0", False),
    ],
)
def test_a_key_of_this_machine_is_shown_to_its_own_server_alone(
    tmp_path: Path, url: str, host: str, is_shown: bool
) -> None:
    (tmp_path / "api_key").write_text("ca-mine\n")
    assert key_for(url, settings(tmp_path, host, rag_port=8000)) == ("ca-mine" if is_shown else None)


def test_a_key_that_is_told_is_shown_to_whichever_server_is_called(tmp_path: Path) -> None:
    (tmp_path / "api_key").write_text("ca-mine\n")
    told = settings(tmp_path, rag_api_key=SecretStr("told"))
    assert {key_for(url, told) for url in ("https://rag.example.org", "http://127.0.0.1:8000")} == {"told"}


def test_the_folder_of_data_is_the_same_for_the_key_the_index_and_every_command() -> None:
    settings = RagSettings(_env_file=None, data_dir=Path("~/code-assistant"))  # type: ignore[call-arg]
    assert settings.data_dir == Path.home() / "code-assistant"
    assert key_path(settings).parent == settings.data_dir
