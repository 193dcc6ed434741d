r"""Check the arithmetic that a solution writes out: `4 + 8 + 15 = 37` is wrong, whoever says so.

Only chains of plain numbers, joined by = and with nothing else in them, are read; every doubt favours the solution.
A solver that repeats one mistake for every seed agrees with itself, but its sums give it away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

from sdg_helpers.answers.evaluation import evaluate
from sdg_helpers.answers.numbers import Undecided

WRONG_EQUATION_RULES = 1  # raise it when a rule changes
_MAX_LENGTH = 400  # characters of a chain
_FLOAT_PLACES = 9  # what follows them may be the noise of a calculator
_SPELLINGS = [
    (
        re.compile(r"<<[^<>]{0,200}>>|\\(?:left|right)(?![A-Za-z])|\\[,;!]|\\?\$|[€£]|\*\*"),
        "",
    ),  # calculator notes, markup
    (re.compile(r"\\[dt]?frac\{(\d{1,20})\}\{(\d{1,20})\}"), r"(\1/\2)"),
    (re.compile(r"\\times(?![A-Za-z])|\\cdot(?![A-Za-z])|[×·∗]|(?<=[\d)]) x (?=[\d(])"), " * "),
    (re.compile(r"\\div(?![A-Za-z])|÷"), " / "),
    (re.compile(r"[−–]"), "-"),
    (re.compile(r"(?<=\d),(?=\d{3}(?!\d))"), ""),
]
_CHAIN = re.compile(r"[\d.()+\-*/^= ]+")
_OPERATION = re.compile(r"\d\s*[-+*/^]")
_NUMBER = re.compile(r"\s*(\d+)(?:\.(\d+))?\s*")
_POWER = re.compile(r"\^\s*(\d{1,3})(?!\d)")
# What comes before a chain and takes its first number.
_BELONGS = re.compile(r"(?:[<>≤≥≈%!√]|\\[A-Za-z]+|\b(?:sin|cos|tan|log|ln|root of|remainder|mod|minus|plus|times))\Z")
# What follows a chain and changes what it says: another notation, a remainder, a factor, a unit that divides.
_CHANGES = re.compile(
    r"[\w%!:\\^_{\[]| ?(?:\(?\\?[bp]?mod\b|rem|[rR]\b|(?:in )?base\b|in binary|[%!:\\^_{\[<>≈≠]|,\s?\d)"
)


def wrong_equations(text: str) -> list[str]:
    """Return the equations in a solution that are false and not corrected later, as they are written.

    An equation between numbers is false if both sides differ by more than the rounding that the right side shows. It is
    corrected if the last equation with the same left side is true. `5 + 3 = 8 * 2 = 16`, which takes the result along,
    counts as true.
    """
    last: dict[str, tuple[bool, str]] = {}
    for left, right in _equations(text):
        truth = _holds(left, right)
        if truth is not None:
            last["".join(left.split())] = truth, f"{left.strip()} = {right.strip()}"
    return [equation for truth, equation in last.values() if not truth]


def _equations(text: str) -> Iterator[tuple[str, str]]:
    """Yield the neighbours in chains of expressions, of which the left one is an operation."""
    for pattern, replacement in _SPELLINGS:
        text = pattern.sub(replacement, text)
    for match in _CHAIN.finditer(text):
        chain = match[0]
        if "=" not in chain or len(chain) > _MAX_LENGTH:
            continue
        before, after = text[max(0, match.start() - 12) : match.start()], text[match.end() : match.end() + 12]
        parts = chain.split("=")
        if not _begins_alone(before, parts[0]):
            parts[0] = ""
        if not _ends_alone(parts[-1], after):
            parts[-1] = ""
        for left, right in pairwise(part.strip().rstrip(".").rstrip() for part in parts):
            if left and right and _OPERATION.search(left):
                yield left, right


def _begins_alone(before: str, first: str) -> bool:
    """Return whether nothing before a chain belongs to its first expression: a variable, a bracket, an operator."""
    start = first.lstrip()
    if not start or not (start[0].isdigit() or start[0] == "("):
        return False
    return not _BELONGS.search(before) and (first[0] == " " or before[-1:] in ("", *"\n:,;[{~"))


def _ends_alone(last: str, after: str) -> bool:
    return (
        bool(last.strip())
        and last.rstrip()[-1] not in "+-*/^("
        and not _CHANGES.match(last[len(last.rstrip()) :] + after)
    )


def _holds(left: str, right: str) -> bool | None:
    """Return whether left = right, None if that cannot be read."""
    try:
        one, other = _value(left), _value(right)
    except (Undecided, ArithmeticError, ValueError):
        return None
    if one == other:
        return True
    number = _NUMBER.match(right)
    if number is None:
        return False
    if number.end() < len(right):  # `5 + 3 = 8 * 2`: the result is taken along
        other = Fraction(number[0].strip())
    return abs(one - other) <= _rounding(number, left)


def _rounding(number: re.Match[str], left: str) -> Fraction:
    """Return how far a number may be from the exact value: a unit of its last place, where something was divided."""
    if number[2]:
        return Fraction(1, 10 ** min(len(number[2]), _FLOAT_PLACES))
    return Fraction(1) if "/" in left or "." in left else Fraction(0)


def _value(text: str) -> Fraction:
    value = evaluate(_POWER.sub(r"^{\1}", text))[0]
    if not isinstance(value, Fraction):
        raise Undecided
    return value
