"""Settings of a judge, and the rows of a verdicts file."""

import pyarrow.parquet as parquet

from sdg_helpers.completions.types import Limits
from sdg_helpers.prompts import load_prompt

JUDGE = {"model": "standin", "prompt": load_prompt("math/judge"), "limits": Limits(8, timeout_s=10, max_retries=3)}


def verdicts(folder):
    with parquet.ParquetFile(folder / "verdicts.parquet") as table:
        return [tuple(row.values()) for row in table.read().to_pylist()]
