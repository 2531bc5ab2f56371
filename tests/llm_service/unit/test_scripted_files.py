"""A script is a small file; what is wrong with one is told in words, where it stands."""

from pathlib import Path

import pytest

import llm_service
from llm_service.providers.scripted.script import Script, load_script


def _written(folder: Path, text: str, name: str = "script.toml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_an_empty_script_is_the_built_in_one(tmp_path: Path) -> None:
    assert load_script(_written(tmp_path, "")) == Script()


def test_the_same_script_in_toml_and_in_json_has_one_fingerprint(tmp_path: Path) -> None:
    toml = load_script(_written(tmp_path, '[[rules]]\ncontains = "a"\nsay = "b"'))
    json = load_script(_written(tmp_path, '{"rules": [{"say": "b", "contains": "a"}]}', "script.json"))
    assert toml.fingerprint == json.fingerprint
    assert toml.fingerprint.startswith("scripted-")


def test_a_script_that_says_something_else_has_another_fingerprint(tmp_path: Path) -> None:
    one = load_script(_written(tmp_path, '[[rules]]\nsay = "b"'))
    other = load_script(_written(tmp_path, '[[rules]]\nsay = "c"'))
    assert len({one.fingerprint, other.fingerprint, Script().fingerprint}) == 3


def test_a_file_that_is_not_there_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.toml cannot be read: No such file"):
        load_script(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("script.toml", "models = [", r"script\.toml is not TOML"),
        ("script.json", "{", r"script\.json is not JSON"),
        ("script.json", "[]", r"script\.json: .*dictionary"),
        ("script.yaml", "", r"script\.yaml: a script ends in \.toml or \.json"),
        ("script.toml", "modles = []", r"modles: .*not permitted"),
        ("script.toml", "models = []", r"models: .*at least 1"),
        ("script.toml", "between_tokens_s = -1", r"between_tokens_s: .*greater than or equal to 0"),
        ("script.toml", "first_token_s = inf", r"first_token_s: .*finite"),
        ("script.toml", 'max_model_len = "8192"', r"max_model_len: .*integer"),
        ("script.toml", '[[rules]]\nsay = "a"\n[[rules]]\nsaid = "a"', r"rules\[2\]\.said: .*not permitted"),
        ("script.toml", '[[rules]]\nmatches = "("', r"rules\[1\]\.matches: .*regular expression"),
        ("script.toml", '[[rules]]\nsay = "a"\nstatus = 500', r"rules\[1\]: say, status: a rule answers in one way"),
        ("script.toml", "[[rules]]\nstatus = 200", r"rules\[1\]\.status: .*400"),
        ("script.toml", "[[rules]]\nsilent_after = 1\ncut_after = 2", r"rules\[1\]: silent_after, cut_after: .*one"),
        ("script.toml", "[[rules]]\nretry_after_s = 1", r"rules\[1\]: retry_after_s needs a status"),
        ("script.toml", '[[rules]]\npath = "/v1/chat"', r"rules\[1\]\.path: '/v1/chat' .*/v1/chat/completions"),
        (
            "script.toml",
            '[[rules]]\npath = "/tokenize"\nsay = "a"',
            r"rules\[1\]: say: /tokenize answers with no such thing",
        ),
        (
            "script.toml",
            '[[rules]]\npath = "/v1/completions"\nmessage = {}',
            r"rules\[1\]: message: /v1/completions answers with no such thing",
        ),
        ("script.toml", '[[rules]]\nbody = "x"\ncut_after = 1', r"rules\[1\]: cut_after: .*only texts"),
    ],
)
def test_a_wrong_script_is_told_in_words(name: str, text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=told):
        load_script(_written(tmp_path, text, name))


def test_the_documented_script_is_one_and_shows_the_defaults(tmp_path: Path) -> None:
    page = (Path(llm_service.__file__).parents[1] / "docs" / "scripted-models.md").read_text("utf-8")
    shown = page.split("```toml\n")[1].split("```")[0]
    script = load_script(_written(tmp_path, shown))
    assert script.model_copy(update={"rules": []}) == Script()
    assert len(script.rules) == 5
