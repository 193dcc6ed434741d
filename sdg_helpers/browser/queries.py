"""Pages of the browser's table, filtered and sorted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sdg_helpers.browser.columns import BY_NAME, COLUMNS, Column
from sdg_helpers.errors import SdgError, did_you_mean

PAGE_ROWS = 50
_CELL = 300  # characters of an answer in the table
_SOLVED = (0.0, 0.2, 0.4, 0.6, 0.8)  # lower ends, exclusive, of the bars between never and always solved

Values = Mapping[str, Sequence[str]]


class Query:
    """Filters, order and page, from the parameters of a URL. Raises SdgError for those that make no sense.

    NAME=word for choices and flags (several are alternatives), NAME.min and NAME.max for numbers and shares, text=…,
    sort=NAME or sort=-NAME, page=0…
    """

    def __init__(self, values: Values, flags: Mapping[str, Sequence[str]]):
        """flags: the words of each column of flags, in the order of their bits."""
        self._flags, conditions, self._arguments = flags, list[str](), list[Any]()
        self.order, self.page = "position", 0
        for name, given in values.items():
            if name == "text":
                conditions.append("position IN (SELECT position FROM texts WHERE instr(folded, ?))")
                self._arguments.append(given[-1].casefold())
            elif name == "page":
                self.page = int(_number(name, given[-1]))
            elif name == "sort":
                column = _column(given[-1].removeprefix("-"))
                self.order = f"{column.value} {'DESC' if given[-1].startswith('-') else 'ASC'} NULLS LAST, position"
            else:
                conditions.append(self._condition(name, given))
        self.where = f"WHERE {' AND '.join(conditions)}" if conditions else ""

    def _condition(self, name: str, given: Sequence[str]) -> str:
        base, _, bound = name.partition(".")
        column = _column(base)
        if column.kind in ("number", "share"):
            if bound not in ("min", "max"):
                raise SdgError(f"{name}: filter this column with {base}.min and {base}.max.")
            self._arguments.append(_number(name, given[-1]))
            return f"{column.value} {'>=' if bound == 'min' else '<='} ?"
        if column.kind == "flags":
            known = self._flags[column.name]
            self._arguments.append(sum(1 << known.index(word) for word in set(given) if word in known))
            return f"{column.value} & ? != 0"
        self._arguments += given
        return f"{column.value} IN ({', '.join('?' * len(given))})"

    def count(self, database: sqlite3.Connection) -> int:
        """Return how many problems pass the filters."""
        return int(database.execute(f"SELECT count(*) FROM problems {self.where}", self._arguments).fetchone()[0])

    def rows(self, database: sqlite3.Connection, limit: int = PAGE_ROWS) -> list[dict[str, Any]]:
        """Return the problems of the page."""
        sql = f"SELECT position FROM problems {self.where} ORDER BY {self.order} LIMIT ? OFFSET ?"
        found = database.execute(sql, (*self._arguments, limit, self.page * limit))
        return table_rows(database, [position for (position,) in found], self._flags)


def table_rows(
    database: sqlite3.Connection, positions: Iterable[int], flags: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Return the rows of the table for these problems, in this order."""
    values = ", ".join(column.value for column in COLUMNS)
    answers = ", ".join(f"substr({name}, 1, {_CELL})" for name in ("reference", "label"))
    sql = (
        f"SELECT position, id, start, solutions, right, {answers}, {values} FROM problems JOIN texts USING (position) "
        "WHERE position = ?"
    )
    names = ("position", "id", "start", "solutions", "right", "reference", "label", *BY_NAME)
    rows = []
    for position in positions:
        row = dict(zip(names, database.execute(sql, (position,)).fetchone(), strict=True))
        rows.append(row | {name: unpack(row[name], words) for name, words in flags.items()})
    return rows


def unpack(bits: int | None, words: Sequence[str]) -> list[str]:
    """Return the words whose bits are set."""
    return [word for number, word in enumerate(words) if (bits or 0) >> number & 1]


def flags_of(facts: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the words of each column of flags."""
    return {"dropped": facts["reasons"], "tiers": facts["how"]}


def _column(name: str) -> Column:
    if name not in BY_NAME:
        raise SdgError(f"the table has no column {name!r}.{did_you_mean(name, BY_NAME)}")
    return BY_NAME[name]


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
        if not 0 <= value < 1e15:
            raise ValueError
    except ValueError:
        raise SdgError(f"{name}: expected a number from 0 on, found {text[:40]!r}.") from None
    return value
