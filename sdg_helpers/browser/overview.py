"""Counts over a whole track. They read every problem, so that they are made once, with the index."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from sdg_helpers.browser.columns import COLUMNS, Column

_MAX_CHOICES = 40  # of a column that the page offers; others are found by text
_SOLVED = (0.0, 0.2, 0.4, 0.6, 0.8)  # lower ends, exclusive, of the bars between never and always solved


def overview(database: sqlite3.Connection, flags: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return what the page shows above the table: totals, how often problems are solved, the choices of each filter.

    flags: the words of each column of flags, in the order of their bits.
    """
    totals = database.execute(
        "SELECT count(*), sum(solutions), sum(right), sum(wrong), sum(undecided), sum(cut), sum(kept), "
        "sum(decision = 'relabel'), sum(decision = 'undecided') FROM problems"
    ).fetchone()
    names = ("problems", "solutions", "right", "wrong", "undecided", "cut", "kept", "relabeled", "undecided_labels")
    return {
        "totals": {name: count or 0 for name, count in zip(names, totals, strict=True)},
        "solved": _solved(database),
        "choices": {
            column.name: _flag_counts(database, column, flags[column.name])
            if column.kind == "flags"
            else _choice_counts(database, column)
            for column in COLUMNS
            if column.kind in ("choice", "flags")
        },
    }


def _solved(database: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return how many problems are never, sometimes and always solved; each bar with the bounds that filter it."""
    bounds = [(0.0, 0.0), *((low + 1e-6, round(low + 0.2, 6)) for low in _SOLVED), (1.0, 1.0)]
    bounds[-2] = (bounds[-2][0], 1 - 1e-6)
    sums = ", ".join("sum(pass_rate BETWEEN ? AND ?)" for _ in bounds)
    counts = database.execute(f"SELECT {sums} FROM problems", [end for pair in bounds for end in pair]).fetchone()
    return [
        {"min": low, "max": high, "problems": count or 0} for (low, high), count in zip(bounds, counts, strict=True)
    ]


def _choice_counts(database: sqlite3.Connection, column: Column) -> list[list[Any]]:
    sql = (
        f"SELECT {column.value}, count(*) AS number FROM problems WHERE {column.value} > '' GROUP BY 1 "
        f"ORDER BY number DESC LIMIT {_MAX_CHOICES}"
    )
    return [list(row) for row in database.execute(sql)]


def _flag_counts(database: sqlite3.Connection, column: Column, words: Sequence[str]) -> list[list[Any]]:
    if not words:
        return []
    sums = ", ".join(f"sum({column.value} >> {bit} & 1)" for bit in range(len(words)))
    counts = database.execute(f"SELECT {sums} FROM problems").fetchone()
    return [[word, count or 0] for word, count in zip(words, counts, strict=True)]
