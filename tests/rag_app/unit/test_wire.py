"""The shapes that search, ask and generate share on the wire."""

import pytest
from pydantic import ValidationError

from rag_app.core.models import Filters, Hit, SearchQuery
from rag_app.core.wire import HitOut, Narrowed, checked_text
from rag_app.features.generation.schemas import AskRequest
from rag_app.features.search.schemas import SearchRequest
from service_kit.errors import NothingToDo, ValidationFailed
from tests.support.chunks import make_chunk


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\u00a0"])
def test_a_blank_text_is_nothing_to_do_and_is_named(text: str) -> None:
    with pytest.raises(NothingToDo, match="the question is blank"):
        checked_text("question", text, 8000)


def test_the_longest_text_is_taken_and_one_more_character_names_the_limit() -> None:
    assert checked_text("query", " " + "x" * 8000, 8000) == "x" * 8000
    with pytest.raises(ValidationFailed, match=r"the query has 100000 characters; the limit is 8000"):
        checked_text("query", "x" * 100_000, 8000)


def test_filters_reach_the_search_and_the_scope_does_not() -> None:
    body = Narrowed(repositories=["r"], ref="main", languages=["go"], paths=["src/"], symbols=["A.b"], limit=3)
    filters = Filters(("go",), ("src/",), ("A.b",))
    assert body.search_query("q") == SearchQuery("q", "main", filters, "hybrid", 3)


@pytest.mark.parametrize(("shape", "text"), [(SearchRequest, "query"), (AskRequest, "question")])
def test_a_filter_with_a_typo_is_refused_wherever_filters_are_taken(shape: type[Narrowed], text: str) -> None:
    assert shape.model_validate({text: "q", "languages": ["go"]}).languages == ["go"]
    with pytest.raises(ValidationError, match="language\n"):
        shape.model_validate({text: "q", "language": ["go"]})


def test_a_hit_tells_how_near_it_is_and_the_rest_where_asked() -> None:
    hit = Hit(make_chunk("a.py", "x"), "main", "c0ffee", 0.5, {"dense": 0.4, "sparse_rank": 2.0})
    assert HitOut.of(hit).scores == {"dense": 0.4}
    assert HitOut.of(hit, explain=True).scores == {"dense": 0.4, "sparse_rank": 2.0}
