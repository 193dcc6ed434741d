"""Read programming questions, with their tests, from a user's file."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.coding.code_question import CodeQuestion, ReadCounts
from sdg_helpers.coding.example_tests import usable_tests
from sdg_helpers.coding.own_tests import TEST_NAMES, looks_like_tests, read_pairs
from sdg_helpers.coding.procedures import Procedure, own_procedure
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.problems.columns import PROBLEM_NAMES
from sdg_helpers.problems.reading import find_value, read_problem
from sdg_helpers.problems.repeats import fold_spaces
from sdg_helpers.row_files.reading import read_rows
from sdg_helpers.row_files.values import BadRow, Row, unmarked

_OUR_NAMES = ("id", "problem", "tests")


def check_columns(columns: Mapping[str, str]) -> None:
    """Raise SdgError for a mapping of columns with a name that is not ours."""
    for ours in columns:
        if ours not in _OUR_NAMES:
            raise SdgError(
                f"COLUMNS: {ours!r} is not one of {', '.join(_OUR_NAMES)}.{did_you_mean(ours, _OUR_NAMES)} Other "
                "columns are kept under their own names."
            )


def questions_of_file(path: Path, parameters: dict[str, Any], read: ReadCounts) -> Iterator[CodeQuestion]:
    """Yield the questions of a file, each once: its first copy with tests. Raises SdgError for an id of two questions.

    Raises SdgError, too, when no question has tests although a column looks like theirs.
    """
    chosen, seen, tested = _choose_copies(path, parameters), dict[str, int](), False
    for number, (place, row) in enumerate(read_rows(path), 1):
        if read.rows - read.repeated - read.bad.count == parameters["max_questions"]:
            break
        read.rows += 1
        try:
            question = _read_question(row, parameters)
        except ValueError as error:
            read.bad.skip(f"{path}, {place}", str(error))
            continue
        digest = _digest(question)
        if seen.setdefault(question.id, digest) != digest:
            raise SdgError(
                f"{path}, {place}: the id {question.id!r} was used before for another text. Give every question a "
                "different id, or none."
            )
        if chosen[digest] != number:
            read.repeated += 1
            continue
        tested = tested or question.tested_by != "no_tests"
        if not tested and not read.like_tests:
            read.like_tests = looks_like_tests(question.about)
        yield question
    if not tested and read.like_tests and "tests" not in parameters.get("columns", {}):
        raise SdgError(
            f"{path}: no question has tests (no column is called {', '.join(TEST_NAMES)}). Did you mean the column "
            f'{read.like_tests!r}? Then set COLUMNS = {{"tests": "{read.like_tests}"}}. For questions without tests, '
            'set COLUMNS = {"tests": ""}.'
        )


def copy_rows(path: Path, parameters: dict[str, Any], ids: Collection[str], target: Path) -> None:
    """Write the rows of a user's file whose questions have these ids to target, a JSONL file, as they are."""
    with files.atomic_writer(target) as out:
        for _, row in read_rows(path):
            try:
                question = _read_question(row, parameters)
            except ValueError:
                continue
            if question.id in ids and not isinstance(row, BadRow):
                out.write(files.dumps(unmarked(row)))


def _choose_copies(path: Path, parameters: dict[str, Any]) -> dict[int, int]:
    """Return the number of the row to keep of every question, by its digest."""
    chosen, without_tests = dict[int, int](), set[int]()
    for number, (_, row) in enumerate(read_rows(path), 1):
        try:
            question = _read_question(row, parameters)
        except ValueError:
            continue
        digest, tested = _digest(question), question.tested_by != "no_tests"
        if digest not in chosen or (tested and digest in without_tests):
            chosen[digest] = number
            (without_tests.discard if tested else without_tests.add)(digest)
    return chosen


def _digest(question: CodeQuestion) -> int:
    return int(files.content_id(fold_spaces(question.text or ""), question.procedure.function), 16)


def _read_question(row: Row | BadRow, parameters: dict[str, Any]) -> CodeQuestion:
    """Return the question in a row of a user's file. Raises ValueError, saying why, if the row has none."""
    if isinstance(row, BadRow):
        raise ValueError(row.reason)
    row = {key: unmarked(value) for key, value in row.items()}
    columns = parameters.get("columns", {})
    name = columns.get("problem") or next(iter(_find_names(row, PROBLEM_NAMES)), "")
    if not name:
        raise ValueError(f"needs a text under the key 'problem' (its keys are {', '.join(row) or 'missing'})")
    text, (tests, pairs, function) = read_problem(row, name), _read_tests(row, columns.get("tests"))
    procedure = own_procedure({**({"function": function} if function else {}), **row})
    if procedure.function:
        pairs = [(json.dumps(given), json.dumps(result)) for given, result in pairs if isinstance(given, list)]
    kept, procedure = usable_tests(pairs, procedure, parameters["max_tests"], parameters["max_test_bytes"])
    number = columns.get("id", "id")
    used = ("id", "problem", number, name, tests, "expected_answer", *Procedure.__dataclass_fields__)
    rest = {key: value for key, value in row.items() if key not in used}
    known = find_value(row, number)
    return CodeQuestion(
        str(known) if known not in (None, "") else files.content_id(text),
        text,
        kept,
        {"problem_source": "own", **rest},
        procedure,
    )


def _read_tests(row: Row, column: str | None) -> tuple[str, list[tuple[Any, Any]], str]:
    """Return the column of a row's tests, their pairs, and the function that they call. column: None to find it.

    Raises ValueError for the column `tests`, or a given one, that cannot be read; others may hold something else.
    """
    for name in _find_names(row, TEST_NAMES) if column is None else [column]:
        try:
            return name, *read_pairs(find_value(row, name))
        except ValueError:
            if column is not None or name.lower() == TEST_NAMES[0]:
                raise
    return "", [], ""


def _find_names(row: Row, wanted: Sequence[str]) -> list[str]:
    """Return the wanted columns that are there and not empty, as the file spells them."""
    spelled = {name.lower(): name for name in reversed(row)} | {name: name for name in row}
    return [spelled[name] for name in wanted if name in spelled and row[spelled[name]] not in (None, "", [])]
