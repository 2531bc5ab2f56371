"""Logits to scores and order, weights to sparse lists: what TEI's clients see of them."""

import numpy as np
import pytest

from embedding_service.backends.base import BackendFailed
from embedding_service.features.embedding.scores import activated, best_first, ranks, similarities, sparse


def test_one_label_gets_a_sigmoid_and_several_a_softmax() -> None:
    single = activated(np.array([[0], [np.log(3)]], np.float32))
    np.testing.assert_allclose(single, [[0.5], [0.75]], atol=1e-6)
    several = activated(np.array([[0, np.log(2), np.log(5)]], np.float32))
    np.testing.assert_allclose(several, [[1 / 8, 2 / 8, 5 / 8]], atol=1e-6)


@pytest.mark.filterwarnings("error")
def test_logits_of_any_size_stay_probabilities() -> None:
    np.testing.assert_allclose(activated(np.array([[1e4], [-1e4]], np.float32)), [[1], [0]])
    np.testing.assert_allclose(activated(np.array([[1e4, 1e4, -1e4]], np.float32)), [[0.5, 0.5, 0]])


def test_the_best_is_first_and_of_equal_ones_the_last() -> None:
    assert best_first(np.array([0.2, 0.9, 0.2, 0.5], np.float32)).tolist() == [1, 3, 2, 0]


def test_a_score_that_is_no_number_is_a_failure_of_the_backend() -> None:
    with pytest.raises(BackendFailed, match="score is NaN"):
        ranks(np.array([0.1, np.nan], np.float32), None)


def test_a_vector_of_zeros_is_similar_to_nothing() -> None:
    vectors = np.array([[3, 4], [6, 8], [0, 0], [-4, 3]], np.float32)
    assert similarities(vectors) == pytest.approx([1, 0, 0], abs=1e-6)


def test_only_weights_that_are_not_zero_are_told() -> None:
    assert sparse(np.array([[0, 0.5, 0, 2], [0, 0, 0, 0]], np.float32)) == [
        [{"index": 1, "value": 0.5}, {"index": 3, "value": 2.0}],
        [],
    ]
