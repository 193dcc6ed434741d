"""Which columns of a source hold the problem, its reference answer and its id, and how they are read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.problems.options import hidden_options
from sdg_helpers.problems.reading import find_value, read_answer, read_problem
from sdg_helpers.row_files.values import unmarked

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
        text = read_problem(row, self.problem)
        if hidden := hidden_options(row, text):
            raise ValueError(
                f"the column {hidden!r} has options that the problem does not show; write them into its text (A) …), "
                "and the right letter as the answer, or leave this column out"
            )
        used = {self.problem, self.expected_answer, self.id} if self.expected_answer != "solution" else {self.problem}
        rest = {key: unmarked(value) for key, value in row.items() if key not in used and key not in _OUR_NAMES}
        return {
            "id": find_value(row, self.id),
            "problem": text,
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
    """Return other columns that may hold answers, the most likely first: for a source without a single answer.

    Of a column of objects, the keys that hold answers are meant: `answer.value`.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    found = [name for name in names if _LIKE_AN_ANSWER.search(name) and name not in columns.as_row().values()]
    filled = [
        name for column in found for name in _with_keys(rows, column) if any(_has_answer(row, name) for row in rows)
    ]
    return sorted(filled, key=lambda name: not re.search("answer|truth", name, re.IGNORECASE))


def unread_answers(rows: Sequence[Mapping[str, Any]], columns: Columns) -> str:
    """Return why no answer is read in a column that is named like one and is not empty, "" without such a column."""
    for name in dict.fromkeys(name for row in rows for name in row):
        if name.lower() in ANSWER_NAMES and name not in (columns.problem, columns.expected_answer):
            for row in rows:
                try:
                    read_answer(row.get(name), name)
                except ValueError as error:
                    return str(error)
    return ""


def _with_keys(rows: Sequence[Mapping[str, Any]], column: str) -> list[str]:
    """Return a column's name, or for a column of objects the names of its keys."""
    keys = dict.fromkeys(key for row in rows if isinstance(row.get(column), Mapping) for key in row[column])
    return [f"{column}.{key}" for key in keys] or [column]


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
    spelled = {name.lower(): name for name in reversed(names)} | {name: name for name in names}
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
