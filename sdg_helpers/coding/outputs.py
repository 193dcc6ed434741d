"""Compare a program's output with the expected one as contest judges do: word by word, numbers by value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import lru_cache
from typing import Any

_MAX_QUESTION_CHARACTERS = 100_000
_NEARBY = 160  # characters between a tolerance and the word "error" that makes it one
_SMALL_NUMBER = re.compile(
    r"10\s{0,3}(?:\^|\*\*|<sup>)?\s{0,3}\{?\s{0,3}[-−–]\s{0,3}(?P<power>\d{1,2})(?!\d)"
    r"|(?<![\d.])1(?:\.0{1,4})?[eE]\s?[-−–]\s?(?P<exponent>\d{1,2})(?!\d)"
    r"|(?<![\d.])(?P<decimal>0[.,]0{0,11}1)(?![\d.]*\d)"
)
_ERROR = re.compile(
    r"\b(?:errors?|toleran\w{1,4}|precision|accura\w{1,3}|differ\w{0,5}|deviat\w{1,3})\b", re.IGNORECASE
)
_ABSOLUTE = re.compile(r"\babsolute\b", re.IGNORECASE)
_RELATIVE = re.compile(r"\brelative\b", re.IGNORECASE)
_ANY_CASE = re.compile(
    r"\b(?:print|output|write|letters?|answers?|characters?|strings?|words?|yes|no)\b[^.!?\n]{0,120}?"
    r"\bin (?:any|either|arbitrary|upper or lower|lower or upper) (?:letter )?(?:case|register)\b"
    r"|\bcase[- ]{0,2}insensitive"
    r"|\b(?:letter )?case (?:of (?:the )?(?:letters|characters) )?(?:does not|doesn't|do not|don't) matter"
    r"|\b(?:regardless of|ignor(?:e|es|ing)|without regard to) (?:the )?(?:letter )?case\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_MAX_NUMBER_CHARACTERS = 1000  # longer words are compared as text
_EXACT_DIGITS = Context(prec=2 * _MAX_NUMBER_CHARACTERS, traps=[])


@dataclass(frozen=True)
class OutputRule:
    """What a question allows: absolute and relative errors of numbers, 0 for none, and words in any case."""

    absolute: Decimal = Decimal(0)
    relative: Decimal = Decimal(0)
    any_case: bool = False


@lru_cache(maxsize=256)
def read_output_rule(question: str) -> OutputRule:
    """Return what the text of a question allows.

    A tolerance is a power of ten near a word such as "error". It is absolute or relative where the question does not
    say which, and the smallest one if there are several.
    """
    text = question[:_MAX_QUESTION_CHARACTERS]
    any_case = bool(_ANY_CASE.search(" ".join(text.replace('."', '"').split())))
    tolerance, around = None, ""
    for match in _SMALL_NUMBER.finditer(text):
        near = text[max(0, match.start() - _NEARBY) : match.end() + _NEARBY]
        value = _power_of_ten(match)
        if _ERROR.search(near) and (tolerance is None or value < tolerance):
            tolerance, around = value, near
    if tolerance is None:
        return OutputRule(any_case=any_case)
    absolute, relative = bool(_ABSOLUTE.search(around)), bool(_RELATIVE.search(around))
    return OutputRule(
        absolute=tolerance if absolute or not relative else Decimal(0),
        relative=tolerance if relative or not absolute else Decimal(0),
        any_case=any_case,
    )


def _power_of_ten(match: re.Match[str]) -> Decimal:
    if match["decimal"]:
        return Decimal(match["decimal"].replace(",", "."))
    return Decimal(1).scaleb(-int(match["power"] or match["exponent"]))


def same_output(found: str, expected: str, question: str = "") -> bool:
    """Return whether two outputs have the same words, wherever the lines break.

    A number with a decimal point or an exponent equals another of the same value, within the tolerance that the
    question states. Integers are compared as text, whatever their length; letters by case unless the question allows
    any.
    """
    ours, theirs = found.split(), expected.split()
    if ours == theirs:
        return True
    if len(ours) != len(theirs):
        return False
    rule = read_output_rule(question)
    return all(a == b or _same_word(a, b, rule) for a, b in zip(ours, theirs, strict=True))


def _same_word(found: str, expected: str, rule: OutputRule) -> bool:
    if max(len(found), len(expected)) <= _MAX_NUMBER_CHARACTERS:
        both = [_NUMBER.fullmatch(word) is not None for word in (found, expected)]
        if all(both) and not (_INTEGER.fullmatch(found) and _INTEGER.fullmatch(expected)):
            return _close(Decimal(found), Decimal(expected), rule)
    return rule.any_case and found.casefold() == expected.casefold()


def _close(found: Decimal, expected: Decimal, rule: OutputRule) -> bool:
    if found == expected:
        return True
    if not (found.is_finite() and expected.is_finite()):
        return False
    difference = _EXACT_DIGITS.abs(_EXACT_DIGITS.subtract(found, expected))
    allowed = max(rule.absolute, _EXACT_DIGITS.multiply(rule.relative, expected.copy_abs()))
    return difference <= allowed


def same_value(found: Any, expected: Any, question: str = "") -> bool:
    """Return whether two JSON values, the results of a function, are equal; floats within the question's tolerance.

    Some datasets wrap each expected result in a list of one.
    """
    rule = read_output_rule(question)
    wrapped = isinstance(expected, list) and len(expected) == 1
    return _same_value(found, expected, rule) or (wrapped and _same_value(found, expected[0], rule))


def _same_value(found: Any, expected: Any, rule: OutputRule) -> bool:
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(
            _same_value(a, b, rule) for a, b in zip(found, expected, strict=True)
        )
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(_same_value(found[key], expected[key], rule) for key in found)
    if isinstance(found, str) and isinstance(expected, str):
        return found == expected or (rule.any_case and found.casefold() == expected.casefold())
    if isinstance(found, float) or isinstance(expected, float):
        numbers = [value for value in (found, expected) if isinstance(value, (int, float))]
        return found == expected or (len(numbers) == 2 and _close(Decimal(found), Decimal(expected), rule))
    return type(found) is type(expected) and bool(found == expected)
