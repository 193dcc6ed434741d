"""Read programming questions, with their tests, from a user's file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.coding.code_question import CodeQuestion, ReadCounts
from sdg_helpers.coding.example_tests import usable_tests
from sdg_helpers.coding.procedures import Procedure, own_procedure
from sdg_helpers.errors import SdgError
from sdg_helpers.problems.columns import PROBLEM_NAMES
from sdg_helpers.row_files.reading import read_rows
from sdg_helpers.row_files.values import BadRow, Row, unmarked


def questions_of_file(path: Path, parameters: dict[str, Any], read: ReadCounts) -> Iterator[CodeQuestion]:
    """Yield the questions of a file, each once. Raises SdgError for an id that two of them have."""
    seen: dict[str, str] = {}
    for place, row in read_rows(path):
        if read.rows - read.repeated - read.bad.count == parameters["max_questions"]:
            return
        read.rows += 1
        try:
            question = _read_question(row, parameters)
        except ValueError as error:
            read.bad.skip(f"{path}, {place}", str(error))
            continue
        digest = files.content_id(question.text or "")
        if question.id in seen:
            if seen[question.id] != digest:
                raise SdgError(
                    f"{path}, {place}: the id {question.id!r} was used before for another text. Give every question a "
                    "different id, or none."
                )
            read.repeated += 1
            continue
        seen[question.id] = digest
        yield question


def _read_question(row: Row | BadRow, parameters: dict[str, Any]) -> CodeQuestion:
    """Return the question in a row of a user's file. Raises ValueError, saying why, when there is none."""
    if isinstance(row, BadRow):
        raise ValueError(row.reason)
    row = {key: unmarked(value) for key, value in row.items()}
    name, tests = next((name for name in PROBLEM_NAMES if isinstance(row.get(name), str)), ""), row.get("tests") or []
    if not name:
        raise ValueError(f"needs a text under the key 'problem' (its keys are {', '.join(row) or 'missing'})")
    text = str(row[name])
    if not (isinstance(tests, list) and all(isinstance(test, dict) for test in tests)):
        raise ValueError('\'tests\' must be a list of {"input": …, "output": …}')
    procedure = own_procedure(row)
    pairs = [(test.get("input"), test.get("output")) for test in tests]
    if procedure.function:
        pairs = [(json.dumps(given), json.dumps(result)) for given, result in pairs if isinstance(given, list)]
    kept, procedure = usable_tests(pairs, procedure, parameters["max_tests"], parameters["max_test_bytes"])
    used = ("id", "problem", name, "tests", "expected_answer", *Procedure.__dataclass_fields__)
    rest = {key: value for key, value in row.items() if key not in used}
    return CodeQuestion(
        str(row.get("id") or files.content_id(text)), text, kept, {"problem_source": "own", **rest}, procedure
    )
