"""Read and write verdicts.parquet, row by row, without holding the table in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as parquet

from sdg_helpers import files
from sdg_helpers.errors import SdgError


class Verdict(NamedTuple):
    """One row of verdicts.parquet; `correct` is None for an undecided one."""

    id: str
    predicted_answer: str | None
    expected_answer: str
    correct: bool | None
    how: str


class SeedVerdicts:
    """Look up the verdicts of one seed by id.

    The file is in the order of the seed file, so a lookup is normally the next row; if the order differs, the rest is
    read into a table first.
    """

    def __init__(self, path: Path | str, seed: int):
        self._rows = read_verdicts(path, seed)
        self._next = next(self._rows, None)
        self._table: dict[str, Verdict] | None = None

    def find(self, problem_id: str) -> Verdict | None:
        """Return the verdict on this seed's solution of a problem, once; None without one."""
        verdict = self._next
        if verdict is not None and verdict.id == problem_id:
            self._next = next(self._rows, None)
            return verdict
        if self._table is None:
            self._table = {}
        while self._next is not None:  # after this loop, all rows are in the table
            self._table[self._next.id] = self._next
            self._next = next(self._rows, None)
        return self._table.pop(problem_id, None)


def read_verdicts(path: Path | str, seed: int | None = None) -> Iterator[Verdict]:
    """Yield the rows of verdicts.parquet in file order, of all seeds or of one. Raises SdgError if it is missing."""
    for batch in read_batches(path, list(Verdict._fields), seed):
        yield from map(Verdict._make, zip(*(column.to_pylist() for column in batch.columns), strict=True))


def read_outcomes(path: Path | str) -> Iterator[tuple[str, bool | None]]:
    """Yield (id, correct) of every verdict."""
    for batch in read_batches(path, ["id", "correct"]):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def read_batches(path: Path | str, columns: list[str], seed: int | None = None) -> Iterator:
    """Return record batches of some columns in file order, of one seed or all. Raises SdgError for another table."""
    import pyarrow
    from pyarrow import dataset

    try:
        table = dataset.dataset(str(path), format="parquet")
        missing = {*columns, "seed"} - set(table.schema.names)
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise SdgError(
            f"cannot read the verdicts {path}: {error}. Run the judging notebook first, or give the right path."
        ) from None
    if missing:
        raise SdgError(
            f"{path}: expected the columns {', '.join((*Verdict._fields, 'seed'))}, found "
            f"{', '.join(table.schema.names)}. Give the verdicts.parquet of a judging stage."
        )
    chosen = None if seed is None else dataset.field("seed") == seed
    # Without these options, the reader holds up to the whole file.
    buffered = dataset.ParquetFragmentScanOptions(use_buffered_stream=True, buffer_size=1 << 16, pre_buffer=False)
    return table.to_batches(
        columns=columns,
        filter=chosen,
        batch_size=1 << 14,
        batch_readahead=1,
        fragment_readahead=1,
        fragment_scan_options=buffered,
        use_threads=False,
    )


SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("seed", pa.int32()),
        ("predicted_answer", pa.string()),
        ("expected_answer", pa.string()),
        ("correct", pa.bool_()),
        ("how", pa.string()),
    ]
)
_BATCH = 1 << 16
_NAMES = {True: "right", False: "wrong", None: "undecided"}


class VerdictWriter:
    """Write verdicts with `with VerdictWriter(path) as table: table.add(…)`, seed by seed in the order of its file.

    The file appears when it is complete, by rename. `by_how` and `by_verdict` count the rows, from then on.
    """

    def __init__(self, path: Path):
        self.by_how, self.by_verdict = Counter[str](), Counter[str]()
        self._file = files.atomic_writer(path)
        self._batch: list[tuple[str, int, str | None, str, bool | None, str]] = []

    def add(
        self, problem_id: str, seed: int, predicted: str | None, expected: str, correct: bool | None, how: str
    ) -> None:
        """Add one verdict."""
        self._batch.append((problem_id, seed, predicted, expected, correct, how))
        if len(self._batch) == _BATCH:
            self._write()

    def _write(self) -> None:
        columns = list(zip(*self._batch, strict=True)) or [()] * len(SCHEMA)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
        self._table.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA))
        *_, correct, hows = columns
        self.by_how.update(hows)
        self.by_verdict.update(map(_NAMES.__getitem__, correct))
        self._batch.clear()

    def __enter__(self) -> VerdictWriter:
        self._table = parquet.ParquetWriter(self._file.__enter__(), SCHEMA)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._write()
        self._table.close()
        self._file.__exit__(kind, error, traceback)
