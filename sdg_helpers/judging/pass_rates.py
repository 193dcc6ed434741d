"""Pass rates: the share of right solutions of each problem, as a table by id."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from sdg_helpers import files
from sdg_helpers.judging.verdicts import read_outcomes, read_verdicts
from sdg_helpers.problems.problem_file import ProblemIndex


class PassRate(NamedTuple):
    """The share of a problem's solutions that are right. samples: how many solutions it rests on."""

    rate: float
    samples: int


def write(path: Path, problems: Path, verdicts: Path) -> Path:
    """Write a table with one row per problem, in problem order; return its path.

    Columns: id; solutions; programs (solutions that passed the filter: they have a predicted_answer); right;
    pass_rate: right / solutions, null without solutions.
    """
    index = ProblemIndex.build(problems)
    counts = np.zeros((3, len(index)), dtype=np.int64)
    for verdict in read_verdicts(verdicts):
        position = index.position(verdict.id)
        if position >= 0:
            counts[:, position] += 1, verdict.predicted_answer is not None, verdict.correct is True
    solutions, programs, right = counts
    rate = np.divide(right, solutions, out=np.full(len(index), np.nan), where=solutions > 0)
    table = pa.table(
        {
            "id": pa.array(list(index), pa.string()),
            "solutions": solutions,
            "programs": programs,
            "right": right,
            "pass_rate": pa.array(rate, pa.float64(), from_pandas=True),
        }
    )
    with files.atomic_writer(path) as out:
        parquet.write_table(table, out)
    return path


def read(path: Path | str) -> dict[str, PassRate]:
    """Return the pass rates by id, without the problems that have none; about 200 bytes per problem."""
    table = parquet.read_table(path, columns=["id", "pass_rate", "solutions"])
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    return {problem_id: PassRate(rate, samples) for problem_id, rate, samples in rows if rate is not None}


def count(verdicts: Path | str) -> dict[str, PassRate]:
    """Return right / decided solutions by problem id; about 400 bytes per problem.

    Unbiased only if the number of solutions does not depend on their verdicts: see adaptive/pass_rates.py.
    """
    right, decided = Counter[str](), Counter[str]()
    for problem_id, correct in read_outcomes(verdicts):
        decided[problem_id] += correct is not None
        right[problem_id] += correct is True
    return {
        problem_id: PassRate(right[problem_id] / number, number) for problem_id, number in decided.items() if number
    }
