"""Read one value of an answer, a number or an expression, as a key."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from sdg_helpers.answers.evaluation import evaluate
from sdg_helpers.answers.numbers import Undecided, as_fraction, format_digits
from sdg_helpers.answers.plain_numbers import plain_number

_RANGE_OR_SIZE = re.compile(r"\d[\d.]*(?:-\d[\d.]*)+|\d[\d.]*(?:\\times\s?\d[\d.]*)+|\d[\d.]*/\d[\d./]*")
_DOT_PRODUCT = re.compile(r"(\\(?:mathbf|vec)\{[A-Za-z]\})\\cdot(\\(?:mathbf|vec)\{[A-Za-z]\})")
_COMPLEX = re.compile(r"[+-]?[\d.]*[+-][\d.]*j")
_CONSTANT = re.compile(r"(?<=\+)[cC](?=$|[+-])|^[cC](?=[+-])")
_COMMANDS = re.compile(r"\\[A-Za-z]+")


class Key(NamedTuple):
    """Answers with equal `free` are equal if the order of lists and sets doesn't matter; with equal `ordered`, even if
    it does."""

    free: str
    ordered: str


def unify_letters(text: str) -> str:
    """Write the constant of integration as C: `x^2+c`. Write `2+3j` with i."""
    if _COMPLEX.fullmatch(text):
        return text.replace("j", "i")
    letters = re.findall("[A-Za-z]", _COMMANDS.sub("", text))
    others = set(letters) - {"c", "C", "e"}
    if len(others) == 1 and letters.count("c") + letters.count("C") == 1:
        return _CONSTANT.sub("C", text)
    return text


def read_value(text: str) -> Key:
    """Return the key of one number or expression. Raises Undecided, or an ArithmeticError or ValueError."""
    product = _DOT_PRODUCT.fullmatch(text)
    if product:
        return Key(*(r"\cdot".join(sorted(product.groups())),) * 2)
    number = plain_number(text)
    if number is not None:
        if number.also is not None or number.padded:
            raise Undecided
        return constant_key(number.value)
    if _RANGE_OR_SIZE.fullmatch(text):  # `3-5` may be a range, `3 \times 4` a size
        raise Undecided
    values = evaluate(text)
    exact = as_fraction(values[0]) if len(values) == 1 else None
    if exact is not None:
        return constant_key(exact)
    return Key(*("≈" + "|".join(map(format_digits, values)),) * 2)


def constant_key(value: Fraction) -> Key:
    """Return the key of an exact number."""
    return Key(*(f"={value}",) * 2)
