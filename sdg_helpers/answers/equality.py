"""Are two answers equal? The rules that need no model, and one form for answers that vote together.

A verdict of these rules is never looked at again, so they leave everything doubtful to the judge model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sdg_helpers.answers.disjoint_sets import DisjointSets
from sdg_helpers.answers.expressions import value_key
from sdg_helpers.answers.plain_numbers import plain_number, surely_different, surely_equal
from sdg_helpers.answers.spelling import tidy
from sdg_helpers.errors import SdgError, did_you_mean

RULES = 2  # raise it when a rule changes: stored verdicts of other rules are not used
TIERS = ("all", "exact")

# A demand on the form makes equal numbers wrong answers. Words that arithmetic also tells stories with (20 percent off,
# a round trip, to the power of) count as a demand only as one would word it.
_FORM_ASKED = re.compile(
    r"simplif|simplest|rationali|\breduce\b|lowest terms|decimal|\bfraction|mixed number|percentage|\bnotation|"
    r"\bconvert\b|\bexponents?\b|\b(?:as an?|in|to an?|what|which) (?:percent|%)|"
    r"\bas (?:an? )?(?:power|product|sum|difference|ratio|single)|\binto (?:an? )?single|"
    r"(?:\b(?:in|into|of)|vertex|polar|intercept|standard|exponential) (?:[\w-]+ ){0,2}form\b(?! (?:an?|the) \w\w)|"
    r"binary|octal|\bhex\b|\b(?:which|what|the) date\b|month/day|day/month|time signature|"
    r"\bround(?:ed|ing)?\b(?! trip)(?: \S+){0,4} to\b|to the nearest|significant (?:fig|dig)",
    re.IGNORECASE,
)
# Besides, equal expressions may differ where one is to be rewritten, or where products do not commute.
_VALUE_IS_NOT_ALL = re.compile(
    r"factor|expand|expansion|simpl|reduce|lowest|complet|in terms of|\b(?:re)?write\b|\bexpress\b|"
    r"matri|permutation|cycle|group|operator|quaternion|vector|cross product|word|string|alphabet|language|dimension|"
    r"size",
    re.IGNORECASE,
)
_FRACTION = re.compile(r"\\frac\{(.*)\}\{(.*)\}")


def decide(
    predicted: str | None, expected: str | None, problem: str = "", tiers: str = "all"
) -> tuple[bool | None, str]:
    """(correct, how) where a rule is sure, (None, "") where the model must be asked. how: missing, exact, numeric or
    symbolic.

    problem: its text, which may forbid a rule (rounding, numbered choices, "factor …"). tiers="exact" is the
    reference's rule: no answer is wrong, the same text is right, all else goes to the model.
    """
    if tiers not in TIERS:
        raise SdgError(f"tiers: expected one of {', '.join(TIERS)}, found {tiers!r}.{did_you_mean(str(tiers), TIERS)}")
    predicted, expected = (predicted or "").strip(), (expected or "").strip()
    if not predicted or not expected:
        return False, "missing"
    if predicted == expected:
        return True, "exact"
    return (None, "") if tiers == "exact" else _decide(tidy(predicted), tidy(expected), problem)


def _decide(predicted: str, expected: str, problem: str) -> tuple[bool | None, str]:
    if predicted == expected:
        return True, "exact"
    a, b = plain_number(predicted), plain_number(expected)
    if a is not None and b is not None:
        if surely_equal(a, b):
            sure = _form(predicted) == _form(expected) or not _FORM_ASKED.search(problem)
            return (True, "numeric") if sure else (None, "")
        return (False, "numeric") if surely_different(a, b, problem) else (None, "")
    if a is None and b is None and not (_FORM_ASKED.search(problem) or _VALUE_IS_NOT_ALL.search(problem)):
        key = value_key(expected)
        if key is not None and key == value_key(predicted):
            return True, "symbolic"
    return None, ""


def _form(number: str) -> str:
    """A plain number's spelling without what is only typography: `1,000` is `1000`, `\\frac{1}{2}` is `1/2`."""
    return _FRACTION.sub(r"\1/\2", number).replace(",", "").lstrip("+0")


def canonical(answer: str) -> str:
    """One text for answers that surely are equal: votes are counted over it. `1/2`, `0.5` and `\\dfrac12` share it."""
    tidied = tidy(answer)
    number = plain_number(tidied)
    if number is not None:
        return str(number.value)
    return value_key(tidied) or tidied


def group_answers(
    answers: Sequence[str], problem: str = "", known_equal: Iterable[tuple[str, str]] = ()
) -> list[list[int]]:
    """Group distinct spellings into equal answers: the votes that count together.

    known_equal: pairs of answers that a model or a person judged equal. Returns lists of indices into `answers`, each
    ascending, ordered by their first index. Grouping is transitive and does not depend on the order of the answers.
    """
    groups = DisjointSets(len(answers))
    first_by_key: dict[str, int] = {}
    for index, answer in enumerate(answers):
        groups.merge(first_by_key.setdefault(canonical(answer), index), index)
    positions = {answer: index for index, answer in enumerate(answers)}
    for one, other in known_equal:
        if one in positions and other in positions:
            groups.merge(positions[one], positions[other])
    return groups.as_lists()
