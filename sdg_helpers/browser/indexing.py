"""Fill the browser's index from a track's files, one row at a time."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from sdg_helpers import files
from sdg_helpers.browser.overview import overview
from sdg_helpers.browser.solution_rows import SolutionRows
from sdg_helpers.browser.sources import Sources
from sdg_helpers.errors import SdgError

_START = 400  # characters of a problem that the table shows
_REPORT_EVERY = 1 << 25  # bytes


class Places:
    """Read the lines of files with their offsets, and report how much has been read."""

    def __init__(self, total: int, on_progress: Callable[[int, int], None]):
        self._done, self._reported, self._total, self._on_progress = 0, 0, total, on_progress

    def lines(self, path: Path) -> Iterator[tuple[int, bytes]]:
        """Yield (offset, line) of every whole line; a line that is being written has no end yet."""
        offset = 0
        with open(path, "rb", buffering=1 << 20) as file:
            for line in file:
                if line.endswith(b"\n") and not line.isspace():
                    yield offset, line
                offset += len(line)
                self._done += len(line)
                if self._done - self._reported >= _REPORT_EVERY:
                    self._reported = self._done
                    self._on_progress(self._done, self._total)


def index_files(database: sqlite3.Connection, sources: Sources, on_progress: Callable[[int, int], None]) -> None:
    """Fill the tables. Rows that cannot be read, or whose problem is unknown, are counted under "unreadable"."""
    run = sources.track.folder.parent
    paths = [sources.problems, *(path for _, path in sources.solutions), *sources.stores]
    numbers = {path: number for number, path in enumerate(paths)}
    database.executemany(
        "INSERT INTO files VALUES (?, ?)", ((number, str(path.relative_to(run))) for path, number in numbers.items())
    )
    places = Places(sum(path.stat().st_size for path in paths), on_progress)
    positions = _problems(database, sources, places)
    _labels(database, sources.labels, positions)
    solutions = SolutionRows(database, sources, positions)
    for seed in dict.fromkeys(seed for seed, _ in sources.solutions):
        solutions.begin_seed(seed)
        for path in (path for one, path in sources.solutions if one == seed):
            solutions.add_file(path, numbers[path], places.lines(path))
        solutions.end_seed()
    tallies, exported = solutions.tallies, solutions.exported
    database.executemany(
        "UPDATE problems SET (solutions, right, wrong, undecided, cut, kept, tokens, dropped, tiers, pass_rate, "
        "cut_share, kept_share) = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE position = ?",
        tallies.rows(not exported.unknown, sources.track.name != "code"),
    )
    _replies(database, sources, places, numbers, positions)
    _failures(database, sources.failures, positions)
    database.execute("CREATE INDEX by_id ON problems (id)")
    database.execute("CREATE INDEX replies_of ON replies (position)")
    database.execute("CREATE INDEX failures_of ON failures (position)")
    facts = {
        "reasons": tallies.reasons.words,
        "how": tallies.how.words,
        "overview": overview(database, {"dropped": tallies.reasons.words, "tiers": tallies.how.words}),
        "unreadable": solutions.unreadable,
        "export": exported.unknown,
        "seeds": sorted({seed for seed, _ in sources.solutions}),
    }
    database.executemany("INSERT INTO facts VALUES (?, ?)", ((name, json.dumps(one)) for name, one in facts.items()))


def _problems(database: sqlite3.Connection, sources: Sources, places: Places) -> dict[str, int]:
    """Store the problems; return their positions by id."""
    positions: dict[str, int] = {}

    def rows() -> Iterator[tuple[Any, ...]]:
        for number, (offset, line) in enumerate(places.lines(sources.problems), 1):
            row = files.parse_row(line, sources.problems, number)
            text, position = str(row.get("problem", "")), len(positions)
            if positions.setdefault(str(row["id"]), position) != position:
                raise SdgError(f"{sources.problems}, line {number}: duplicate id {row['id']!r}. Make the ids unique.")
            reference, source = str(row.get("expected_answer") or ""), str(row.get("problem_source") or "")
            start = " ".join(text[: 2 * _START].split())[:_START]
            folded = "\n".join((text, str(row["id"]), reference, source)).casefold()
            database.execute("INSERT INTO texts VALUES (?, ?, ?)", (position, start, folded))
            yield position, str(row["id"]), source, offset, len(line), len(text), reference

    database.executemany(
        "INSERT INTO problems (position, id, source, offset, length, characters, reference) VALUES (?,?,?,?,?,?,?)",
        rows(),
    )
    return positions


def _labels(database: sqlite3.Connection, path: Path | None, positions: dict[str, int]) -> None:
    if path is None:
        return
    with parquet.ParquetFile(path) as table:
        for batch in table.iter_batches(batch_size=1 << 14, use_threads=False):
            database.executemany(
                "UPDATE problems SET label = ?, decision = ?, reason = ?, confidence = ?, votes = ?, seeds = ? "
                "WHERE position = ?",
                (
                    (
                        row["expected_answer"],
                        # a vote without references has no decision: a question is kept, or dropped for a reason
                        row.get("decision") or ("undecided" if row["reason"] else "voted"),
                        row["reason"] or None, row["confidence"], row["votes"], row["seeds"], positions[row["id"]],
                    )
                    for row in batch.to_pylist() if row["id"] in positions
                ),
            )  # fmt: skip


def _replies(
    database: sqlite3.Connection, sources: Sources, places: Places, numbers: dict[Path, int], positions: dict[str, int]
) -> None:
    """Store where the judge's replies about each problem lie."""
    for path in sources.stores:
        database.executemany(
            "INSERT INTO replies VALUES (?, ?, ?, ?)",
            (
                (position, numbers[path], offset, len(line))
                for number, (offset, line) in enumerate(places.lines(path), 1)
                if (row := files.parse_row(line, path, number)).get("reply")
                and (position := positions.get(row["id"])) is not None
            ),
        )


def _failures(database: sqlite3.Connection, path: Path, positions: dict[str, int]) -> None:
    """Store which solutions could not be generated."""
    database.executemany(
        "INSERT INTO failures VALUES (?, ?, ?, ?)",
        (
            (positions[row["id"]], row["seed"], str(row["reason"]), str(row["detail"]))
            for row in files.read_log(path)
            if row["id"] in positions
        ),
    )
