"""Recognise a problem that offers options, where `2` may mean the second one.

An option's label is known by its place, not by a list of marks: 1 and 2 (or a and b, I and II, …) begin lines or parts
of a sentence, each with some mark after it.
"""

from __future__ import annotations

import re
from fractions import Fraction

_WORDS = re.compile(
    r"①|which of (?:the following|these)|one of the following|multiple.choice|options?\s*:|选项|\\item\b|"
    r"\bchoose(?:\s*[.:]| one\b| the (?:correct|right|best|true|answer|option|number))",
    re.IGNORECASE,
)
_MARK = r"\s?(?:[:)\]）】：、]|\.(?!\d)|\*\*|[-–]\s|\}\s?[.)])"
_START = (
    r"(?:^|[\n:;,；：，。|]\s{0,8}|\s{2,8}|(?<!\w)[(\[]\s?|[（【]\s?|\*\*|\\text\{\s?|\$|(?<=[.?!]) "
    r"|(?<=\w) (?=\S{1,4}[)）]))"
)
_LABELS = (("1", "2"), ("a", "b"), ("A", "B"), ("I", "II"), ("i", "ii"), ("1st", "2nd"), ("[A-Z]1", "[A-Z]2"))
_PAIRS = [
    tuple(re.compile(rf"{_START}(?:选项|[Oo]ption\s?|[Cc]hoice\s?)?[(（\[]?{label}{_MARK}") for label in pair)
    for pair in _LABELS
]
_GROUP = re.compile(r"\((?! ?[12] ?\)| ?[a-bA-B] ?\))[^():;]*\)")  # the `1)` of `(3 + 1)` begins no option
_LIST = re.compile(r"-?\d[\d.]*(?:\s?[,;/|、；，]\s?(?:(?:and|or|und|oder|y|et|ou|或|和)\s)?-?\d[\d.]*){1,30}")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_MAX_PROBLEM = 20_000
_MAX_OPTIONS = 12


def offers_options(problem: str) -> bool:
    """Return whether a problem has numbered or lettered options, in any mark."""
    problem = problem[:_MAX_PROBLEM]
    if _WORDS.search(problem):
        return True
    outside = _GROUP.sub("", problem)
    return any(first.search(outside) and second.search(outside) for first, second in _PAIRS)


def names_place_in_list(problem: str, one: Fraction, two: Fraction) -> bool:
    """Return whether one number is the place of the other in a list of the problem: 2 for 29 in `21; 29; 33`."""
    for place, value in ((one, two), (two, one)):
        if place.denominator != 1 or not 1 <= place <= _MAX_OPTIONS:
            continue
        for match in _LIST.finditer(problem[:_MAX_PROBLEM]):
            numbers = _NUMBER.findall(match[0])
            if len(numbers) >= place and Fraction(numbers[int(place) - 1]) == value:
                return True
    return False
