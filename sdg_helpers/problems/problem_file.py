"""Read problems.jsonl: in order, or by id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.errors import SdgError


def read_problems(path: Path | str) -> Iterator[dict[str, Any]]:
    """Rows of problems.jsonl, one at a time. Raises SdgError for a row without `id` or `problem` (file and line)."""
    number = 0
    for number, row in enumerate(files.read_jsonl(path), 1):
        for key in ("id", "problem"):
            if not isinstance(row.get(key), str) or not row[key]:
                raise SdgError(
                    f"{path}, row {number}: expected a text under the key {key!r}, found "
                    f"{row.get(key)!r}. Mend that row, or make the file with 01_download_problems."
                )
        yield row
    if not number:
        raise SdgError(
            f"{path}: expected at least one problem, found an empty file. Make it with "
            "01_download_problems, or give the right path."
        )


def find_problems(path: Path | str, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the problems with these ids, by id; unknown ids are omitted. Reading stops once all are found."""
    wanted, found = set(ids), dict[str, dict[str, Any]]()
    for row in read_problems(path):
        if len(found) == len(wanted):
            break
        if row["id"] in wanted:
            found[row["id"]] = row
    return found


class ProblemIndex:
    """Where each problem stands in problems.jsonl: id -> position. About 150 bytes a problem."""

    def __init__(self, ids: dict[str, int]):
        self._positions = ids

    @classmethod
    def build(cls, path: Path | str) -> ProblemIndex:
        """Read the ids of a file. Raises SdgError, naming both rows, for an id that stands there twice."""
        ids: dict[str, int] = {}
        for position, row in enumerate(read_problems(path)):
            first = ids.setdefault(row["id"], position)
            if first != position:
                raise SdgError(
                    f"{path}: expected every id once, found {row['id']!r} in rows {first + 1} and "
                    f"{position + 1}. Remove one, or give the rows ids of their own."
                )
        return cls(ids)

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[str]:
        return iter(self._positions)

    def position(self, problem_id: str) -> int:
        """The problem's place in the file, from 0; -1 for an id that is not there."""
        return self._positions.get(problem_id, -1)
