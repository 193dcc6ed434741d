"""Decide whether two plain numbers are certainly different answers."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import chain
from typing import Any

from sdg_helpers.answers.choices import names_place_in_list, offers_options
from sdg_helpers.answers.forms import is_english
from sdg_helpers.answers.mentions import mention
from sdg_helpers.answers.plain_numbers import PlainNumber
from sdg_helpers.answers.problem_flags import once_per_problem

_ROUNDING = mention(
    r"\bround|approx|nearest|closest|estimat|decimal|significant|\babout (?:how|what)|truncat|roughly|\bfigures\b",
    "round approx nearest closest estimat decimal significant about truncat roughly figures",
)
# Ratios of two units of one kind. Common ones, and powers of ten from 100 on, may be meant in any problem. A rare one
# is doubted only if the problem asks neither for a count nor for money, a small one only if it asks for a measure
# without its unit.
_COMMON = "7 12 24 52 60 144 168 365 1440 3600 5280 86400 3.6 57.29578"
_RARE = (
    "10 14 16 20 28 30 31 32 36 48 64 128 366 1760 2000 8760 10080 2.54 30.48 1.609344 2.2046 28.35 453.6 3.785 4.546 "
    "0.9144 29.57"
)
_COMMON_RATIOS, _RARE_RATIOS, _SMALL_RATIOS = (
    frozenset(Fraction(ratio) for ratio in ratios.split()) for ratios in (_COMMON, _RARE, "2 3 4 6 8")
)
_COUNTS = mention(r"\bhow many (?!units?\b)[a-z]", "many")
_MONEY = mention(
    r"\b(?:money|cost|costs|price|pay|paid|spend|spent|earn|earns|profit|dollars?|cents|salary|bill|charge)\b",
    "money cost price pay paid spen earn profit dollar cents salary bill charge",
)
_MEASURES = mention(
    r"\bhow (?:long|far|tall|high|wide|deep|thick|big|heavy|fast)\b|\bweigh|\b(?:length|width|height|distance|depth"
    r"|capacity|volume|mass|weight)\b"
    r"|\bhow much (?:(?:\w+ ){1,4}(?:hold|contain|drink|pour)|(?:\w+ )?is (?:left )?in\b|milk|water|juice|liquid)",
    "how weigh length width height distance depth capacity volume mass",
)
_UNIT_ASKED = re.compile(
    r"\b(?:in|of|many) (?:\w+ )?(?:seconds|minutes|hours|days|weeks|months|years|feet|inches|yards|miles|meters|metres"
    r"|kilometers|centimeters|pounds|ounces|grams|kilograms|tons|cups|pints|quarts|gallons|liters|litres|dollars|cents)",
    re.IGNORECASE,
)
_TIME_OF_DAY = re.compile(r"\bwhat (?:time|hour)\b|\bwhen\b|o'clock|\bclock\b|\b[ap]\.?m\b", re.IGNORECASE)
_TEMPERATURE = mention(
    r"temperature|degrees|°|\\circ|celsius|fahrenheit|\bhot\b|\bcold\b|\bwarm\b",
    r"temperature degrees ° \circ celsius fahrenheit hot cold warm",
)
_MODULAR = mention(
    r"\bmod|remainder|congruen|angle|degree|radian|rotat|clockwise|bearing|phase",
    "mod remainder congruen angle degree radian rotat clockwise bearing phase",
)
_QUARTER_TURN = 90
_LARGE = 100  # whole numbers from here on may differ by 1 through rounding
_CLOSE, _ROUGH = Fraction(1, 100), 30  # one in a hundred, one in thirty
_Number = Any  # an int if it is whole, for the speed, else a Fraction


def surely_different(a: PlainNumber, b: PlainNumber, problem: str = "") -> bool:
    """Return whether two numbers are different and nobody could take one for the other.

    Not certain if one may be a rounding of the other, if the ratio is that of two units of one kind, if only the sign
    differs, if a comma may mark thousands or decimals, or if one number may be the place of an option.
    """
    if a.padded or b.padded or "mixed" in (a.form, b.form) or offers_options(problem):
        return False
    values = [(_simplest(a.value), _simplest(b.value))]
    if names_place_in_list(problem, *values[0]):
        return False
    if a.also is None or b.also is None:  # two numbers with a comma are read in the same way
        values += [(_simplest(x), values[0][1]) for x in (a.also,) if x is not None]
        values += [(values[0][0], _simplest(y)) for y in (b.also,) if y is not None]
    return not any(_may_be_confused(x, y, a, b, problem) for x, y in values)


def _simplest(value: Fraction) -> _Number:
    return value.numerator if value.denominator == 1 else value


def _may_be_confused(x: _Number, y: _Number, a: PlainNumber, b: PlainNumber, problem: str) -> bool:
    if x == y:
        return True
    if x * y < 0:
        return _differ_by_sign(x, y, problem)
    if _is_rounding(x, y, a, b, problem):
        return True
    if _are_readings(abs(x), abs(y), problem):
        return True
    if x == 0 or y == 0:
        return False
    may_round = _may_round(problem) or not (x.denominator == y.denominator == 1)
    return (
        _differ_by_a_unit(abs(x), abs(y), a, b, may_round, problem)
        if abs(x) < abs(y)
        else _differ_by_a_unit(abs(y), abs(x), b, a, may_round, problem)
    )


@once_per_problem
def _may_round(problem: str) -> bool:
    return _ROUNDING.search(problem) or not is_english(problem)


@once_per_problem
def _is_modular(problem: str) -> bool:
    return _MODULAR.search(problem)


@once_per_problem
def _may_be_time(problem: str) -> bool:
    return bool(_TIME_OF_DAY.search(problem)) or not is_english(problem)


@once_per_problem
def _may_be_temperature(problem: str) -> bool:
    return _TEMPERATURE.search(problem) or not is_english(problem)


@once_per_problem
def _asks_for_count_or_money(problem: str) -> bool:
    return is_english(problem) and (_COUNTS.search(problem) or _MONEY.search(problem))


@once_per_problem
def _asks_for_bare_measure(problem: str) -> bool:
    return _MEASURES.search(problem) and not _UNIT_ASKED.search(problem)


def _differ_by_sign(x: _Number, y: _Number, problem: str) -> bool:
    """Return whether numbers of opposite signs may mean the same: a debt, an angle, a remainder."""
    if not problem or not is_english(problem) or _is_modular(problem):
        return True
    return x == -y or (x - y) % _QUARTER_TURN == 0


def _is_rounding(x: _Number, y: _Number, a: PlainNumber, b: PlainNumber, problem: str) -> bool:
    """Return whether one number may be the other rounded or truncated, to any precision."""
    difference, size = abs(x - y), max(abs(x), abs(y))
    if (a.step or b.step) and difference <= max(_coarseness(a), _coarseness(b), size * _CLOSE):
        return True
    if _may_round(problem) and difference * 10 <= max(size, 10):
        return True
    if difference < 1 and not x.denominator == y.denominator == 1:
        return 1 in (x.denominator, y.denominator) or difference * _ROUGH < size
    if difference * _ROUGH >= size:
        return False
    if difference * 2 <= max(_trailing_power(x), _trailing_power(y)):
        return True
    return difference == 1 and size >= _LARGE


def _trailing_power(value: _Number) -> int:
    """Return the largest power of ten that divides a whole number, 0 for any other number."""
    digits = str(abs(value.numerator))
    return 10 ** (len(digits) - len(digits.rstrip("0"))) if value and value.denominator == 1 else 0


def _coarseness(number: PlainNumber) -> Fraction:
    """Return to what precision a number may have been rounded if the other is a decimal."""
    return number.step or Fraction(int(number.value.denominator == 1))


def _are_readings(x: _Number, y: _Number, problem: str) -> bool:
    """Return whether two numbers may be one time (5 and 17) or one temperature (25 and 77) on two scales."""
    low, high = sorted((x, y))
    if high - low == 12 and 1 <= low <= 12 < high <= 24 and _may_be_time(problem):
        return True
    if _may_be_temperature(problem):
        return abs(low * 9 + 32 * 5 - high * 5) <= 5 or abs(high - low - 273) <= 1
    return False


def _differ_by_a_unit(x: _Number, y: _Number, a: PlainNumber, b: PlainNumber, may_round: bool, problem: str) -> bool:
    """Return whether x, the smaller, may be y in another unit: exactly, or after rounding (`0.17` for `16.67` %)."""
    ratio = Fraction(y, x)
    digits = len(str(int(ratio)))
    powers = [Fraction(10**power) for power in (digits - 1, digits) if power >= 2]
    others = list[frozenset[Fraction]]()
    if not _asks_for_count_or_money(problem):
        others.append(_RARE_RATIOS)
    if _asks_for_bare_measure(problem):
        others.append(_SMALL_RATIOS)
    if not may_round:
        return ratio in _COMMON_RATIOS or ratio in powers or any(ratio in some for some in others)
    slack = max(y * _CLOSE, _coarseness(b) / 2)
    return any(
        abs(x * unit - y) <= max(slack, min(a.step * unit / 2, Fraction(y, _ROUGH)))
        for unit in (*_COMMON_RATIOS, *powers)
    ) or any(abs(x * unit - y) <= y * _CLOSE for unit in chain(*others))
