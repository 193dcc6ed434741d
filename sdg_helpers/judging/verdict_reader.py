"""Join verdicts to the rows of a seed file, in step with them and without holding the table."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import SdgError


class Verdict(NamedTuple):
    """One row of verdicts.parquet; `correct` is None where nobody could decide."""

    id: str
    predicted_answer: str | None
    expected_answer: str
    correct: bool | None
    how: str


class SeedVerdicts:
    """The verdicts of one seed, looked up by id.

    They stand in the order of the seed file, so that the next one asked for is the next one read; where the order
    differs, the rest is read into a table first.
    """

    def __init__(self, path: Path | str, seed: int):
        self._rows = read_verdicts(path, seed)
        self._next = next(self._rows, None)
        self._table: dict[str, Verdict] | None = None

    def find(self, problem_id: str) -> Verdict | None:
        """The verdict about this seed's solution of a problem; each can be asked for once."""
        verdict = self._next
        if verdict is not None and verdict.id == problem_id:
            self._next = next(self._rows, None)
            return verdict
        if self._table is None:
            self._table = {}
        while self._next is not None:  # once: afterwards everything is in the table
            self._table[self._next.id] = self._next
            self._next = next(self._rows, None)
        return self._table.pop(problem_id, None)


def read_verdicts(path: Path | str, seed: int | None = None) -> Iterator[Verdict]:
    """Rows of verdicts.parquet in file order, all of them or one seed's. Raises SdgError when it is not there."""
    for batch in read_batches(path, list(Verdict._fields), seed):
        yield from map(Verdict._make, zip(*(column.to_pylist() for column in batch.columns), strict=True))


def read_outcomes(path: Path | str) -> Iterator[tuple[str, bool | None]]:
    """(id, correct) of every verdict."""
    for batch in read_batches(path, ["id", "correct"]):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def read_batches(path: Path | str, columns: list[str], seed: int | None = None) -> Iterator:
    """Record batches of some columns, in file order, of all seeds or of one. Raises SdgError for another table."""
    import pyarrow
    from pyarrow import dataset

    try:
        table = dataset.dataset(str(path), format="parquet")
        missing = {*columns, "seed"} - set(table.schema.names)
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise SdgError(f"{path}: expected a table of verdicts, found that it cannot be read ({error}). "
                       "Run the judging notebook first, or give the right path.") from None
    if missing:
        raise SdgError(f"{path}: expected the columns {', '.join((*Verdict._fields, 'seed'))}, found "
                       f"{', '.join(table.schema.names)}. Give the verdicts.parquet of a judging stage.")
    chosen = None if seed is None else dataset.field("seed") == seed
    return table.to_batches(columns=columns, filter=chosen, batch_size=1 << 14, batch_readahead=1,
                            fragment_readahead=1, use_threads=False)
