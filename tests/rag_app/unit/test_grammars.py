import pytest

from rag_app.core import grammars
from rag_app.features.generation.code import _SUFFIXES, choose_language
from rag_app.features.indexing.chunking.languages import GRAMMARS


@pytest.mark.parametrize("language", sorted(grammars.LANGUAGES))
def test_every_grammar_is_installed_and_loads(language: str) -> None:
    assert grammars.parser(language).parse(b"").root_node.type


def test_every_outlined_language_has_its_grammar() -> None:
    assert {one.name for one in GRAMMARS.values()} <= grammars.LANGUAGES


def test_an_unknown_language_has_none() -> None:
    with pytest.raises(KeyError):
        grammars.grammar("klingon")


@pytest.mark.parametrize("suffix", sorted(_SUFFIXES))
def test_code_for_a_file_is_in_a_language_that_can_be_asked_for(suffix: str) -> None:
    assert choose_language(choose_language(None, f"a{suffix}", []), None, []) == _SUFFIXES[suffix]
