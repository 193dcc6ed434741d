"""Which columns of a source hold the problem, its reference answer and its id, and how they are read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sdg_helpers.answers.extraction import find_answer
from sdg_helpers.answers.no_answer import clean_reference
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.row_files import Number, unmarked

# Names by preference; upper and lower case do not matter. `a.b` is the key b of the object in column a.
PROBLEM_NAMES = ("problem", "question", "prompt", "instruction", "query", "problem_statement", "statement")
ANSWER_NAMES = (
    "expected_answer",
    "answer",
    "final_answer",
    "ground_truth",
    "reference_answer",
    "correct_answer",
    "gold_answer",
    "reward_model.ground_truth",
    "solution",
)
_OUR_NAMES = ("id", "problem", "expected_answer")
_LIKE_AN_ANSWER = re.compile(r"answer|solution|truth|gold|target|label|result|response|output", re.IGNORECASE)
_GSM8K = "####"  # GSM8K writes its answer behind this mark, after the solution
_MAX_NAMES = 30


@dataclass(frozen=True)
class Columns:
    """The columns to read. expected_answer and id are "" if the source has none."""

    problem: str
    expected_answer: str = ""
    id: str = ""

    def as_row(self) -> dict[str, str]:
        """Return the mapping by our names, for the manifest."""
        return asdict(self)

    def read(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row with our names first: id (None without one), problem, expected_answer, then the other columns.

        Raises ValueError, saying why, for a row whose problem or answer is no text.
        """
        used = {self.problem, self.expected_answer, self.id} if self.expected_answer != "solution" else {self.problem}
        rest = {key: unmarked(value) for key, value in row.items() if key not in used and key not in _OUR_NAMES}
        return {
            "id": find_value(row, self.id),
            "problem": read_problem(row, self.problem),
            "expected_answer": read_answer(find_value(row, self.expected_answer), self.expected_answer),
            **rest,
        }


def choose_columns(rows: Sequence[Mapping[str, Any]], given: Mapping[str, str], source: str) -> Columns:
    """Return the columns of a source by its first rows.

    given: our names (problem, expected_answer, id) -> the source's, "" for none; the others are chosen by name, an
    answer's column only if a row has an answer in it. Raises SdgError for a name that does not exist, and when no
    column of problems is found.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    _check_given(rows, given, names, source)
    problem = given.get("problem") or _first_name(rows, PROBLEM_NAMES, names, _has_text)
    if not problem:
        raise SdgError(
            f"{source}: no column of problems among {', '.join(map(str, names[:_MAX_NAMES])) or 'none'}; known names "
            f'are {", ".join(PROBLEM_NAMES)}. Say which column it is: COLUMNS = {{"problem": "…"}}.'
        )
    answer = given.get("expected_answer")
    if answer is None:
        others = [name for name in names if name != problem]
        answer = _first_name(rows, ANSWER_NAMES, others, _has_answer) or _first_name(rows, ANSWER_NAMES[:1], others)
    return Columns(problem, answer, given.get("id", "id" if "id" in names else ""))


def unused_answers(rows: Sequence[Mapping[str, Any]], columns: Columns) -> list[str]:
    """Return other columns that may hold answers, the most likely first: for a source without a single answer."""
    names = dict.fromkeys(name for row in rows for name in row)
    found = [name for name in names if _LIKE_AN_ANSWER.search(name) and name not in columns.as_row().values()]
    filled = [name for name in found if any(clean_reference(row.get(name)) for row in rows)]
    return sorted(filled, key=lambda name: not re.search("answer|truth", name, re.IGNORECASE))


def find_value(row: Mapping[str, Any], name: str) -> Any:
    """Return the value of a column, or of a key of the object in it (`column.key`); None if there is none."""
    if name in row or not name:
        return row.get(name)
    column, _, key = name.partition(".")
    inner = row.get(column)
    return inner.get(key) if isinstance(inner, Mapping) else None


def read_problem(row: Mapping[str, Any], name: str) -> str:
    """Return a problem's text: also that of a chat's last user message, or of an instruction with its input.

    Raises ValueError when there is none.
    """
    value = find_value(row, name)
    if isinstance(value, list):  # a chat, as in verl's data
        texts = [one.get("content") for one in value if isinstance(one, Mapping) and one.get("role") == "user"]
        value = texts[-1] if texts else None
    if not isinstance(value, str) or isinstance(value, Number):
        raise ValueError(f"{name!r} must hold a text, not {_short(value)}")
    if name.lower() == "instruction" and isinstance(more := row.get("input"), str) and more.strip():
        return f"{value}\n\n{more}"
    return str(value)


def read_answer(value: Any, name: str = "") -> str:
    """Return a reference answer as text, "" for none. A list is joined by commas; of a solution, the box counts.

    Raises ValueError for an object and for a list of anything but plain values.
    """
    if isinstance(value, Mapping) or (isinstance(value, list) and any(isinstance(one, (list, dict)) for one in value)):
        raise ValueError(f"{name!r} must hold a text, a number or a list of them, not {_short(value)}")
    if isinstance(value, list):
        return ", ".join(text for text in map(clean_reference, value) if text)
    text = clean_reference(value)
    if _GSM8K in text:
        return clean_reference(text.rpartition(_GSM8K)[2])
    if name == "solution":
        return clean_reference(find_answer(text).answer)
    return text


def _check_given(
    rows: Sequence[Mapping[str, Any]], given: Mapping[str, str], names: Sequence[str], source: str
) -> None:
    for ours, theirs in given.items():
        if ours not in _OUR_NAMES:
            raise SdgError(
                f"COLUMNS: {ours!r} is not one of {', '.join(_OUR_NAMES)}.{did_you_mean(ours, _OUR_NAMES)} Other "
                "columns are kept under their own names."
            )
        known = not theirs or any(theirs in row or find_value(row, theirs) is not None for row in rows)
        if not known or (ours == "problem" and not theirs):
            raise SdgError(
                f"{source}: COLUMNS maps {ours!r} to {theirs!r}, which none of the first {len(rows)} rows has."
                f"{did_you_mean(theirs, names)} Its columns are {', '.join(map(str, names[:_MAX_NAMES]))}."
            )


def _first_name(
    rows: Sequence[Mapping[str, Any]], wanted: Sequence[str], names: Sequence[str], holds: Any = lambda row, name: True
) -> str:
    """Return the first wanted column that is there and holds what it should in some row, as its source spells it."""
    spelled = {name.lower(): name for name in reversed(names)}
    for name in wanted:
        column, dot, key = name.partition(".")
        if column in spelled:
            found = spelled[column] + dot + key
            if any(holds(row, found) for row in rows):
                return found
    return ""


def _has_text(row: Mapping[str, Any], name: str) -> bool:
    try:
        read_problem(row, name)
    except ValueError:
        return False
    return True


def _has_answer(row: Mapping[str, Any], name: str) -> bool:
    try:
        return bool(read_answer(find_value(row, name), name))
    except ValueError:
        return False


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
