"""Decide whether a problem asks for a form, so that an answer of equal value may still be wrong.

Word lists can only cover English. So structure comes first: where the problem itself shows an expression of the
answer's value, it asks for that expression to be rewritten, in whatever language.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import chain

from sdg_helpers.answers.expressions import value_key
from sdg_helpers.answers.plain_numbers import PlainNumber, plain_number
from sdg_helpers.answers.problem_flags import once_per_problem
from sdg_helpers.answers.reading import Answer
from sdg_helpers.answers.spelling import MAX_LENGTH, tidy

# A demand on the form. Words that arithmetic also tells stories with (20 percent off, a round trip, to the power of)
# count as a demand only as one would word it.
_FORM_ASKED = re.compile(
    r"simplif|simplest|rationali|\breduce\b|lowest terms|decimal|\bfraction|mixed number|percentage|\bnotation|"
    r"\bconvert\b|\bexponents?\b|\b(?:as an?|in|to an?|what|which) (?:percent|%)|"
    r"\bas (?:an? )?(?:power|product|sum|difference|ratio|single)|\binto (?:an? )?single|"
    r"(?:\b(?:in|into|of)|vertex|polar|intercept|standard|exponential) (?:[\w-]+ ){0,2}form\b(?! (?:an?|the) \w\w)|"
    r"binary|octal|\bhex\b|\b(?:which|what|the) date\b|month/day|day/month|time signature|"
    r"\bround(?:ed|ing)?\b(?! trip)(?: \S+){0,4} to\b|to the nearest|significant (?:fig|dig)|\bsig(?:\.|nificant)? fig",
    re.IGNORECASE,
)
# Besides, equal expressions may differ where one is to be rewritten, or where products do not commute.
_VALUE_IS_NOT_ALL = re.compile(
    r"factor|expand|expansion|simpl|reduce|lowest|complet|in terms of|\b(?:re)?write\b|\bexpress\b|"
    r"matri|permutation|cycle|group|operator|quaternion|vector|cross product|word|string|alphabet|language|dimension|"
    r"size",
    re.IGNORECASE,
)
_ENGLISH = re.compile(
    r"\b(?:the|of|is|are|an?|how|what|which|find|and|in|to|for|give|does|with|if|at|many|use|it|solve|evaluate|"
    r"calculate)\b",
    re.I,
)
_FRACTION = re.compile(r"\\frac\{([^{}]*)\}\{([^{}]*)\}")
_FORMULA = re.compile(r"\$\$?([^$]{1,150})\$|\\\(((?:[^\\]|\\[^)]){1,150}?)\\\)|\\\[((?:[^\\]|\\[^\]]){1,150}?)\\\]")
_BARE_FORMULA = re.compile(r"[-\w.^()\\{}]{0,40}(?: ?[-+*/^=<>] ?[-\w.^()\\{}]{1,40}){1,6}")
_NUMBER = re.compile(r"\\frac\{\d+\}\{\d+\}|\\frac\d\d|\d[\d,.]*(?:/\d+)?")
_TOKEN = re.compile(r"\\[A-Za-z]+|\d+|[A-Za-z]|\S")
_MATRIX = re.compile(r"\\(?:begin|end)\{[pb]matrix\}|\\\\")
_NO_FORM = {"+", "*", "{", "}", "(", ")", r"\cdot", ".", ","}
_SUM_IN_BRACKETS = re.compile(r"\([^()]*[^()+\-^{][+-][^()]*\)")
_UNEVALUATED = re.compile(r"\d[+*]|\d\\cdot|\d\\times|\d-|\d\}\\(?:cdot|times)|\d\(")
_MAX_PROBLEM, _MAX_FORMULAS = 6000, 40


@once_per_problem
def is_english(problem: str) -> bool:
    """Return whether the word lists can be trusted for a problem. An empty problem demands nothing."""
    return not problem or bool(_ENGLISH.search(problem))


def number_form_matters(problem: str, predicted: Answer, expected: Answer) -> bool:
    """Return whether two equal plain numbers may be different answers to the problem."""
    one, two = predicted.number, expected.number
    if not problem or one is None or two is None:
        return False
    if one.padded or two.padded:  # perhaps a code, or the last digits
        return True
    if _bare_spelling(predicted.value) == _bare_spelling(expected.value):
        return False
    if _asks_for_form(problem):
        return True
    if {one.form, two.form} <= {"integer", "decimal"}:
        return _places(expected.value) > _places(predicted.value)  # 3.00 where 3 is given: a precision is expected
    if "scientific" in (one.form, two.form) or not is_english(problem):
        return True
    if one.form == two.form == "fraction" or _shows_number(problem, one, two.form):
        return True
    return _shows_value(problem, expected)


def expression_form_matters(problem: str, predicted: Answer, expected: Answer) -> bool:
    """Return whether two equal expressions may be different answers to the problem."""
    if not problem or _tokens(predicted.value) == _tokens(expected.value):
        return False
    if _asks_for_form(problem) or _looks_beyond_value(problem):
        return True
    if sorted(_tokens(predicted.value)) == sorted(_tokens(expected.value)):  # only the order differs
        return False
    if not is_english(problem) or _shows_text(problem, predicted.text) or _shows_value(problem, expected):
        return True
    if expected.number is not None and _only_uses_numbers_of(problem, predicted.text):
        return True
    if predicted.number is not None and _UNEVALUATED.search(expected.text):  # a factorisation, say
        return True
    return _is_mixed(predicted.text) != _is_mixed(expected.text)


@once_per_problem
def _asks_for_form(problem: str) -> bool:
    return bool(_FORM_ASKED.search(problem))


@once_per_problem
def _looks_beyond_value(problem: str) -> bool:
    return bool(_VALUE_IS_NOT_ALL.search(problem))


def _bare_spelling(number: str) -> str:
    """Return a plain number without mere typography: `1,000` is `1000`, `\\frac{1}{2}` is `1/2`."""
    return _FRACTION.sub(r"\1/\2", number).replace(",", "").lstrip("+0").removesuffix(".")


def _places(number: str) -> int:
    return len(number.partition(".")[2])


def _tokens(text: str) -> list[str]:
    """Return the numbers, letters and commands of an expression, without brackets, plus and product signs."""
    return [token for token in _TOKEN.findall(_MATRIX.sub(",", text)) if token not in _NO_FORM]


def _is_mixed(text: str) -> bool:
    """Return whether a text is a sum with a sum inside a term: neither expanded nor factored."""
    depth, is_sum = 0, False
    for before, letter in zip(chain("(", text), text, strict=False):
        depth += (letter in "({[") - (letter in ")}]")
        is_sum = is_sum or (depth == 0 and letter in "+-" and before not in "({[=<>,+-*/^")
    return is_sum and bool(_SUM_IN_BRACKETS.search(text))


def _only_uses_numbers_of(problem: str, text: str) -> bool:
    """Return whether an unevaluated answer just repeats the numbers of the problem."""
    numbers = re.findall(r"\d+(?:\.\d+)?", text)
    return len(numbers) > 1 and set(numbers) <= set(re.findall(r"\d+(?:\.\d+)?", problem[:_MAX_PROBLEM]))


def _shows_text(problem: str, text: str) -> bool:
    return text in _tidy_problem(problem)


@lru_cache(maxsize=256)
def _tidy_problem(problem: str) -> str:
    problem = problem[:_MAX_PROBLEM]
    pieces = [tidy(problem[start : start + MAX_LENGTH]) for start in range(0, len(problem), MAX_LENGTH)]
    return "".join(pieces).replace("$", "")


def _shows_number(problem: str, number: PlainNumber, other_form: str) -> bool:
    """Return whether the problem shows the number in the form that was given, where another form is expected."""
    if number.form == other_form:
        return False
    for match in _NUMBER.finditer(problem[:_MAX_PROBLEM]):
        shown = plain_number(tidy(match[0]))
        if shown is not None and shown.value == number.value and shown.form == number.form:
            return True
    return False


def _shows_value(problem: str, expected: Answer) -> bool:
    """Return whether the problem shows an expression, not just a number, of the expected value."""
    return expected.key is not None and expected.key.free in _shown_values(problem)


@lru_cache(maxsize=256)
def _shown_values(problem: str) -> frozenset[str]:
    problem = problem[:_MAX_PROBLEM]
    formulas = [next(filter(None, match.groups())) for match in _FORMULA.finditer(problem)]
    formulas += _BARE_FORMULA.findall(_FORMULA.sub(" ", problem))
    keys = set()
    for formula in formulas[:_MAX_FORMULAS]:
        for side in re.split(r"[=:,;]|\\text\{[^{}]*\}", formula):
            text = tidy(side)
            if not re.fullmatch(r"[\d.,]*", text):
                keys.add(value_key(text))
    return frozenset(key for key in keys if key)
