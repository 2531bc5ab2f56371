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
    assert body.search_query("q") == SearchQuery("q", "main", filters, "hybrid", 3, is_scoped=True)
    assert not Narrowed(limit=3).search_query("q").is_scoped


@pytest.mark.parametrize(("shape", "text"), [(SearchRequest, "query"), (AskRequest, "question")])
def test_a_filter_with_a_typo_is_refused_wherever_filters_are_taken(shape: type[Narrowed], text: str) -> None:
    assert shape.model_validate({text: "q", "languages": ["go"]}).languages == ["go"]
    with pytest.raises(ValidationError, match="language\n"):
        shape.model_validate({text: "q", "language": ["go"]})


@pytest.mark.parametrize(
    ("field", "most"), [("repositories", 100), ("languages", 100), ("paths", 4_096), ("symbols", 500)]
)
def test_a_filter_that_is_longer_than_any_name_is_refused(field: str, most: int) -> None:
    assert getattr(Narrowed.model_validate({field: ["x" * most]}), field) == ["x" * most]
    with pytest.raises(ValidationError, match=f"{field}.0\n.*at most {most} characters"):
        Narrowed.model_validate({field: ["x" * (most + 1)]})


def test_a_ref_is_as_long_as_where_it_is_registered() -> None:
    assert Narrowed(ref="x" * 250).ref == "x" * 250
    with pytest.raises(ValidationError, match="at most 250 characters"):
        Narrowed(ref="x" * 251)


def test_a_hit_tells_how_near_it_is_and_the_rest_where_asked() -> None:
    hit = Hit(make_chunk("a.py", "x"), "main", "c0ffee", 0.5, {"dense": 0.4, "sparse_rank": 2.0})
    assert HitOut.of(hit).scores == {"dense": 0.4}
    assert HitOut.of(hit, explain=True).scores == {"dense": 0.4, "sparse_rank": 2.0}
