"""The server with canned answers, which the page and the command line are tested against, keeps to the real shapes."""

import httpx
import pytest
from pydantic import BaseModel

from rag_app.features.generation.schemas import AnswerOut, GeneratedOut
from tests.support.fake_rag import FakeRag
from tests.support.rag import parsed


def dumped(shape: type[BaseModel], body: object) -> object:
    """The body as the real server would write it: fields that it does not know are gone, absent ones fail."""
    return shape.model_validate(body).model_dump(exclude_none=True)


@pytest.fixture
def http() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(FakeRag().app()), base_url="http://rag")


async def test_canned_answers_and_code_have_the_fields_of_the_real_ones(http: httpx.AsyncClient) -> None:
    answer = (await http.post("/v1/ask", json={"question": "x"})).json()
    assert answer == dumped(AnswerOut, answer)
    code = (await http.post("/v1/generate", json={"instruction": "x"})).json()
    assert code == dumped(GeneratedOut, code)


async def test_a_canned_stream_ends_with_the_real_shape(http: httpx.AsyncClient) -> None:
    events = parsed((await http.post("/v1/ask", json={"question": "x", "stream": True})).text)
    final = dict(events)["final_answer"]
    assert final == dumped(AnswerOut, final)
