"""What a search leaves out of its questions to the store changes no answer: 300 random queries, over real HTTP."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rag_app.core.models import EmbeddedChunk, ModelIdentity, SparseVector
from rag_app.core.settings import RagSettings
from rag_app.db.chunks import Arm, ChunkStore, Found
from rag_app.db.filters import Selection
from tests.support.chunks import make_chunk
from tests.support.live import live
from vector_db.core.settings import VectorDbSettings
from vector_db.main import create_app

DIM, TERMS, CHUNKS, QUERIES = 24, 60, 900, 300
BOTH = Selection(frozenset({"r0", "r1"}), frozenset({"base"}))


def unit(chance: random.Random) -> tuple[float, ...]:
    row = [chance.gauss(0, 1) for _ in range(DIM)]
    length = sum(value * value for value in row) ** 0.5
    return tuple(value / length for value in row)


def words(chance: random.Random, count: int) -> SparseVector:
    return SparseVector(
        tuple(sorted(chance.sample(range(TERMS), count))), tuple(chance.uniform(0.5, 2) for _ in range(count))
    )


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[tuple[ChunkStore, list[ChunkStore]]]:
    """One store that knows chunks, and fresh ones to compare it with."""
    chance = random.Random(1)
    with live(create_app(VectorDbSettings(_env_file=None, vector_db_dir=tmp_path))) as url:
        at = urlsplit(url)
        settings = RagSettings(_env_file=None, qdrant_host=at.hostname or "", qdrant_port=at.port or 0)
        made = [ChunkStore(settings) for _ in range(QUERIES + 1)]
        await made[0].prepare(ModelIdentity("toy", DIM, 256, "a" * 64))
        await made[0].upsert(
            [
                EmbeddedChunk(
                    make_chunk(f"f{number}.py", f"text {number}", repository=f"r{number % 2}", symbol=f"s{number}"),
                    unit(chance),
                    words(chance, 8),
                )
                for number in range(CHUNKS)
            ]
        )
        yield made[0], made[1:]
        for store in made:
            await store.close()


def told(arms: list[list[Found]]) -> list[list[tuple[str, str, float]]]:
    return [[(found.chunk.id, found.chunk.symbol, found.score) for found in arm] for arm in arms]


@pytest.mark.parametrize("searched", [BOTH, replace(BOTH, repositories=frozenset({"r1"}))], ids=["all", "strangers"])
async def test_known_candidates_and_whole_selections_find_what_asking_for_all_finds(
    stores: tuple[ChunkStore, list[ChunkStore]], searched: Selection
) -> None:
    knowing, fresh = stores
    chance = random.Random(2)
    for store in fresh:
        arms = [Arm(unit(chance), 100), Arm(words(chance, 5), 100)]
        short = await knowing.query(arms, replace(searched, is_whole=True))
        assert told(short) == told(await store.query(arms, searched))
    assert knowing._light.knows_most
