"""Recognise a problem that offers options, where `2` may mean the second one.

An option's label is known by its place, not by a list of marks: 1 and 2 (or a and b, I and II, …) begin lines or parts
of a sentence, each with some mark after it.
"""

from __future__ import annotations

import re
from fractions import Fraction

from sdg_helpers.answers.mentions import mention
from sdg_helpers.answers.problem_flags import once_per_problem

_WORDS = mention(
    r"①|which of (?:the following|these)|one of the following|multiple.choice|options?\s*:|选项|\\item\b|"
    r"\bchoose(?:\s*[.:]| one\b| the (?:correct|right|best|true|answer|option|number))",
    r"①/which of /one of the following/multiple/option/选项/\item/choose",
    separator="/",
)
_MARK = r"\s?(?:[:)\]）】：、]|\.(?!\d)|\*\*|[-–]\s|\}\s?[.)])"
_START = (
    r"(?:^|[\n:;,；：，。|]\s{0,8}|\s{2,8}|(?<!\w)[(\[]\s?|[（【]\s?|\*\*|\\text\{\s?|\$|(?<=[.?!]) "
    r"|(?<=\w) (?=\S{1,4}[)）]))"
)
_LABELS = (("1", "2"), ("a", "b"), ("A", "B"), ("I", "II"), ("i", "ii"), ("1st", "2nd"), ("[Ff]irst", "[Ss]econd"))
_BARE_LABELS = (("A", "B"), ("a", "b"), ("[A-Z]1", "[A-Z]2"), ("#1", "#2"))
_BARE_MARK = r"(?:[.):]\s|\s(?=\d))"
_PAIRS = [
    tuple(re.compile(rf"{_START}(?:选项|[A-Z]?[a-z]{{2,12}}\s)?[(（\[]?{label}{_MARK}") for label in pair)
    for pair in _LABELS
] + [tuple(re.compile(rf"(?<!\S){label}{_BARE_MARK}") for label in pair) for pair in _BARE_LABELS]
# The ends of these, which are found ten times as fast because they begin with a letter, and missing in most problems.
_ENDS = [tuple(re.compile(label + _MARK) for label in pair) for pair in _LABELS] + [
    tuple(re.compile(label + _BARE_MARK) for label in pair) for pair in _BARE_LABELS
]
_GROUP = re.compile(r"\((?!\s?\w{1,3}\s?\))[^():;]*\)")  # the `1)` of `(3 + 1)` begins no option
_OR = r"(?:and|or|und|oder|y|et|ou|или|и|或|和)"
_LIST = re.compile(
    rf"(?:(?<![\d.])\.*|(?=-))-?\d[\d.]*(?:(?:\s?[,;/|、；，]\s?(?:{_OR}\s)?|\s{_OR}\s)-?\d[\d.]*){{1,30}}"
)
_ITEM = re.compile(r"<li>(.{0,200}?)(?:</li>|$)|^[ \t]{0,8}[-*•·]\s(.{0,200})", re.MULTILINE)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_MAX_PROBLEM = 20_000
_MAX_OPTIONS = 12


@once_per_problem
def offers_options(problem: str) -> bool:
    """Return whether a problem has numbered or lettered options, in any mark."""
    problem = problem[:_MAX_PROBLEM]
    if _WORDS.search(problem):
        return True
    outside = _GROUP.sub("", problem)
    return any(
        all(end.search(outside) for end in reversed(ends)) and all(option.search(outside) for option in pair)
        for ends, pair in zip(_ENDS, _PAIRS, strict=True)
    )


def names_place_in_list(problem: str, one: int | Fraction, two: int | Fraction) -> bool:
    """Return whether one number is the place of the other in a list of the problem: 2 for 29 in `21; 29; 33`."""
    problem = problem[:_MAX_PROBLEM]
    return any(
        place.denominator == 1 and 1 <= place <= _MAX_OPTIONS and _is_at(problem, int(place), value)
        for place, value in ((one, two), (two, one))
    )


def _is_at(problem: str, place: int, value: int | Fraction) -> bool:
    for match in _LIST.finditer(problem):
        numbers = _NUMBER.findall(match[0])
        if len(numbers) >= place and Fraction(numbers[place - 1]) == value:
            return True
    items = [match[1] or match[2] or "" for match in _ITEM.finditer(problem)]
    if len(items) >= place and any(Fraction(number) == value for number in _NUMBER.findall(items[place - 1])):
        return True
    labelled = re.finditer(rf"(?<![\d.]){place}[^\w+*/×^\-]{{1,6}}({_NUMBER.pattern})(?![\d.])", problem)
    return any(Fraction(match[1]) == value for match in labelled)
