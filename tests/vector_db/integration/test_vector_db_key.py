"""QDRANT_API_KEY: what is asked for, where, and in which words is Qdrant's."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from qdrant_client import QdrantClient
from qdrant_client.http.exceptions import UnexpectedResponse

from rag_app.core.settings import RagSettings
from rag_app.db.chunks import ChunkStore
from service_kit.errors import Upstream
from tests.support.live import free_port, live
from tests.vector_db.conftest import settings
from vector_db.main import create_app

KEY = "sk-planted-7391"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("secured")
    (folder / "key").write_text(KEY + "\n")
    with live(create_app(settings(folder / "data", qdrant_api_key_file=folder / "key"))) as url:
        yield url


@pytest.mark.parametrize("headers", [{"api-key": KEY}, {"authorization": f"Bearer {KEY}"}])
def test_the_key_opens_it_by_either_header(secured: str, headers: dict[str, str]) -> None:
    assert httpx.get(f"{secured}/collections", headers=headers).json()["status"] == "ok"


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "Must provide an API key or an Authorization bearer token"),
        ({"api-key": "wrong"}, "Invalid API key or JWT"),
        ({"authorization": "Bearer wrong"}, "Invalid API key or JWT"),
    ],
)
def test_without_it_the_refusal_is_qdrants(secured: str, headers: dict[str, str], words: str) -> None:
    answer = httpx.put(f"{secured}/collections/code", headers=headers, json={"vectors": {}})
    assert (answer.status_code, answer.text) == (401, words)
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("path", ["/", "/healthz", "/livez", "/readyz"])
def test_what_qdrant_leaves_open_is_open(secured: str, path: str) -> None:
    assert httpx.get(secured + path).status_code == 200


@pytest.mark.parametrize("path", ["/collections", "/metrics", "/docs", "/openapi.json", "/nowhere"])
def test_all_else_is_closed(secured: str, path: str) -> None:
    assert httpx.get(secured + path).status_code == 401
    assert httpx.get(secured + path, headers={"api-key": KEY}).status_code != 401


def test_without_a_key_all_is_open(url: str) -> None:
    assert httpx.get(f"{url}/collections").status_code == 200
    assert httpx.get(f"{url}/metrics").status_code == 200


def test_qdrants_client_comes_in_with_the_key_alone(secured: str) -> None:
    with pytest.warns(UserWarning, match="insecure"):
        client = QdrantClient(url=secured, api_key=KEY)
    assert client.get_collections().collections == []
    with pytest.raises(UnexpectedResponse) as refused:
        QdrantClient(url=secured, check_compatibility=False).get_collections()
    assert refused.value.status_code == 401


async def test_the_rag_servers_store_sends_its_key_from_a_file(secured: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    port = int(secured.rsplit(":", 1)[1])
    of_file = ChunkStore(RagSettings(_env_file=None, qdrant_port=port, qdrant_api_key_file=tmp_path / "key"))
    await of_file.ready()
    await of_file.close()
    wrong = ChunkStore(RagSettings(_env_file=None, qdrant_port=port, qdrant_api_key=SecretStr("wrong")))
    with pytest.raises(Upstream, match="QDRANT_API_KEY"):
        await wrong.ready()
    await wrong.close()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"QDRANT_API_KEY": "sk planted"}, "QDRANT_API_KEY holds more than one line, spaces"),
        ({"QDRANT_API_KEY_FILE": "nowhere"}, "QDRANT_API_KEY_FILE: cannot read nowhere: No such file"),
    ],
)
def test_a_key_that_cannot_be_used_ends_the_start_in_words(
    variables: dict[str, str], words: str, tmp_path: Path
) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "QDRANT_PORT": str(free_port())}
    env |= {"VECTOR_DB_DIR": str(tmp_path / "data"), **variables}
    ended = subprocess.run(
        [sys.executable, "-m", "vector_db"], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "planted" not in ended.stderr
    assert "Traceback" not in ended.stderr
