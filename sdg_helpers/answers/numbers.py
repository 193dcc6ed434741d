"""Exact and 150-digit arithmetic with bounds: no operand can grow without limit.

A number is a Fraction as long as it can be exact, otherwise an mpmath number of 150 digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, TypeAlias

import mpmath

Number: TypeAlias = Any  # Fraction, or a number of mpmath, which has no type information

_DIGITS, _COMPARED = 150, 90
_MAX_BITS = 4096  # of an exact numerator or denominator
_MAX_EXPONENT = 200  # of a power that is not exact
_MAX_FACTORIAL, _MAX_CHOICE = 200, 1000
_MAX_DENOMINATOR = 10**6  # of a fraction that is recognised in 150 digits

mp = mpmath.mp.clone()
mp.dps = _DIGITS
_LARGE, _SMALL, _NOISE = mp.mpf(10) ** 30, mp.mpf(10) ** -30, mp.mpf(10) ** -120
_RECOGNISED = mp.mpf(10) ** -110


class Undecided(Exception):
    """The text is not certain to be within the grammar, or its value is out of bounds."""


def check(value: Number) -> Number:
    """Return the value if it is within bounds. Raises Undecided."""
    if isinstance(value, Fraction):
        if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MAX_BITS:
            raise Undecided
        return value
    size = abs(value)
    if size != 0 and not _SMALL < size < _LARGE:
        raise Undecided
    return value


def inexact(value: Number) -> Number:
    """Return the value as a number of mpmath."""
    if isinstance(value, Fraction):
        return check(mp.mpf(value.numerator) / value.denominator)
    return value


def combine(operation: Callable[[Number, Number], Number], one: Number, other: Number) -> Number:
    """Apply +, -, × or / exactly if both operands are exact. Raises Undecided or ZeroDivisionError."""
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return check(operation(one, other))
    return check(operation(inexact(one), inexact(other)))


def power(base: Number, exponent: Number) -> Number:
    """Return base ** exponent. Raises Undecided for a power that is large or has no value."""
    if isinstance(exponent, Fraction) and exponent.denominator == 1 and isinstance(base, Fraction):
        size, times = max(base.numerator.bit_length(), base.denominator.bit_length()), abs(exponent.numerator)
        if size * times > _MAX_BITS or (base == 0 and exponent <= 0):
            raise Undecided
        return check(base**exponent.numerator)
    base, exponent = inexact(base), inexact(exponent)
    if abs(exponent) > _MAX_EXPONENT or (base == 0 and mp.re(exponent) <= 0):
        raise Undecided
    return check(base**exponent)


def root(value: Number, degree: Number) -> Number:
    """Return the real root of an odd degree, otherwise the principal root. Raises Undecided."""
    if not isinstance(degree, Fraction) or degree.denominator != 1 or not 2 <= degree <= 20:
        raise Undecided
    index = int(degree)
    if isinstance(value, Fraction) and (value >= 0 or index % 2):
        top, bottom = _exact_root(abs(value.numerator), index), _exact_root(value.denominator, index)
        if top is not None and bottom is not None:
            return Fraction(top if value >= 0 else -top, bottom)
    value = inexact(value)
    if index % 2 and mp.im(value) == 0 and mp.re(value) < 0:
        return -mp.root(-value, index)
    return mp.root(value, index)


def _exact_root(value: int, degree: int) -> int | None:
    if degree == 2:
        found = math.isqrt(value)
    else:
        found = int(mp.nint(mp.root(value, degree)))
    return found if found**degree == value else None


def factorial(value: Number) -> Fraction:
    """Return value! of a small natural number. Raises Undecided."""
    if not isinstance(value, Fraction) or value.denominator != 1 or not 0 <= value <= _MAX_FACTORIAL:
        raise Undecided
    return Fraction(math.factorial(int(value)))


def choose(total: Number, chosen: Number) -> Fraction:
    """Return the binomial coefficient of natural numbers. Raises Undecided."""
    if not isinstance(total, Fraction) or not isinstance(chosen, Fraction):
        raise Undecided
    if total.denominator != 1 or chosen.denominator != 1 or not 0 <= chosen <= total <= _MAX_CHOICE:
        raise Undecided
    return Fraction(math.comb(int(total), int(chosen)))


def as_fraction(value: Number) -> Fraction | None:
    """Return the fraction that a constant is, or None. A constant is a small fraction if 110 digits agree."""
    if isinstance(value, Fraction):
        return value
    if abs(mp.im(value)) > _NOISE * max(1, abs(value)):
        return None
    real = mp.re(value)
    guess = Fraction(int(mp.nint(real * 10**60)), 10**60).limit_denominator(_MAX_DENOMINATOR)
    difference = abs(mp.mpf(guess.numerator) / guess.denominator - real)
    return guess if difference <= _RECOGNISED * max(1, abs(real)) else None


def format_digits(value: Number) -> str:
    """Return the first 90 digits of a number's real and imaginary parts; a part that is mere noise is 0."""
    value = mp.mpc(inexact(value))
    size = abs(value)
    return " ".join(
        "0" if abs(part) <= size * _NOISE else mp.nstr(part, _COMPARED) for part in (value.real, value.imag)
    )
