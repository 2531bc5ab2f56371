"""Several real servers, named in a file as an operator does, and what is seen of them through a gateway."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from starlette.types import ASGIApp

from llm_service.providers import breaker
from tests.llm_service.wire import close_sdks, post
from tests.support.live import free_port, live


def saying(word: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": word}
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }


@pytest.fixture
def rests_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that failed is asked again after a minute, not a second: what is seen of its rest is seen in time."""
    monkeypatch.setattr(breaker, "OPEN_S", 60.0)
    monkeypatch.setattr(breaker, "MAX_OPEN_S", 60.0)


@pytest.fixture(autouse=True)
async def _sdks_are_closed() -> AsyncIterator[None]:
    yield
    await close_sdks()


Serve = Callable[[ASGIApp], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """serve(app) -> the base URL of a server that runs until the test's end."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(live(app)) + "/v1"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "backends.toml"


def table(name: str, url: str, **fields: Any) -> str:
    """A backend as the file has it; numbers and lists of strings are written alike in TOML and in Python."""
    lines = "".join(
        f"{key} = {str(value).lower() if value is True else repr(value)}\n" for key, value in fields.items()
    )
    return f'[[backend]]\nname = "{name}"\nbase_url = "{url}"\n{lines}\n'


def write(file: Path, *tables: str) -> None:
    """As an editor does: whole, by renaming."""
    other = file.with_suffix(".new")
    other.write_text("".join(tables))
    other.replace(file)


def nobody() -> str:
    return f"http://127.0.0.1:{free_port()}/v1"


async def said(url: str, model: str = "m") -> str:
    response = await post(url, model=model)
    assert response.status_code == 200, response.text
    word: str = response.json()["choices"][0]["message"]["content"]
    return word


async def text(url: str) -> str:
    async with httpx.AsyncClient(timeout=60) as http:
        return (await http.get(url)).text


async def get(url: str) -> Any:
    return orjson.loads(await text(url))


async def checks(url: str) -> dict[str, tuple[bool, str]]:
    return {check["name"]: (check["ok"], check["detail"]) for check in (await get(url + "/readyz"))["checks"]}
