"""The drill: back up under load, lose every volume, restore, and find the same."""

import json
import re
import time
from pathlib import Path

from tests.compose.conftest import Note
from tests.compose.stack import Stack, until

QUESTIONS = 200


def questions(stack: Stack) -> list[str]:
    """Names that the sources define, as words: deterministic, and each finds something."""
    sources = sorted((stack.folder / "repositories" / "flask-3.1.2" / "src").rglob("*.py"))
    names = [name for file in sources for name in re.findall(r"(?:def|class) (\w+)", file.read_text())]
    distinct = list(dict.fromkeys(name.strip("_").replace("_", " ") for name in names if name.strip("_")))
    return distinct[:QUESTIONS]


def found(stack: Stack, asked: list[str], repository: str) -> list[list[str]]:
    """The ids of each question's hits, in their order."""
    ids = []
    for question in asked:
        answer = stack.ask("POST", "/v1/search", {"query": question, "repositories": [repository]})
        assert answer.status_code == 200, answer.text
        assert answer.json()["degraded"] == []
        ids.append([hit["id"] for hit in answer.json()["hits"]])
    return ids


def backups_of(stack: Stack) -> Path:
    """The host's folder that is /backups in the stack, made as docs/operations-backup.md says."""
    folder = stack.folder / "backups"
    folder.mkdir(exist_ok=True)
    stack.docker(
        "run", "--rm", "--user", "0", "--volume", f"{folder}:/b", "--entrypoint", "chown",
        "code-assistant/rag-server:test", "10001", "/b",
    )  # fmt: skip
    return folder


def test_after_a_wipe_a_backup_made_under_load_gives_the_same_hits_in_the_same_order(
    indexed: Stack, note: Note
) -> None:
    asked = questions(indexed)
    assert len(asked) == QUESTIONS
    known = indexed.ask("GET", "/v1/repositories").json()["repositories"]
    repository = next(each["id"] for each in known if each["name"] == "flask")
    before = found(indexed, asked, repository)
    assert sum(map(bool, before)) > QUESTIONS * 0.9
    backups = backups_of(indexed)

    # While something else is being indexed.
    other = {"source": {"type": "path", "path": "/repositories/flask-3.1.2/tests"}, "name": "tests"}
    job = indexed.ask("POST", "/v1/repositories", other).json()["job"]["id"]
    until(lambda: indexed.ask("GET", f"/v1/jobs/{job}").json()["state"] == "running", "a job that runs")
    made = json.loads(indexed.cli("backup", "/backups/drill", "--json").stdout)
    note("backup", {name: made[name] for name in ("chunks", "took_s") if name in made})

    indexed.run("down", "--volumes", "--timeout", "10")
    started = time.monotonic()
    indexed.up()
    indexed.read_key()
    assert indexed.ask("GET", "/v1/repositories").json()["repositories"] == []
    indexed.cli("restore", "/backups/drill")
    note("wipe_to_restored_s", round(time.monotonic() - started, 1))
    assert found(indexed, asked, repository) == before

    altered = next(path for path in sorted(backups.rglob("*")) if path.is_file() and path.stat().st_size > 1000)
    content = bytearray(altered.read_bytes())
    content[len(content) // 2] ^= 1
    altered.write_bytes(content)
    refused = indexed.cli("restore", "/backups/drill", "--replace", check=False)
    assert refused.returncode == 2, refused.stderr
    assert altered.name in refused.stderr
    assert found(indexed, asked[:5], repository) == before[:5]
