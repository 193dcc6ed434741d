"""Example tests of a question: cleaned when questions are prepared, looked up by id when programs are run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sdg_helpers import exact_json, files
from sdg_helpers.coding.procedures import NO_USABLE_TESTS, Procedure, read_procedure
from sdg_helpers.errors import SdgError


def clean_tests(pairs: Iterable[tuple[Any, Any]], max_tests: int, max_bytes: int) -> list[dict[str, str]]:
    """Return the first `max_tests` (input, output) pairs of texts with at most max_bytes each, without repeated inputs.

    Lists of lines, which some datasets have, are joined. Pairs of other types (a function's arguments) are skipped.
    """
    found: dict[str, str] = {}
    for given, expected in pairs:
        given, expected = _text(given), _text(expected)
        if given is None or not expected or not expected.strip() or given in found:
            continue
        if max(len(given.encode("utf-8", "replace")), len(expected.encode("utf-8", "replace"))) <= max_bytes:
            found[given] = expected
        if len(found) == max_tests:
            break
    return [{"input": given, "output": expected} for given, expected in found.items()]


def usable_tests(
    pairs: Iterable[tuple[Any, Any]], procedure: Procedure, max_tests: int, max_bytes: int
) -> tuple[list[dict[str, str]], Procedure]:
    """Return the cleaned tests and the procedure, which is undecided if there were tests and none can be used."""
    pairs = list(pairs)
    tests = clean_tests(pairs, max_tests, max_bytes)
    lost = bool(pairs) and not tests and not procedure.undecided
    return tests, replace(procedure, undecided=NO_USABLE_TESTS) if lost else procedure


def _text(value: Any) -> str | None:
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return value if isinstance(value, str) else None


class TestIndex:
    """tests.jsonl ({"id", "tests"} and a Procedure's fields per line), read on demand; about 150 bytes per question."""

    __test__ = False  # not a test class, whatever pytest thinks

    def __init__(self, path: Path | str):
        self.path, offset = Path(path), 0
        self._places: dict[str, tuple[int, int]] = {}  # question id -> (offset, length)
        try:
            self._file = open(path, "rb")  # noqa: SIM115 - closed by close()
        except FileNotFoundError:
            raise SdgError(
                f"{path}: file not found. It holds the questions' tests: run code/01_prepare_questions first."
            ) from None
        for number, line in enumerate(self._file, 1):
            self._places[files.parse_row(line, path, number)["id"]] = offset, len(line)
            offset += len(line)

    def find(self, question_id: str) -> list[dict[str, str]]:
        """Return the tests of a question, [] if it has none. Safe to call from several threads."""
        return self.find_with_procedure(question_id)[0]

    def find_with_procedure(self, question_id: str) -> tuple[list[dict[str, str]], Procedure]:
        """Return the tests of a question and how they are run. Safe to call from several threads."""
        offset, length = self._places.get(question_id, (0, 0))
        row = exact_json.loads(os.pread(self._file.fileno(), length, offset)) if length else {"tests": []}
        return row["tests"], read_procedure(row)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> TestIndex:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
