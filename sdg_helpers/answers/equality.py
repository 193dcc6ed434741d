"""Are two answers equal? The rules that need no model, and one form for answers that vote together.

A verdict of these rules is never looked at again, so they leave everything doubtful to the judge model.
"""
from __future__ import annotations

import re

from ..errors import SdgError, did_you_mean
from .expressions import value_key
from .plain_numbers import plain_number, surely_different, surely_equal
from .spelling import tidy

RULES = 1  # raise it when a rule changes: stored verdicts of other rules are not used
TIERS = ("all", "exact")

# Equal values may be a wrong answer when the form is what was asked for, or when products do not commute.
_FORM_MATTERS = re.compile(
    r"factor|expand|expansion|simpl|rationali|reduce|lowest|(in|of) the form|standard form|partial fraction|complet|"
    r"matri|permutation|cycle|group|operator|quaternion", re.IGNORECASE)


def decide(predicted: str | None, expected: str | None, problem: str = "",
           tiers: str = "all") -> tuple[bool | None, str]:
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
            return True, "numeric"
        return (False, "numeric") if surely_different(a, b, problem) else (None, "")
    if a is None and b is None and not _FORM_MATTERS.search(problem):
        key = value_key(expected)
        if key is not None and key == value_key(predicted):
            return True, "symbolic"
    return None, ""


def canonical(answer: str) -> str:
    """One text for answers that surely are equal: votes are counted over it. `1/2`, `0.5` and `\\dfrac12` share it."""
    tidied = tidy(answer)
    number = plain_number(tidied)
    if number is not None:
        return str(number.value)
    return value_key(tidied) or tidied
