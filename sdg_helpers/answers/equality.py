"""Decide whether two answers are equal by rules that need no model, and group equal answers for voting.

Nobody checks a verdict of these rules, so they leave every doubt to the judge model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from sdg_helpers.answers.differences import surely_different
from sdg_helpers.answers.disjoint_sets import DisjointSets
from sdg_helpers.answers.evaluation import NUM_POINTS, POSITIVE_POINTS
from sdg_helpers.answers.forms import expression_form_matters, is_english, number_form_matters
from sdg_helpers.answers.no_answer import is_no_answer
from sdg_helpers.answers.problem_flags import once_per_problem
from sdg_helpers.answers.reading import Answer, read_answer
from sdg_helpers.answers.units import unit_goes_without_saying
from sdg_helpers.errors import SdgError, did_you_mean

RULES = 4  # raise it when a rule changes: stored verdicts of other rules are not used
TIERS = ("all", "exact")

Verdict = tuple[bool | None, str]
_ASK: Verdict = (None, "")
_ORDER_IS_FREE = re.compile(
    r"\ball\b|\bsolve\b|\bsolutions?\b|\broots?\b|\bzero(?:e?s)\b|\bset\b|\bvalues\b|\bdivisors\b|\bpairs\b",
    re.IGNORECASE,
)
_ORDER_COUNTS = re.compile(
    r"\border|sequence|\bterms\b|arrang|\bsort|\brank|ascending|descending|smallest to|least to|largest to|greatest to|"
    r"increasing|decreasing|\bfirst\b|\bnext\b|consecutive|respectively|\bthen\b|progression",
    re.IGNORECASE,
)
_RATIO = re.compile(r"([\d.]+):([\d.]+)")
_RATIO_ASKED = re.compile(r"\bratio\b", re.IGNORECASE)
_BASE = re.compile(r"([0-9A-F]+)_\{(\d+)\}")
_BASES = {"2": "two|2|binary", "8": "eight|8|octal", "16": "sixteen|16|hexadecimal"}


def decide(predicted: str | None, expected: str | None, problem: str = "", tiers: str = "all") -> Verdict:
    """Return (correct, how) where a rule is certain, and (None, "") where a model must be asked.

    how: missing, exact, numeric or symbolic. problem: its text, which may forbid a rule (rounding, numbered options, a
    demand on the form). tiers="exact" is the reference's rule: a missing answer is wrong, the same text is right, a
    model decides the rest.
    """
    if tiers not in TIERS:
        raise SdgError(f"tiers: expected one of {', '.join(TIERS)}, found {tiers!r}.{did_you_mean(str(tiers), TIERS)}")
    predicted, expected = (predicted or "").strip(), (expected or "").strip()
    if is_no_answer(predicted) or is_no_answer(expected):
        return False, "missing"
    if predicted == expected:
        return True, "exact"
    if tiers == "exact":
        return _ASK
    return _compare(read_answer(predicted), read_answer(expected), problem)


def _compare(predicted: Answer, expected: Answer, problem: str) -> Verdict:
    if predicted.text == expected.text:
        return True, "exact"
    if predicted.words is not None or expected.words is not None:
        return (True, "exact") if predicted.words == expected.words else _ASK
    if predicted.label or expected.label:
        return _compare_labels(predicted, expected, problem)
    if predicted.key is not None and expected.key is not None:
        return _compare_values(predicted, expected, problem)
    if _same_base(predicted, expected, problem):
        return True, "exact"
    if _same_ratio(predicted, expected, problem):
        return True, "numeric"
    return _ASK


def _compare_labels(predicted: Answer, expected: Answer, problem: str) -> Verdict:
    """Compare `B: a hexagon` with `B`: right if the problem doesn't give option B another text."""
    one, two = (answer.label or answer.text for answer in (predicted, expected))
    if one != two or (predicted.label and expected.label):
        return _ASK
    text = predicted.labelled or expected.labelled
    if problem and not _option_has_text(problem, one, text):
        return _ASK
    return True, "exact"


def _option_has_text(problem: str, letter: str, text: str) -> bool:
    compact = re.sub(r"[\s$\\{}*]|text(?:bf)?|quad", "", problem)
    wanted = re.sub(r"[\s$\\{}*]", "", text)
    return bool(re.search(rf"(?<![A-Za-z])\(?{letter}[).:]{re.escape(wanted)}(?![\w.])", compact))


def _compare_values(predicted: Answer, expected: Answer, problem: str) -> Verdict:
    one, two = predicted.number, expected.number
    if predicted.key is None or expected.key is None or predicted.key.free != expected.key.free:
        if one and two and predicted.addition == expected.addition:
            return (False, "numeric") if surely_different(one, two, problem) else _ASK
        if _equal_if_positive(predicted, expected, problem):
            return _ASK if expression_form_matters(problem, predicted, expected) else (True, "symbolic")
        return _ASK
    if predicted.addition != expected.addition and not _goes_without_saying(predicted, expected, problem):
        return _ASK
    if predicted.key.ordered != expected.key.ordered and not _order_is_free(predicted, expected, problem):
        return _ASK
    if one and two:
        return _ASK if number_form_matters(problem, predicted, expected) else (True, "numeric")
    return _ASK if expression_form_matters(problem, predicted, expected) else (True, "symbolic")


def _goes_without_saying(one: Answer, two: Answer, problem: str) -> bool:
    r"""Return whether only one answer has a unit or a name, which the problem makes plain: `5\text{ cm}`, `x=5`."""
    if one.addition and two.addition:
        return False
    longer = one if one.addition else two
    if longer.unit and longer.unit_kind:
        return unit_goes_without_saying(longer.unit, longer.unit_kind, problem)
    return True


