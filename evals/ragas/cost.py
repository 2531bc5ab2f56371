"""What a run costs: tokens by whom they went to, and money by a table of prices. Pure."""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Prices are told by the million, as vendors do.
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """Of a million tokens, in any currency, the same for all."""

    prompt: float
    completion: float


def price(word: str) -> tuple[str, Price]:
    """An option's value, such as gpt-x=0.15/0.60, as (model, its price). Fails as argparse wants it."""
    model, _, prices = word.rpartition("=")
    prompt, _, completion = prices.partition("/")
    try:
        return _named(model), Price(_amount(prompt), _amount(completion or "0"))
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{word!r} is not MODEL=PROMPT/COMPLETION, of a million tokens") from exc


def total(usages: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """The sum by name, names in order: {"answer completion": n, "judge prompt": n, …}."""
    summed: Counter[str] = Counter()
    for usage in usages:
        summed.update(usage)
    return dict(sorted(summed.items()))


def money(
    tokens: Mapping[str, int], models: Mapping[str, str], prices: Mapping[str, Price]
) -> tuple[float | None, list[str]]:
    """(what the tokens cost at the prices known, None where none is; who used tokens and has no price, in order).

    models: who ("judge", "answer", "embedding") -> its model.
    """
    used = {name: count for name, count in tokens.items() if count}
    known = {name: prices[models[who]] for name in used if models.get(who := name.split(" ")[0], "") in prices}
    spent = sum(
        count * (known[name].prompt if name.endswith("prompt") else known[name].completion) / _MILLION
        for name, count in used.items()
        if name in known
    )
    without = sorted({name.split(" ")[0] for name in used if name not in known})
    return (spent if known else None), without


def _named(model: str) -> str:
    if not model:
        raise ValueError(model)
    return model


def _amount(word: str) -> float:
    amount = float(word)
    if not 0 <= amount < float("inf"):
        raise ValueError(word)
    return amount
