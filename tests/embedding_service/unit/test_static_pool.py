"""What a table makes of token ids."""

import numpy as np
import pytest

from embedding_service.backends.base import BackendFailed, Batch
from embedding_service.backends.static_table import StaticBackend

TABLE = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)


def test_a_text_is_the_sum_of_its_rows_each_by_the_root_of_its_count() -> None:
    (vector,) = StaticBackend(TABLE).run("embed", Batch([[3, 7, 3, 3, 3, 9]]))
    np.testing.assert_allclose(vector, 2 * TABLE[3] + TABLE[7] + TABLE[9], rtol=1e-5)


def test_a_text_has_the_same_vector_alone_and_anywhere_in_a_batch() -> None:
    rng = np.random.default_rng(1)
    batch = [rng.integers(0, 50, size).tolist() for size in (1, 49, 7, 2, 300, 1)]
    together = StaticBackend(TABLE).run("embed", Batch(batch))
    assert together.dtype == np.float32
    alone = np.concatenate([StaticBackend(TABLE).run("embed", Batch([ids])) for ids in batch])
    np.testing.assert_array_equal(together, alone)


def test_an_id_outside_of_the_table_is_a_failure_of_the_backend() -> None:
    with pytest.raises(BackendFailed, match="2 texts"):
        StaticBackend(TABLE).run("embed", Batch([[1], [50]]))
