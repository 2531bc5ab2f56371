"""The ranking's weights: another value for some of them, within bounds, and the value that takes a signal out."""

import math

import pytest

from rag_app.features.search.understanding import understood
from rag_app.features.search.weights import Weights, neutral
from service_kit.errors import ValidationFailed


def test_some_weights_are_overridden_and_the_others_stay() -> None:
    changed = Weights().overridden({"dense_share": 0.2, "per_file": 0})
    assert changed.named() == {**Weights().named(), "dense_share": 0.2, "per_file": 0}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"dense_shear": 0.2}, "no weight is called 'dense_shear'; there are dense_share"),
        ({"dense_share": 1.01}, "dense_share is 1.01; it may be 0 to 1"),
        ({"test_weight": -0.1}, "test_weight is -0.1; it may be 0 to 1"),
        ({"dense_share": math.nan}, "dense_share is nan"),
        ({"per_file": math.inf}, "per_file is inf"),
        ({"per_file": 0.5}, "per_file is 0.5; it is a whole number"),
    ],
)
def test_what_is_no_weight_is_refused_by_name(values: dict[str, float], says: str) -> None:
    with pytest.raises(ValidationFailed, match=says):
        Weights().overridden(values)


def test_each_weight_has_a_neutral_value_within_its_bounds() -> None:
    assert neutral().keys() == Weights().named().keys()
    assert Weights().overridden(neutral()).named() == neutral()


def test_the_dense_arm_weighs_more_where_it_is_sure_or_asked_in_a_sentence_and_less_for_a_message() -> None:
    weights = Weights()
    message, words = understood("OSError: no such file"), understood("retry backoff policy limits jitter")
    sentence = understood("what happens to the jobs that are not done when it is stopped")
    assert sentence.is_prose
    assert not words.is_prose
    shares = [
        weights.dense_share_of(message, is_sure=True),
        weights.dense_share_of(words, is_sure=False),
        weights.dense_share_of(sentence, is_sure=False),
        weights.dense_share_of(words, is_sure=True),
    ]
    assert shares == sorted(set(shares))
    assert weights.dense_share_of(sentence, is_sure=True) == shares[-1] <= 1
    out = weights.overridden({"dense_share": 0})
    assert out.dense_share_of(sentence, is_sure=True) == out.dense_share_of(message, is_sure=False) == 0
