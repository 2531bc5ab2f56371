"""The four services, each asking for a key that stands in a file: they work together, and no log holds a key."""

import json
import secrets
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from llm_service.admission.keys import new_key
from llm_service.keys import stanza_of
from tests.support.live import live
from tests.support.scripted_llm import ScriptedLlm
from tests.support.stack import Stack, running


@dataclass
class Locked:
    """The stack and all keys of it, by setting."""

    stack: Stack
    model: ScriptedLlm
    keys: dict[str, str]

    @property
    def key(self) -> str:
        """What the RAG server has made for itself."""
        return (self.stack.folder / "data" / "api_key").read_text().strip()

    def logs(self) -> str:
        return "".join(path.read_text("utf-8", "replace") for path in self.stack.folder.glob("*.log"))


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    folder = tmp_path_factory.mktemp("locked").resolve()
    (folder / "code").mkdir()
    (folder / "code" / "refunds.py").write_text('def book_refund(order):\n    """Book a refund of an order."""\n')
    names = ("QDRANT_API_KEY", "EMBEDDING_API_KEY", "LLM_UPSTREAM_API_KEY", "LLM_API_KEY")
    keys = {name: f"planted-{secrets.token_hex(12)}" for name in names} | {"LLM_API_KEY": new_key()}
    # An empty file for what its user does not have, as Compose mounts them; DEBUG tells most.
    settings = {"RAG_HOST": "0.0.0.0", "LOG_LEVEL": "DEBUG"}
    for name in (*keys, "RAG_API_KEY", "OPENAI_API_KEY"):
        (folder / name.lower()).write_text(keys.get(name, ""))
        settings[f"{name}_FILE"] = str(folder / name.lower())
    (folder / "llm_keys.toml").write_text(stanza_of("rag", keys["LLM_API_KEY"], None, None))
    settings["LLM_KEYS_FILE"] = str(folder / "llm_keys.toml")
    model = ScriptedLlm()
    with live(model.app()) as upstream, running(folder, {**settings, "LLM_BASE_URL": f"{upstream}/v1"}) as stack:
        indexed = stack.cli("index", str(folder / "code"))
        assert indexed.returncode == 0, indexed.stderr
        yield Locked(stack, model, keys)


def test_the_whole_journey_works_with_every_key_in_a_file(locked: Locked) -> None:
    ready = json.loads(urllib.request.urlopen(f"{locked.stack.url}/readyz").read())
    assert {check["name"]: check["ok"] for check in ready["checks"]} == {"qdrant": True, "embedding": True, "llm": True}
    found = json.loads(locked.stack.cli("search", "book a refund", "--json").stdout)
    assert [hit["path"] for hit in found["hits"]] == ["refunds.py"]
    assert found["degraded"] == []
    locked.model.will_say("It is booked there [1].")
    asked = locked.stack.cli("ask", "how is a refund booked?", "--json")
    assert json.loads(asked.stdout)["mode"] == "generative"


@pytest.mark.parametrize(
    ("port", "path", "setting"),
    [
        ("RAG_PORT", "/v1/repositories", ""),
        ("EMBEDDING_PORT", "/info", "EMBEDDING_API_KEY"),
        ("LLM_PORT", "/v1/models", "LLM_API_KEY"),
        ("QDRANT_PORT", "/collections", "QDRANT_API_KEY"),
    ],
)
def test_no_service_is_open(locked: Locked, port: str, path: str, setting: str) -> None:
    url = f"http://127.0.0.1:{locked.stack.env[port]}{path}"
    key = locked.keys[setting] if setting else locked.key
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"authorization": f"Bearer {key}x"}).status_code == 401
    assert httpx.get(url, headers={"authorization": f"Bearer {key}"}).status_code == 200


def test_the_key_is_printed_where_the_server_runs_and_opens_it_from_elsewhere(locked: Locked, tmp_path: Path) -> None:
    assert locked.stack.cli("key").stdout == f"{locked.key}\n"
    env = {name: told for name, told in locked.stack.env.items() if name != "RAG_API_KEY_FILE"}
    elsewhere = {**env, "DATA_DIR": str(tmp_path), "CODE_ASSISTANT_URL": locked.stack.url}
    of_another = Stack(locked.stack.folder, elsewhere)
    refused = of_another.cli("search", "refund")
    assert refused.returncode == 2
    assert "set RAG_API_KEY to what `code-assistant key` prints" in refused.stderr
    of_another.env["RAG_API_KEY"] = locked.key
    assert of_another.cli("search", "refund").returncode == 0


def test_a_second_start_asks_for_the_same_key(locked: Locked) -> None:
    before = locked.key
    locked.stack.stop("rag_app")
    locked.stack.start("rag_app")
    locked.stack.wait_for("RAG_PORT")
    assert locked.key == before
    assert locked.stack.cli("search", "refund").returncode == 0


def test_no_log_and_no_metric_holds_a_key(locked: Locked) -> None:
    wrong = {"authorization": "Bearer planted-wrong", "api-key": "planted-wrong"}
    seen = ""
    for port in ("RAG_PORT", "EMBEDDING_PORT", "LLM_PORT", "QDRANT_PORT"):
        url = f"http://127.0.0.1:{locked.stack.env[port]}"
        httpx.get(f"{url}/v1/models", headers=wrong)
        key = locked.keys["QDRANT_API_KEY"] if port == "QDRANT_PORT" else ""
        seen += httpx.get(f"{url}/metrics", headers={"api-key": key}).text + httpx.get(f"{url}/readyz").text
    logged = locked.logs()
    assert "code-assistant key" in logged  # how to find it is told, and nothing else
    for secret in (*locked.keys.values(), locked.key, "planted-wrong"):
        assert secret not in logged + seen
