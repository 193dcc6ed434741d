"""A judge, and the rows of a verdicts file."""

import pyarrow.parquet as parquet

from sdg_helpers.completions.types import Limits
from sdg_helpers.judging.asking import Judge
from sdg_helpers.prompts import load_prompt

LIMITS = Limits(8, timeout_s=10, max_retries=3)


def judge_by(open_server, limits=LIMITS, prompt="math/judge"):
    """The scripted model as judge."""
    return Judge(open_server, model="standin", prompt=load_prompt(prompt), limits=limits)


def verdicts(folder):
    with parquet.ParquetFile(folder / "verdicts.parquet") as table:
        return [tuple(row.values()) for row in table.read().to_pylist()]
