"""What is wrong with a file or a variable that names backends is told in words, and never with a secret in it."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_service.core.backends import Backend, backends_of
from tests.llm_service.unit.conftest import from_toml, given_settings, read

# What nobody may see: it stands where a secret was put by mistake.
PLANTED = "sk-planted-0123456789"

ONE = '[[backend]]\nname = "a"\nbase_url = "http://a/v1"\n'


def told(folder: Path, text: str | bytes) -> str:
    """What is said of a wrong file; never what nobody may see."""
    with pytest.raises(ValueError, match=r"backends\.toml") as caught:
        from_toml(folder, text)
    assert PLANTED not in str(caught.value)
    assert caught.value.__cause__ is None or PLANTED not in str(caught.value.__cause__)
    return str(caught.value)


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
