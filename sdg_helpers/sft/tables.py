"""An exported table: its files, its types, and its name in the card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from sdg_helpers.sft.parquet_files import write_parquet

PARQUET = "parquet"  # folder of the Parquet files: a loader reads one format per folder


class Table(NamedTuple):
    """config: its name in the card; paths: its file, or its shards in order."""

    config: str
    paths: Sequence[Path]
    schema: pa.Schema

    def names(self, folder: Path) -> list[str]:
        """Return the paths relative to a folder."""
        return [path.relative_to(folder).as_posix() for path in self.paths]

    def as_parquet(self) -> Table:
        """Write the rows of a JSONL table as Parquet, in the folder PARQUET beside it; return that table."""
        path = self.paths[0]
        return Table(
            self.config, write_parquet(self._rows(), path.parent / PARQUET / path.name, self.schema), self.schema
        )

    def _rows(self) -> Iterator[bytes]:
        for path in self.paths:
            with open(path, "rb", buffering=1 << 20) as file:
                yield from file
