"""Index the solutions, seed by seed: where each lies, its verdict, and why it was dropped."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sdg_helpers.browser.exported import Exported
from sdg_helpers.browser.sources import Sources
from sdg_helpers.browser.tallies import Tallies
from sdg_helpers.errors import UnreadableRow
from sdg_helpers.judging.verdicts import SeedVerdicts
from sdg_helpers.solutions.rows import Solution, parse_solution

_SEED_SHIFT = 32
_BATCH = 1 << 13


def solution_key(seed: int, position: int) -> int:
    """Return the key of a solution in the index: its seed above 32 bits, the position of its problem below."""
    return seed << _SEED_SHIFT | position


def seed_of(key: int) -> int:
    """Return the seed in a solution's key."""
    return key >> _SEED_SHIFT


class SolutionRows:
    """Write the table of solutions and count them. `unreadable`: rows that are no solutions of these problems."""

    def __init__(self, database: sqlite3.Connection, sources: Sources, positions: dict[str, int]):
        self._database, self._positions, self._table = database, positions, sources.verdicts
        self.tallies, self.exported = Tallies(len(positions)), Exported(sources, len(positions))
        self.unreadable = 0
        self._paths: dict[int, Path] = {}
        self._batch: list[tuple[object, ...]] = []

    def begin_seed(self, seed: int) -> None:
        """Go to the next seed."""
        self._seed, self._seen = seed, np.zeros(len(self._positions), dtype=bool)
        self._verdicts = SeedVerdicts(self._table, seed) if self._table else None
        self._kept = np.zeros(len(self._positions), dtype=bool)

    def add_file(self, path: Path, file: int, lines: Iterable[tuple[int, bytes]]) -> None:
        """Add the solutions of one file of the seed. lines: (offset, line); file: its number in the index."""
        self._paths[file] = path
        for number, (offset, line) in enumerate(lines, 1):
            try:
                solution = parse_solution(line, path, number)
                position = self._positions[solution.keys["id"]]
            except (UnreadableRow, KeyError, TypeError):
                self.unreadable += 1
                continue
            if not self._seen[position]:
                self._seen[position] = True
                self._add(position, solution, file, offset, len(line))
        self._flush()

    def _add(self, position: int, solution: Solution, file: int, offset: int, length: int) -> None:
        tallies, dropped, how, correct, predicted = self.tallies, None, None, None, None
        verdict = self._verdicts.find(solution.keys["id"]) if self._verdicts else None
        tallies.add(position, solution, verdict)
        if not self.exported.unknown:
            if reason := self.exported.reason(position, solution, verdict):
                dropped = tallies.drop(position, reason)
            else:
                self._kept[position] = True
        if verdict is not None:
            correct, how, predicted = verdict.correct, tallies.how.number(verdict.how), verdict.predicted_answer
        key = solution_key(self._seed, position)
        self._batch.append((key, file, offset, length, correct, how, predicted, dropped))
        if len(self._batch) == _BATCH:
            self._flush()

    def _flush(self) -> None:
        self._database.executemany("INSERT INTO solutions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", self._batch)
        self._batch.clear()
        self.tallies.add_up()

    def end_seed(self) -> None:
        """Find the seed's duplicates, once all its files were added."""
        if self.exported.unknown:
            return
        for position, earlier in self.exported.candidates(self._seed):
            text = self._exported_text(self._seed, position)
            if any(self._exported_text(seed, position) == text for seed in earlier):
                self._kept[position] = False
                number = self.tallies.drop(position, "duplicate")
                key = solution_key(self._seed, position)
                self._database.execute("UPDATE solutions SET dropped = ? WHERE key = ?", (number, key))
        self.tallies.keep(self._kept)

    def _exported_text(self, seed: int, position: int) -> bytes:
        sql = "SELECT file, offset, length FROM solutions WHERE key = ?"
        file, offset, length = self._database.execute(sql, (solution_key(seed, position),)).fetchone()
        with open(self._paths[file], "rb") as source:
            source.seek(offset)
            return self.exported.text(parse_solution(source.read(length), self._paths[file], offset))
