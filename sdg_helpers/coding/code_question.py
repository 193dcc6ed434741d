"""A programming question while it is prepared, and the counts of the rows that it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sdg_helpers.coding.procedures import COMPARED, Procedure
from sdg_helpers.row_files.values import BadRows


@dataclass
class CodeQuestion:
    """A question that may be kept. text: None if the row that a reference names does not exist; about: other keys."""

    id: str
    text: str | None
    tests: list[dict[str, str]]
    about: dict[str, Any]
    procedure: Procedure = COMPARED

    @property
    def tested_by(self) -> str:
        """How programs are judged, for counting: "compared" and so on, or why they are not."""
        return self.procedure.kind if self.tests or self.procedure.undecided else "no_tests"

    def languages(self, wanted: Sequence[str]) -> list[str]:
        """Return the wanted languages that the question can be asked in: a function is asked for in Python only."""
        return [language for language in wanted if language == "python" or not self.procedure.function]


@dataclass
class ReadCounts:
    """Rows read, how many of them repeat a question, and those that cannot be read."""

    bad: BadRows
    rows: int = 0
    repeated: int = 0
    like_tests: str = ""  # an unused column that may hold tests
