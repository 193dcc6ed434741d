"""Answers that are one plain number, and when two of them are surely the same or surely different."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_LENGTH = 300  # characters
_MAX_POWER = 400  # of ten, in scientific notation
_UNITS_OF_TIME = (60, 3600)  # minutes and hours; powers of ten are looked for besides

_UNSIGNED = r"(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d*)?|\.\d+"
_INTEGER = re.compile(r"[+-]?(?:0|[1-9]\d*)", re.ASCII)
_NUMBER = re.compile(
    rf"([+-]?)({_UNSIGNED})(?:(?:\\times|\\cdot|\*)10\^\{{?(-?\d{{1,3}})\}}?|[eE]([+-]?\d{{1,3}}))?", re.ASCII
)
_FRACTION = re.compile(
    rf"([+-]?)(?:\\frac\{{([+-]?)({_UNSIGNED})\}}\{{({_UNSIGNED})\}}|({_UNSIGNED})/({_UNSIGNED}))", re.ASCII
)
_ROUNDING = re.compile(r"round|approx|nearest|estimat|decimal|significant|about how", re.IGNORECASE)
_CHOICES = re.compile(
    r"①|which of the following|multiple.choice|options?\s*:|\bchoose(?:\s*[.:]| one\b| the "
    r"(?:correct|right|best|true|answer|option|number))",
    re.IGNORECASE,
)
_FIRST, _SECOND = (
    re.compile(
        rf"(?<!\w)[(\[] ?{n} ?[)\]]|[（【] ?{n} ?[）】]|(?:^|[\s:;：；]){n} ?[)）、]|"
        rf"(?:^|\n|  )[ \t]{{0,8}}{n} ?\.[ \t]|\\text\{{ ?{n} ?[.)、]"
    )
    for n in (1, 2)
)
_GROUP = re.compile(r"\((?! ?[12] ?\))[^():;]*\)")  # the `1)` of `(3 + 1)` begins no choice


@dataclass(frozen=True)
class PlainNumber:
    """value: exact. step: size of the last written place of a decimal (0 for integers and fractions).
    also: what it would be if its comma marked decimals (`1,234`), else None."""

    value: Fraction
    step: Fraction = Fraction(0)
    also: Fraction | None = None


def plain_number(tidied: str) -> PlainNumber | None:
    r"""The number that an answer is, from its tidied spelling; None for anything with more to it.

    Integers, decimals, `a/b`, `\frac{a}{b}`, thousands commas, signs, scientific notation. No unit, percent sign, mixed
    number, arithmetic, leading zero (it may be a code or digits) or number of unbounded size.
    """
    if len(tidied) > MAX_LENGTH:
        return None
    if _INTEGER.fullmatch(tidied):
        return PlainNumber(Fraction(int(tidied)))
    number = _NUMBER.fullmatch(tidied)
    if number:
        return _decimal(*number.groups())
    fraction = _FRACTION.fullmatch(tidied)
    return _fraction(fraction) if fraction else None


def _decimal(sign: str, digits: str, power: str | None, exponent: str | None) -> PlainNumber | None:
    exponent = int(power or exponent or 0)
    if re.match(r"0[\d,]", digits) or abs(exponent) > _MAX_POWER:
        return None
    factor = (-1 if sign == "-" else 1) * Fraction(10) ** exponent
    whole, point, places = digits.partition(".")
    plain = digits.replace(",", "")
    value = Fraction(plain + "0" if plain.endswith(".") else plain) * factor
    inexact = bool(places) or exponent != 0
    step = Fraction(1, 10 ** len(places)) * abs(factor) if inexact else Fraction(0)
    also = Fraction(digits.replace(",", ".")) * factor if digits.count(",") == 1 and not point else None
    return PlainNumber(value, step, also)


def _fraction(match: re.Match[str]) -> PlainNumber | None:
    sign, inner_sign, *parts = match.groups()
    above, below = (part for part in parts if part is not None)
    top, bottom = _decimal("", above, None, None), _decimal("", below, None, None)
    if top is None or bottom is None or top.also is not None or bottom.also is not None or bottom.value == 0:
        return None
    value = top.value / bottom.value
    return PlainNumber(-value if (sign == "-") != (inner_sign == "-") else value)


def surely_equal(a: PlainNumber, b: PlainNumber) -> bool:
    """Equal, exactly."""
    return a.value == b.value


def surely_different(a: PlainNumber, b: PlainNumber, problem: str = "") -> bool:
    """Different, and nobody could take one for the other.

    Not sure when rounding may be in play, when the ratio is that of two units (powers of ten: percent, metres; time),
    when only the sign differs, when a comma may mark thousands or decimals, or when the problem speaks of rounding or
    numbers its choices (then `3` may be the third).
    """
    outside = _GROUP.sub("", problem)
    if _CHOICES.search(problem) or (_FIRST.search(outside) and _SECOND.search(outside)):
        return False
    may_round = bool(_ROUNDING.search(problem))
    return not any(
        _confusable(x, y, a, b, may_round)
        for x in (a.value, a.also)
        if x is not None
        for y in (b.value, b.also)
        if y is not None
    )


def _confusable(x: Fraction, y: Fraction, a: PlainNumber, b: PlainNumber, may_round: bool) -> bool:
    difference, size = abs(x - y), max(abs(x), abs(y))
    if x == y or x * y < 0:
        return True
    if (a.step or b.step) and difference <= max(_coarseness(a), _coarseness(b), size / 100):
        return True
    if may_round and difference <= max(size / 10, 1):
        return True
    if x == 0 or y == 0:
        return False
    rounded = bool(a.step or b.step) or may_round
    return _differ_by_a_unit(x, y, a, b, rounded) if abs(x) < abs(y) else _differ_by_a_unit(y, x, b, a, rounded)


def _coarseness(number: PlainNumber) -> Fraction:
    """To what precision a number may have been rounded when the other is a decimal."""
    return number.step or Fraction(number.value.denominator == 1)


def _differ_by_a_unit(x: Fraction, y: Fraction, a: PlainNumber, b: PlainNumber, rounded: bool) -> bool:
    """Whether x, the smaller, may be y in another unit: exactly, or but for rounding (`0.17` and `16.67` percent)."""
    ratio = y / x
    digits = len(str(int(ratio)))
    units = (*_UNITS_OF_TIME, 10 ** (digits - 1), 10**digits)
    if not rounded:
        return ratio in units
    slack = max(abs(y) / 100, _coarseness(b) / 2)
    return any(abs(x * unit - y) <= max(slack, a.step * unit / 2) for unit in units)
