"""Which servers stand behind the gateway: from a file, from one variable or from two; and what is wrong with a file."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import llm_service
from llm_service.core.backends import Backend, backends_of
from llm_service.core.settings import LlmSettings
from llm_service.core.watched import read_file

ENV = {"GPU_KEY": "sk-of-the-gpu"}

# What nobody may see: it stands where a secret was put by mistake.
PLANTED = "sk-planted-0123456789"

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


def given_settings(**values: Any) -> LlmSettings:
    return LlmSettings(_env_file=None, **values)


def read(**values: Any) -> tuple[Backend, ...]:
    return backends_of(given_settings(**values), environment=ENV)


def from_toml(folder: Path, text: str | bytes) -> tuple[Backend, ...]:
    path = folder / "backends.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read(llm_backends_file=path)


def key_of(backend: Backend) -> str | None:
    return None if backend.key is None else backend.key.get_secret_value()


def told(folder: Path, text: str | bytes) -> str:
    """What is said of a wrong file; never what nobody may see."""
    with pytest.raises(ValueError, match=r"backends\.toml") as caught:
        from_toml(folder, text)
    assert PLANTED not in str(caught.value)
    assert caught.value.__cause__ is None or PLANTED not in str(caught.value.__cause__)
    return str(caught.value)


# --- where they are named -----------------------------------------------------------------------------------------


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


# --- what is wrong with them --------------------------------------------------------------------------------------

ONE = '[[backend]]\nname = "a"\nbase_url = "http://a/v1"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a backend is a table [[backend]], and there must be one at least"),
        ('[backend]\nname = "a"', "a backend is a table [[backend]]"),
        ("backend = []", "there must be one at least"),
        ("backend = 3", "a backend is a table [[backend]]"),
        ('[[backends]]\nname = "a"', "a backend is a table [[backend]]"),
        (ONE + "[other]\n", "a backend is a table [[backend]]"),
        ("backend = [1]", "backend 1: it: Input should be"),
        (ONE + f'key = "{PLANTED}"', "backend 1: key: Extra inputs are not permitted"),
        (ONE + '[[backend]]\nname = "b"', "backend 2: base_url: Field required"),
        (ONE + ONE, "2 backends have the name 'a'"),
        (ONE + 'key_env = "NOWHERE"', "backend 'a': the variable that key_env names is not set or empty"),
        (ONE + f'key_env = "{PLANTED}"', "backend 'a': the variable that key_env names is not set or empty"),
        (ONE + 'key_env = ""', "key_env: String should have at least 1 character"),
        (ONE + 'key_env = "A"\nkey_file = "b"', "key_env and key_file are both set; keep one"),
        (ONE + 'key_file = "/nowhere/secret"', "backend 'a', key_file: cannot read /nowhere/secret: No such file"),
        (ONE + 'key_file = "/"', "cannot read /"),
        (ONE + 'key_file = "a\\u0000b"', "key_file"),
        (ONE + "weight = 0", "weight: Input should be greater than 0"),
        (ONE + "weight = -1", "weight"),
        (ONE + "weight = 1001", "weight: Input should be less than or equal to 1000"),
        (ONE + "weight = nan", "weight"),
        (ONE + "weight = inf", "weight"),
        (ONE + f'weight = "{PLANTED}"', "weight: Input should be a valid number"),
        (ONE + "priority = 1.5", "priority"),
        (ONE + 'usage_in_streams = "perhaps"', "usage_in_streams"),
        (ONE + 'models = "m"', "models"),
        (ONE + "models = [1]", "models.0: Input should be a valid string"),
        (ONE + 'models = [""]', "models.0: String should have at least 1 character"),
        (ONE + 'aliases = ["m"]', "aliases"),
        (ONE + 'aliases = {a = ""}', "aliases.a: String should have at least 1 character"),
        (ONE + 'aliases = {"" = "m"}', "String should have at least 1 character"),
        (ONE + "\x00", "is not TOML"),
        (f"[[backend]]\nkey_env = {PLANTED}", "is not TOML: Invalid value (at line 2, column 11)"),
        ("x = " + "[" * 100_000, "is nested too deeply"),
        ("x = " + "1" * 5_000, "is not TOML"),
        (b"\xff\xfe", "is not UTF-8 at byte 0"),
    ],
)
def test_a_wrong_file_is_told_in_words_with_its_place(tmp_path: Path, text: str | bytes, words: str) -> None:
    message = told(tmp_path, text)
    assert words in message
    assert len(message) < 500


@pytest.mark.parametrize("name", ["", "-a", "a b", "a\\nb", "ä", "x" * 65, 'a"', "{a}"])
def test_a_name_that_is_no_label_is_refused(tmp_path: Path, name: str) -> None:
    escaped = name.replace('"', '\\"')
    message = told(tmp_path, f'[[backend]]\nname = "{escaped}"\nbase_url = "http://a/v1"')
    assert "backend 1: name: String should match pattern" in message


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gpu:8080/v1",
        "ftp://gpu/v1",
        "http://",
        "http:///v1",
        "http://[::1/v1",
        "http://gpu:port/v1",
        "http://gpu:99999/v1",
        "http://gpu/v1 ",
        "http://gpu /v1",
        "http://gpu/v1\\n",
        "http://gpu\\t/v1",
        f"http://gpu/v1?key={PLANTED}",
        f"http://gpu/v1#{PLANTED}",
        f"http://me:{PLANTED}@gpu/v1",
        f"http://{PLANTED}@gpu/v1",
    ],
)
def test_an_address_that_cannot_be_called_is_refused(tmp_path: Path, url: str) -> None:
    assert "backend 1: base_url: Value error" in told(tmp_path, f'[[backend]]\nname = "a"\nbase_url = "{url}"')
    with pytest.raises(ValueError, match="LLM_BASE_URL"):
        given_settings(llm_base_url=url.replace("\\n", "\n").replace("\\t", "\t"))


@pytest.mark.parametrize(
    "url", ["http://[::1]:8080/v1", "https://host", "http://gpu:8080/a/b/v1", "http://10.0.0.1/v1"]
)
def test_any_other_address_is_taken(tmp_path: Path, url: str) -> None:
    (backend,) = from_toml(tmp_path, f'[[backend]]\nname = "a"\nbase_url = "{url}/"')
    assert backend.base_url == url


@pytest.mark.parametrize("value", ["sk-planted\nsk-planted", "sk planted", "sk-plänted", "sk\x00", " "])
def test_a_key_that_no_header_can_hold_is_refused_at_the_start(tmp_path: Path, value: str) -> None:
    path = tmp_path / "backends.toml"
    path.write_text(ONE + 'key_env = "GPU_KEY"')
    of_a_backend = (given_settings(llm_backends_file=path), "GPU_KEY")
    of_a_url = (given_settings(llm_base_url="http://a/v1", llm_upstream_api_key=value), "LLM_UPSTREAM_API_KEY")
    of_openai = (given_settings(openai_api_key=value), "OPENAI_API_KEY")
    for from_settings, name in (of_a_backend, of_a_url, of_openai):
        with pytest.raises(ValueError, match=f"{name} .*no key has") as caught:
            backends_of(from_settings, environment={"GPU_KEY": value})
        assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f'[{{"name": "a", "key": "{PLANTED}"', "LLM_BACKENDS is not JSON"),
        ("{}", "LLM_BACKENDS: a backend is a table"),
        ("[]", "there must be one at least"),
        (f'["{PLANTED}"]', "LLM_BACKENDS, backend 1: it: Input should be"),
        ('[{"name": "a"}]', "LLM_BACKENDS, backend 1: base_url: Field required"),
        (f'[{{"name": "a", "base_url": "http://a/v1", "key": "{PLANTED}"}}]', "key: Extra inputs are not permitted"),
        ("[" * 10_000, "LLM_BACKENDS is not JSON"),
    ],
)
def test_a_wrong_list_is_told_by_its_variable(text: str, words: str) -> None:
    with pytest.raises(ValueError, match="LLM_BACKENDS") as caught:
        read(llm_backends=text)
    assert words in str(caught.value)
    assert PLANTED not in str(caught.value)


def test_a_file_that_is_not_there_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read .*nowhere\.toml: No such file"):
        read(llm_backends_file=tmp_path / "nowhere.toml")


# --- junk ---------------------------------------------------------------------------------------------------------

_FIELDS = ["name", "base_url", "key_env", "key_file", "models", "aliases", "weight", "priority", "usage_in_streams"]
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["http://a/v1", "http://[", "a", "GPU_KEY", "/dev/null", "/proc/self/mem", "\x00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_TABLES = st.lists(st.dictionaries(st.sampled_from(_FIELDS) | st.text(max_size=5), _VALUES, max_size=9), max_size=3)


def whatever(make: Any) -> None:
    try:
        backends = make()
    except ValueError:
        return
    assert all(isinstance(backend, Backend) and hash(backend) is not None for backend in backends)


@given(_TABLES | _VALUES)
@settings(max_examples=300, deadline=None)
def test_junk_in_tables_is_a_value_error_or_a_set_of_backends(tables: Any) -> None:
    try:
        text = orjson.dumps(tables).decode()
    except TypeError:  # an integer over 64 bits
        return
    whatever(lambda: read(llm_backends=text))


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: (ONE + text).encode("utf-8", "ignore")))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_junk_in_a_file_is_a_value_error_or_a_set_of_backends(tmp_path: Path, content: bytes) -> None:
    whatever(lambda: from_toml(tmp_path, content))
