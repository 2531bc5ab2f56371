"""Exchanges on disk: one file of JSON lines each, which a person can read and from which every byte comes back.

    {"recording":1,"method":"POST","path":"/v1/chat/completions","request":{…},"is_stream":true,"recorded_at":"2026-…Z"}
    {"at_s":0.412,"text":"data: {…}\\n\\n"}           a read, and when it came; "base64" where it is no UTF-8
    {"at_s":0.431,"end":"whole"}                      or {"at_s":…,"failure":{…}}

A file's name begins with the key of its request and goes on with the time, so that the files of one request sort in
their order. Prompts are private code: only the owner may read them.
"""

import base64
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from llm_service.providers.recorded.lines import EndLine, Failure, FailureLine, HeaderLine, ReadLine, checked, packed

_SUFFIX = ".jsonl"


@dataclass(frozen=True, slots=True)
class Exchange:
    """What was asked and what came.

    body: None for a GET. reads: (seconds after the question, bytes). ended_s: when the end or the failure was known.
    failure: instead of an answer where there are no reads, else where the stream broke off.
    """

    path: str
    body: bytes | None
    is_stream: bool
    reads: tuple[tuple[float, bytes], ...]
    ended_s: float
    failure: Failure | None = None


def key_of(path: str, body: bytes | None) -> str:
    """The name of a request: the same for the same path and the same JSON, however that is written."""
    asked = b"GET" if body is None else b"POST\n" + (_canonical(body) or body)
    return hashlib.sha256(path.encode() + b"\n" + asked).hexdigest()[:32]


def store(folder: Path, exchange: Exchange) -> None:
    """Write one file, whole or not at all. Fails with OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"{key_of(exchange.path, exchange.body)}-{time.time_ns()}-{secrets.token_hex(3)}{_SUFFIX}"
    draft = folder / f".{name}"
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.writelines(orjson.dumps(line) + b"\n" for line in _lines(exchange))
        draft.rename(folder / name)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def stored_in(folder: Path) -> list[Path]:
    """The files of a folder, those of one request in the order of their recording."""
    return sorted(path for path in folder.glob(f"*{_SUFFIX}") if not path.name.startswith("."))


def load(path: Path) -> Exchange:
    """Read one file. Fails with ValueError, in words with the line, where it is damaged."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as exc:
        raise ValueError(f"{path} cannot be read: {exc.strerror}") from exc
    number = 1
    try:
        header = checked(HeaderLine, lines[0] if lines else b"")
        reads = []
        for line in lines[1:-1]:
            number += 1
            read = checked(ReadLine, line)
            reads.append((read.at_s, read.content()))
        number += 1
        end = checked(EndLine, lines[-1])
        if not reads and end.failure is None:
            raise ValueError("it ends without an answer")
    except ValueError as exc:
        raise ValueError(f"{path}, line {number}: {exc}") from exc
    failure = None if end.failure is None else end.failure.error()
    return Exchange(header.path, header.body(), header.is_stream, tuple(reads), end.at_s, failure)


def _lines(exchange: Exchange) -> Iterator[dict[str, Any]]:
    yield {
        "recording": 1,
        "method": "GET" if exchange.body is None else "POST",
        "path": exchange.path,
        **_request(exchange.body),
        "is_stream": exchange.is_stream,
        "recorded_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    for at_s, content in exchange.reads:
        yield {"at_s": round(at_s, 6), **packed(content)}
    end = {"end": "whole"} if exchange.failure is None else {"failure": FailureLine.of(exchange.failure).model_dump()}
    yield {"at_s": round(exchange.ended_s, 6), **end}


def _request(body: bytes | None) -> dict[str, Any]:
    if body is None:
        return {}
    asked = _canonical(body)
    return {"request_base64": base64.b64encode(body).decode()} if asked is None else {"request": orjson.Fragment(asked)}


def _canonical(body: bytes) -> bytes | None:
    """JSON with its keys in order and no spaces; None for what is no JSON, or is nested deeper than can be written."""
    try:
        return orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
