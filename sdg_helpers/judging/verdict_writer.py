"""Write verdicts.parquet, the small table of a judging stage, in batches."""
from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as parquet

from .. import files

SCHEMA = pa.schema([("id", pa.string()), ("seed", pa.int32()), ("predicted_answer", pa.string()),
                    ("expected_answer", pa.string()), ("correct", pa.bool_()), ("how", pa.string())])
_BATCH = 1 << 16
_NAMES = {True: "right", False: "wrong", None: "undecided"}


class VerdictWriter:
    """`with VerdictWriter(path) as table: table.add(…)`: rows seed by seed, in the order of the seed's file.

    The file appears whole or not at all. `by_how` and `by_verdict` count the rows.
    """

    def __init__(self, path: Path):
        self.by_how, self.by_verdict = Counter(), Counter()
        self._file, self._batch = files.atomic_writer(path), []

    def add(self, problem_id: str, seed: int, predicted: str | None, expected: str, correct: bool | None,
            how: str) -> None:
        """One verdict."""
        self.by_how[how] += 1
        self.by_verdict[_NAMES[correct]] += 1
        self._batch.append((problem_id, seed, predicted, expected, correct, how))
        if len(self._batch) == _BATCH:
            self._write()

    def _write(self) -> None:
        columns = list(zip(*self._batch, strict=True)) or [()] * len(SCHEMA)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
        self._table.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA))
        self._batch.clear()

    def __enter__(self) -> VerdictWriter:
        self._table = parquet.ParquetWriter(self._file.__enter__(), SCHEMA)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        if kind is None:
            self._write()
        self._table.close()
        self._file.__exit__(kind, error, traceback)
