"""Read problems.jsonl in order, or find problems by id."""

from __future__ import annotations

import weakref
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.errors import SdgError


def read_problems(path: Path | str) -> Iterator[dict[str, Any]]:
    """Yield the rows of problems.jsonl. Raises SdgError for an empty file and for a row without `id` or `problem`."""
    number = 0
    for number, row in enumerate(files.read_jsonl(path), 1):
        yield _check_row(row, path, number)
    if not number:
        raise SdgError(f"{path}: this file has no problems. Write it with 01_download_problems, or correct the path.")


def _check_row(row: dict[str, Any], path: Path | str, number: int) -> dict[str, Any]:
    for key in ("id", "problem"):
        if not isinstance(row.get(key), str) or not row[key]:
            raise SdgError(
                f"{path}, row {number}: the key {key!r} must hold a text, not {row.get(key)!r}. Fix this row, or "
                "write the file with 01_download_problems."
            )
    return row


def find_problems(path: Path | str, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the problems with these ids, by id; unknown ids are omitted. Reading stops once all are found."""
    wanted, found = set(ids), dict[str, dict[str, Any]]()
    for row in read_problems(path):
        if len(found) == len(wanted):
            break
        if row["id"] in wanted:
            found[row["id"]] = row
    return found


def read_texts(path: Path | str, positions: Iterable[int]) -> dict[int, str]:
    """Return the problems' texts at these positions (from 0), by position."""
    wanted = set(positions)
    if not wanted:
        return {}
    return {place: row["problem"] for place, row in enumerate(read_problems(path)) if place in wanted}


class ProblemFile:
    """Problems by position, read from problems.jsonl when they are needed. Takes 8 bytes per problem."""

    def __init__(self, path: Path | str):
        """Find where each row begins. Raises SdgError when the file cannot be read."""
        self._path, self._starts, offset = path, array("q"), 0
        with files.open_rows(path) as file:
            for line in file:
                if not line.isspace():
                    self._starts.append(offset)
                offset += len(line)

    def __len__(self) -> int:
        return len(self._starts)

    def read(self, positions: Iterable[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (position, problem) for these positions. Raises SdgError for a bad row."""
        with files.open_rows(self._path) as file:
            for position in positions:
                file.seek(self._starts[position])
                row = files.parse_row(file.readline(), self._path, position + 1)
                yield position, _check_row(row, self._path, position + 1)


class ProblemTexts:
    """The problems' ids in order, and their texts when they are needed. Takes about 75 bytes per problem."""

    def __init__(self, path: Path | str):
        """Raises SdgError when the file cannot be read, or for a bad row."""
        self._path, self._starts, self.ids, offset = path, array("q"), list[str](), 0
        self._file = files.open_rows(path)
        weakref.finalize(self, self._file.close)
        for number, line in enumerate(self._file, 1):
            if not line.isspace():
                self._starts.append(offset)
                self.ids.append(_check_row(files.parse_row(line, path, number), path, number)["id"])
            offset += len(line)

    def text(self, position: int) -> str:
        """Return the text of the problem at a position."""
        self._file.seek(self._starts[position])
        return str(files.parse_row(self._file.readline(), self._path, position + 1)["problem"])


class ProblemIndex:
    """The position of each problem in problems.jsonl, by id. Takes about 150 bytes per problem."""

    def __init__(self, ids: dict[str, int]):
        self._positions = ids

    @classmethod
    def build(cls, path: Path | str) -> ProblemIndex:
        """Read the ids of a file. Raises SdgError, naming both rows, for a duplicate id."""
        ids: dict[str, int] = {}
        for position, row in enumerate(read_problems(path)):
            first = ids.setdefault(row["id"], position)
            if first != position:
                raise SdgError(
                    f"{path}: duplicate id {row['id']!r} in rows {first + 1} and {position + 1}. Remove one of them, "
                    "or make the ids unique."
                )
        return cls(ids)

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[str]:
        return iter(self._positions)

    def position(self, problem_id: str) -> int:
        """Return a problem's position in the file, counted from 0; -1 for an unknown id."""
        return self._positions.get(problem_id, -1)
