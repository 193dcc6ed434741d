"""allocation.parquet: how many solutions of each problem are asked for, where that differs between problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.problems.problem_file import ProblemIndex


def write_allocation(path: Path, ids: Sequence[str], seeds: np.ndarray, more: Mapping[str, Any]) -> None:
    """Write a table with the columns id and seeds (seeds 0 … seeds-1 are asked for) and those of `more`."""
    table = pa.table({"id": pa.array(ids, pa.string()), "seeds": pa.array(seeds, pa.int32()), **more})
    with files.atomic_writer(path) as out:
        parquet.write_table(table, out)


def read_allocation(path: Path, index: ProblemIndex, default: int) -> np.ndarray:
    """Return the number of seeds of each problem, in the index's order; `default` for a problem without a row."""
    seeds = np.full(len(index), default, dtype=np.int32)
    if path.exists():
        table = parquet.read_table(path, columns=["id", "seeds"])
        for problem_id, number in zip(table["id"].to_pylist(), table["seeds"].to_pylist(), strict=True):
            if (position := index.position(problem_id)) >= 0:
                seeds[position] = number
    return seeds


def asked_for(allocation: Path | None, index: ProblemIndex, num_seeds: int) -> np.ndarray:
    """Return which solutions are asked for: a bool array of shape (problems, num_seeds). None: all of them.

    Raises SdgError when the table has no row for a problem, or more seeds than num_seeds.
    """
    if allocation is None:
        return np.ones((len(index), num_seeds), dtype=bool)
    seeds = read_allocation(allocation, index, -1)
    if len(seeds) and not (seeds.min() >= 0 and seeds.max() <= num_seeds):
        raise SdgError(
            f"{allocation}: every problem needs a row with 0 to {num_seeds} seeds; found {seeds.min()} (-1: no row) to "
            f"{seeds.max()}. Delete the file, then run again."
        )
    return np.arange(num_seeds) < seeds[:, None]