def _equal_if_positive(one: Answer, two: Answer, problem: str) -> bool:
    """Return whether two expressions agree for positive variables, and the problem says that theirs are positive."""
    if one.key is None or two.key is None or one.addition != two.addition:
        return False
    values = [answer.key.free.split("|") for answer in (one, two) if answer.key is not None]
    if not all(len(points) == NUM_POINTS and points[0].startswith("≈") for points in values):
        return False
    if any(values[0][point] != values[1][point] for point in POSITIVE_POINTS):
        return False
    letters = set(re.findall("[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", one.text + two.text))) - {"e", "i"}
    return bool(letters) and all(_is_positive(letter, problem) for letter in letters)


def _is_positive(letter: str, problem: str) -> bool:
    return bool(
        re.search(
            rf"(?<![A-Za-z]){letter}\$?\s*(?:>\s*0|(?:is|be|are) (?:an? )?positive)|"
            rf"positive (?:(?:real|integer|whole|number|constant)s? ?){{0,3}}\$?{letter}(?![A-Za-z])",
            problem,
        )
    )


def _order_is_free(one: Answer, two: Answer, problem: str) -> bool:
    """Return whether a list in another order is certainly the same answer."""
    if one.may_be_decimal or two.may_be_decimal:
        return False
    if not problem:
        return True
    return _leaves_order_free(problem)


@once_per_problem
def _leaves_order_free(problem: str) -> bool:
    return is_english(problem) and bool(_ORDER_IS_FREE.search(problem)) and not _ORDER_COUNTS.search(problem)


def _same_ratio(predicted: Answer, expected: Answer, problem: str) -> bool:
    """Return whether `3:4` and `\\frac{3}{4}` are the same answer to a problem that asks for a ratio."""
    if not _asks_for_ratio(problem):
        return False
    for one, two in ((predicted, expected), (expected, predicted)):
        ratio = _RATIO.fullmatch(one.text)
        if ratio and two.number is not None and not two.unit:
            as_fraction = read_answer(f"{ratio[1]}/{ratio[2]}")
            return as_fraction.key is not None and as_fraction.key == two.key
    return False


@once_per_problem
def _asks_for_ratio(problem: str) -> bool:
    return bool(_RATIO_ASKED.search(problem))


def _same_base(predicted: Answer, expected: Answer, problem: str) -> bool:
    """Return whether `1101_2` and `1101` are the same answer to a problem that asks for base two."""
    for one, two in ((predicted, expected), (expected, predicted)):
        number = _BASE.fullmatch(one.text)
        if number and number[1] == two.text and number[1] not in problem:
            names = _BASES.get(number[2], number[2])
            return bool(re.search(rf"\b(?:in|to|into)\s+(?:base[\s-]*)?(?:{names})\b", problem, re.IGNORECASE))
    return False


def canonical(answer: str) -> str:
    r"""Return one text for answers that are certainly equal: `1/2`, `0.5` and `\dfrac12` share it."""
    return read_answer(answer.strip()).vote


def group_answers(
    answers: Sequence[str], problem: str = "", known_equal: Iterable[tuple[str, str]] = ()
) -> list[list[int]]:
    """Group distinct spellings into equal answers: the votes that count together.

    known_equal: pairs of answers that a model or a person judged equal. Returns lists of indices into `answers`, each
    ascending, ordered by their first index. Answers are grouped by the rules of `decide`. A bare value (`5`) joins the
    most frequent of its readings (`5 cm`, `5 m`), so that the groups are transitive.
    """
    groups = DisjointSets(len(answers))
    read = [read_answer(answer.strip()) for answer in answers]
    first: dict[str, int] = {}
    for index, answer in enumerate(read):
        groups.merge(first.setdefault(_vote(answer, problem), index), index)
    _join_bare_values(read, groups, problem)
    _join_labels(read, groups, problem)
    positions = {answer: index for index, answer in enumerate(answers)}
    for one, other in known_equal:
        if one in positions and other in positions:
            groups.merge(positions[one], positions[other])
    return groups.as_lists()


def _vote(answer: Answer, problem: str) -> str:
    if answer.key is not None and answer.key.free != answer.key.ordered and not _order_is_free(answer, answer, problem):
        return f"{answer.key.ordered} [{answer.addition}]" if answer.addition else answer.key.ordered
    return answer.vote


def _join_labels(read: list[Answer], groups: DisjointSets, problem: str) -> None:
    letters = {answer.text: index for index, answer in enumerate(read)}
    for index, answer in enumerate(read):
        if answer.label in letters and (not problem or _option_has_text(problem, answer.label, answer.labelled)):
            groups.merge(letters[answer.label], index)


def _join_bare_values(read: list[Answer], groups: DisjointSets, problem: str) -> None:
    by_value: dict[str, list[int]] = {}
    for index, answer in enumerate(read):
        if answer.key is not None:
            by_value.setdefault(answer.key.ordered, []).append(index)
    for indices in by_value.values():
        bare = [index for index in indices if not read[index].addition]
        if not bare:
            continue
        longer = [
            index
            for index in indices
            if read[index].addition and _goes_without_saying(read[index], read[bare[0]], problem)
        ]
        counts = Counter(read[index].addition for index in longer)
        if counts:
            most, _ = min(counts.items(), key=lambda item: (-item[1], item[0]))
            for index in longer:
                if read[index].addition == most:
                    groups.merge(bare[0], index)
