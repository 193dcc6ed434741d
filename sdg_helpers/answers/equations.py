"""Compare equations: two are equal if one is a multiple of the other."""

from __future__ import annotations

from itertools import zip_longest

from sdg_helpers.answers.evaluation import evaluate
from sdg_helpers.answers.numbers import Number, Undecided, format_digits, inexact, mp

_NOTHING = mp.mpf(10) ** -100


def equation_key(left: str, right: str) -> str:
    """Return a key of left = right: the differences of the sides at several points, relative to the first.

    Raises Undecided for an equation without variables, and for an identity, which says nothing.
    """
    sides = [[inexact(value) for value in evaluate(side)] for side in (left, right)]
    if max(map(len, sides)) == 1:
        raise Undecided
    differences = [
        first - second for first, second in zip_longest(*(_repeat(side, max(map(len, sides))) for side in sides))
    ]
    if any(abs(difference) < _NOTHING for difference in differences):
        raise Undecided
    return "0=" + "|".join(format_digits(difference / differences[0]) for difference in differences[1:])


def _repeat(values: list[Number], count: int) -> list[Number]:
    return values * count if len(values) == 1 else values
