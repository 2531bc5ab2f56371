"""Which servers stand behind the gateway: from a file, from one variable or from two."""

from pathlib import Path
from typing import Any

import orjson
import pytest

import llm_service
from llm_service.core.backends import Backend, backends_of
from service_kit.secrets import read_file
from tests.llm_service.unit.conftest import ENV, from_toml, given_settings, read

FULL = """
[[backend]]
name = "gpu"
base_url = "http://gpu:8080/v1/"
key_env = "GPU_KEY"
models = ["qwen", "org/coder"]
aliases = {fast = "qwen", "gpt-4o-mini" = "org/coder"}
weight = 2.5
priority = 1
usage_in_streams = false

[[backend]]
name = "openai"
base_url = "https://api.openai.com/v1"
"""


def key_of(backend: Backend) -> str | None:
    return None if backend.key is None else backend.key.get_secret_value()


def test_a_file_says_all_that_there_is_to_say_of_a_backend(tmp_path: Path) -> None:
    gpu, openai = from_toml(tmp_path, FULL)
    assert (gpu.name, gpu.base_url, key_of(gpu), gpu.key_source) == (
        "gpu",
        "http://gpu:8080/v1",
        "sk-of-the-gpu",
        "GPU_KEY",
    )
    assert gpu.models == ("qwen", "org/coder")
    assert dict(gpu.aliases) == {"fast": "qwen", "gpt-4o-mini": "org/coder"}
    assert (gpu.weight, gpu.priority, gpu.usage_in_streams, gpu.is_openai) == (2.5, 1, False, False)
    assert (openai.weight, openai.priority, openai.usage_in_streams, openai.is_openai) == (1.0, 0, True, True)
    assert (openai.models, openai.aliases, openai.key) == ((), (), None)


def test_one_variable_says_the_same_as_a_list_of_tables(tmp_path: Path) -> None:
    tables = [
        {
            "name": "gpu",
            "base_url": "http://gpu:8080/v1/",
            "key_env": "GPU_KEY",
            "models": ["qwen", "org/coder"],
            "aliases": {"fast": "qwen", "gpt-4o-mini": "org/coder"},
            "weight": 2.5,
            "priority": 1,
            "usage_in_streams": False,
        },
        {"name": "openai", "base_url": "https://api.openai.com/v1"},
    ]
    assert read(llm_backends=orjson.dumps(tables).decode()) == from_toml(tmp_path, FULL)


def test_a_base_url_alone_is_one_backend_with_its_own_key() -> None:
    (backend,) = read(llm_base_url="http://gpu/v1/", llm_upstream_api_key="k", openai_api_key="sk-openai")
    assert (backend.name, backend.base_url, key_of(backend)) == ("default", "http://gpu/v1", "k")
    assert backend.key_source == "LLM_UPSTREAM_API_KEY"


def test_openais_key_does_not_go_to_a_base_url() -> None:
    (backend,) = read(llm_base_url="http://gpu/v1", openai_api_key="sk-openai")
    assert backend.key is None


def test_openais_key_alone_is_openai() -> None:
    (backend,) = read(openai_api_key="sk-openai")
    assert (backend.name, backend.base_url, key_of(backend)) == ("openai", "https://api.openai.com/v1", "sk-openai")
    assert (backend.is_openai, backend.key_source) == (True, "OPENAI_API_KEY")


def test_nothing_is_no_backend() -> None:
    assert read() == ()


def test_a_file_goes_before_a_list_a_list_before_a_base_url_and_that_before_openai(tmp_path: Path) -> None:
    path = tmp_path / "backends.toml"
    path.write_text('[[backend]]\nname = "file"\nbase_url = "http://file/v1"')
    given: dict[str, Any] = {
        "llm_provider": "scripted",
        "llm_backends_file": path,
        "llm_backends": '[{"name": "list", "base_url": "http://list/v1"}]',
        "llm_base_url": "http://url/v1",
        "openai_api_key": "k",
    }
    names = []
    for name in list(given):
        names += [backend.name for backend in read(**given)]
        del given[name]
    assert names == ["scripted", "file", "list", "default", "openai"]


@pytest.mark.parametrize(
    ("of", "url"),
    [
        ("llm_upstream_api_key_file", {"llm_base_url": "http://gpu/v1"}),
        ("openai_api_key_file", {}),
    ],
)
def test_the_key_of_a_single_server_may_stand_in_a_file(tmp_path: Path, of: str, url: dict[str, str]) -> None:
    path = tmp_path / "secret"
    path.write_text("sk-in-a-file\n")
    (backend,) = read(**{of: path}, **url)
    assert (key_of(backend), backend.key_source) == ("sk-in-a-file", of.upper())


def test_a_key_file_is_read_by_the_function_that_watches_it(tmp_path: Path) -> None:
    secret, path = tmp_path / "secret", tmp_path / "backends.toml"
    secret.write_text("sk-in-a-file\n")
    path.write_text(f'[[backend]]\nname = "a"\nbase_url = "http://a/v1"\nkey_file = "{secret}"')
    seen: list[Path] = []

    def note(path: Path) -> bytes:
        seen.append(path)
        return read_file(path)

    (backend,) = backends_of(given_settings(llm_backends_file=path), note)
    assert (key_of(backend), backend.key_source) == ("sk-in-a-file", str(secret))
    assert seen == [path, secret]


def test_a_key_shows_neither_in_a_backends_text_nor_in_its_settings(tmp_path: Path) -> None:
    gpu, _ = from_toml(tmp_path, FULL)
    assert "sk-of-the-gpu" not in repr(gpu)


def test_backends_that_say_the_same_are_equal_and_another_key_makes_another_one(tmp_path: Path) -> None:
    path = tmp_path / "backends.toml"
    path.write_text(FULL)
    same, other = ({"GPU_KEY": key} for key in ("sk-of-the-gpu", "sk-new"))
    first, second, third = (
        backends_of(given_settings(llm_backends_file=path), environment=env) for env in (ENV, same, other)
    )
    assert first == second
    assert len({*first, *second}) == 2
    assert first[0] != third[0]


def test_the_readmes_file_is_one_and_shows_the_defaults(tmp_path: Path) -> None:
    readme = (Path(llm_service.__file__).parent / "README.md").read_text("utf-8")
    shown = readme.split("```toml\n")[1].split("```")[0]
    (tmp_path / "secret").write_text("sk-in-a-file")
    gpu_1, gpu_2, openai = from_toml(tmp_path, shown.replace("/run/secrets/openai", str(tmp_path / "secret")))
    assert (key_of(gpu_1), key_of(openai)) == ("sk-of-the-gpu", "sk-in-a-file")
    assert (gpu_1.weight, openai.priority) == (2, 1)
    assert (gpu_2.weight, gpu_2.priority, gpu_2.models, gpu_2.usage_in_streams) == (1, 0, (), True)
