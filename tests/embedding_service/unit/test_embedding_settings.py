"""Settings by TEI's names, from the environment, and what cannot be."""

import pytest
from pydantic import ValidationError

from embedding_service.core.settings import DEFAULT_MODEL, EmbeddingSettings


def test_settings_come_from_the_environment_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in EmbeddingSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    assert EmbeddingSettings(_env_file=None).embedding_model == DEFAULT_MODEL
    monkeypatch.setenv("EMBEDDING_MODEL", "intfloat/e5-small")
    monkeypatch.setenv("MAX_CLIENT_BATCH_SIZE", "32")
    monkeypatch.setenv("AUTO_TRUNCATE", "false")
    monkeypatch.setenv("DATA_DIR", "")  # an empty variable counts as unset
    settings = EmbeddingSettings(_env_file=None)
    assert (settings.embedding_model, settings.max_client_batch_size) == ("intfloat/e5-small", 32)
    assert settings.auto_truncate is False
    assert settings.data_dir.is_absolute()


def test_a_batch_limit_that_could_never_be_served_is_refused_with_both_names() -> None:
    with pytest.raises(ValidationError, match=r"MAX_CLIENT_BATCH_SIZE \(64\) is over MAX_CONCURRENT_REQUESTS \(8\)"):
        EmbeddingSettings(_env_file=None, max_client_batch_size=64, max_concurrent_requests=8)


@pytest.mark.parametrize("backend", ["torch", "ONNX", ""])
def test_an_unknown_backend_is_refused(backend: str) -> None:
    with pytest.raises(ValidationError, match="'auto', 'onnx', 'sentence_transformers' or 'static'"):
        EmbeddingSettings(_env_file=None, embedding_backend=backend)
