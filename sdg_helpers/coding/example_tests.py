"""Example tests of a problem: cleaned when questions are prepared, found by id when programs are run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from sdg_helpers import files
from sdg_helpers.errors import SdgError


def clean_tests(pairs: Iterable[tuple[Any, Any]], max_tests: int, max_bytes: int) -> list[dict[str, str]]:
    """The first `max_tests` (input, output) pairs that are texts of at most max_bytes each; equal inputs once.

    Lists of lines, as some datasets have them, are joined. Pairs of another kind (arguments of a function) are none.
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


def _text(value: Any) -> str | None:
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return value if isinstance(value, str) else None


class TestIndex:
    """tests.jsonl ({"id", "tests"} a line), read where it is asked for; about 150 bytes a question."""

    __test__ = False  # not one of pytest's

    def __init__(self, path: Path | str):
        self.path, self._places, offset = Path(path), {}, 0
        try:
            self._file = open(path, "rb")  # noqa: SIM115 - closed by close()
        except FileNotFoundError:
            raise SdgError(
                f"{path}: expected the questions' tests, found none. Run code/01_prepare_questions first."
            ) from None
        for number, line in enumerate(self._file, 1):
            self._places[files.parse_row(line, path, number)["id"]] = offset, len(line)
            offset += len(line)

    def of(self, question_id: str) -> list[dict[str, str]]:
        """The tests of a question, [] when it has none. May be called from several threads."""
        offset, length = self._places.get(question_id, (0, 0))
        return orjson.loads(os.pread(self._file.fileno(), length, offset))["tests"] if length else []

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> TestIndex:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
