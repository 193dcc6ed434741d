"""Read an answer that is one plain number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_LENGTH = 300  # characters
_MAX_POWER = 400  # of ten, in scientific notation

_UNSIGNED = r"(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d*)?|\.\d+"
_INTEGER = re.compile(r"[+-]?(?:0|[1-9]\d*)", re.ASCII)
_POWER = r"10\^\{?(-?\d{1,3})\}?"
_NUMBER = re.compile(rf"([+-]?)({_UNSIGNED})(?:(?:\\times|\\cdot|\*)\s?{_POWER}|[eE]([+-]?\d{{1,3}}))?", re.ASCII)
_POWER_OF_TEN = re.compile(rf"([+-]?){_POWER}", re.ASCII)
_FRACTION = re.compile(
    rf"([+-]?)(?:\\frac\{{([+-]?)({_UNSIGNED})\}}\{{({_UNSIGNED})\}}|({_UNSIGNED})/({_UNSIGNED}))", re.ASCII
)
_MIXED = re.compile(r"([+-]?)([1-9]\d*)(?:\s([1-9]\d*)/([1-9]\d*)|\s?\\frac\{([1-9]\d*)\}\{([1-9]\d*)\})", re.ASCII)


@dataclass(frozen=True)
class PlainNumber:
    """A plain number.

    value: exact. form: integer, decimal, fraction, mixed or scientific. step: size of the last written place of a
    decimal (0 for integers and fractions). also: the value if the comma marked decimals (`1,234`), else None. padded:
    written with leading zeros, so perhaps a code or a string of digits.
    """

    value: Fraction
    form: str
    step: Fraction = Fraction(0)
    also: Fraction | None = None
    padded: bool = False


def plain_number(tidied: str) -> PlainNumber | None:
    r"""Return the number that a tidied answer is, or None for anything else.

    Reads integers, decimals, `a/b`, `\frac{a}{b}`, mixed numbers, thousands commas, signs and scientific notation. No
    unit, percent sign, arithmetic or number of unbounded size.
    """
    if len(tidied) > MAX_LENGTH:
        return None
    if _INTEGER.fullmatch(tidied):
        return PlainNumber(Fraction(int(tidied)), "integer")
    number = _NUMBER.fullmatch(tidied)
    if number:
        sign, digits, power, exponent = number.groups()
        return _decimal(sign, digits, power or exponent)
    ten = _POWER_OF_TEN.fullmatch(tidied)
    if ten:
        return _decimal(ten[1], "1", ten[2])
    fraction = _FRACTION.fullmatch(tidied)
    if fraction:
        return _fraction(fraction)
    mixed = _MIXED.fullmatch(tidied)
    return _mixed_number(mixed) if mixed else None


def _decimal(sign: str, digits: str, exponent: str | None) -> PlainNumber | None:
    power = int(exponent or 0)
    if abs(power) > _MAX_POWER:
        return None
    factor = (-1 if sign == "-" else 1) * Fraction(10) ** power
    whole, point, places = digits.partition(".")
    plain = digits.replace(",", "")
    value = Fraction(plain + "0" if plain.endswith(".") else plain) * factor
    inexact = bool(places) or power != 0
    step = Fraction(1, 10 ** len(places)) * abs(factor) if inexact else Fraction(0)
    also = Fraction(digits.replace(",", ".")) * factor if digits.count(",") == 1 and not point else None
    form = "scientific" if exponent else "decimal" if places else "integer"
    return PlainNumber(value, form, step, also, padded=bool(re.match(r"0[\d,]", digits)))


def _fraction(match: re.Match[str]) -> PlainNumber | None:
    sign, inner_sign, *parts = match.groups()
    above, below = (part for part in parts if part is not None)
    top, bottom = _decimal("", above, None), _decimal("", below, None)
    if top is None or bottom is None or top.padded or bottom.padded:
        return None
    if top.also is not None or bottom.also is not None or bottom.value == 0:
        return None
    value = top.value / bottom.value
    return PlainNumber(-value if (sign == "-") != (inner_sign == "-") else value, "fraction")


def _mixed_number(match: re.Match[str]) -> PlainNumber | None:
    sign, whole, *parts = match.groups()
    above, below = (int(part) for part in parts if part is not None)
    if above >= below:
        return None
    value = int(whole) + Fraction(above, below)
    return PlainNumber(-value if sign == "-" else value, "mixed")
