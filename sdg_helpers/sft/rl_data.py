"""The RL forms of a track's data: problems with a verifiable answer, and how often the model solved them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa

from sdg_helpers import files
from sdg_helpers.judging.pass_rates import PassRate
from sdg_helpers.judging.verdicts import read_verdicts
from sdg_helpers.problems.problem_file import ProblemIndex, read_problems
from sdg_helpers.sft.columns import schema
from sdg_helpers.sft.parquet_files import write_parquet
from sdg_helpers.sft.rows import RowMaker, shuffle_key
from sdg_helpers.sft.shuffling import ShuffledRows
from sdg_helpers.sft.tables import PARQUET, Table

_RATE = [("pass_rate", pa.float64()), ("pass_rate_samples", pa.int64())]
_SCHEMA = schema({"problem": pa.string(), "expected_answer": pa.string(), **dict(_RATE)})
# The keys that verl reads; https://verl.readthedocs.io/en/latest/preparation/prepare_data.html
_VERL_SCHEMA = schema(
    {
        "data_source": pa.string(),
        "prompt": pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
        "ability": pa.string(),
        "reward_model": pa.struct([("style", pa.string()), ("ground_truth", pa.string())]),
        "extra_info": pa.struct([("split", pa.string()), ("index", pa.int64()), ("id", pa.string()), *_RATE]),
    }
)


def write_rl_data(
    folder: Path,
    problems: Path,
    verdicts: Path,
    rates: Mapping[str, PassRate],
    shuffle_seed: int,
    track: str,
    maker: RowMaker,
    data_source: str,
) -> tuple[Table, Table, int, dict[str, int]]:
    """Write rl-data-{track}.jsonl (problem, expected_answer, pass_rate, pass_rate_samples), shuffled, and the same
    problems for verl in parquet/rl-data-{track}-verl-*.parquet.

    rates: pass rates by problem id, of all solutions, exported or not. Problems without an answer or without a pass
    rate are dropped, and so are those that the maker's filters drop. data_source: a name by which verl chooses a reward
    function.
    Return both tables, the number of rows, and the number of dropped problems by reason.
    """
    path = folder / f"rl-data-{track}.jsonl"
    dropped: Counter[str] = Counter()
    with ExitStack() as stack:
        spill, size = folder / "partial", problems.stat().st_size
        rows, verl_rows = (stack.enter_context(ShuffledRows(spill / name, size)) for name in ("rl", "verl"))
        for problem, answer in _problems(problems, verdicts):
            known = rates.get(problem["id"])
            if reason := _reason_to_drop(maker, problem, answer, known):
                dropped[reason] += 1
            elif known:
                key, rate = shuffle_key(shuffle_seed, problem["id"], b""), round(known.rate, 4)
                row = {
                    "problem": problem["problem"],
                    "expected_answer": answer,
                    "pass_rate": rate,
                    "pass_rate_samples": known.samples,
                }
                rows.add(key, files.dumps(row))
                verl_rows.add(key, files.dumps(_verl_row(maker, problem, row, data_source, track, verl_rows.rows)))
        with files.atomic_writer(path) as out:
            out.writelines(line for line, _, _ in rows)
        lines = (line for line, _, _ in verl_rows)
        shards = write_parquet(lines, folder / PARQUET / f"rl-data-{track}-verl.parquet", _VERL_SCHEMA)
    return Table("rl", (path,), _SCHEMA), Table("verl", shards, _VERL_SCHEMA), rows.rows, dict(dropped)


def _problems(problems: Path, verdicts: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each problem and its expected answer ("" without one)."""
    index = ProblemIndex.build(problems)
    expected: list[str] = [""] * len(index)
    for verdict in read_verdicts(verdicts):
        position = index.position(verdict.id)
        if position >= 0:
            expected[position] = verdict.expected_answer
    for position, problem in enumerate(read_problems(problems)):
        yield problem, expected[position]


def _reason_to_drop(maker: RowMaker, problem: dict[str, Any], answer: str, known: PassRate | None) -> str | None:
    if not answer:
        return "no_answer"
    if known is None:
        return "no_verdict"
    return maker.reason_to_drop_problem(problem["problem"], known.rate)


def _verl_row(
    maker: RowMaker, problem: dict[str, Any], row: dict[str, Any], data_source: str, track: str, index: int
) -> dict[str, Any]:
    return {
        "data_source": data_source,
        "prompt": [*maker.head, {"role": "user", "content": maker.prompt.user_text(problem)}],
        "ability": track,
        "reward_model": {"style": "rule", "ground_truth": row["expected_answer"]},
        "extra_info": {"split": "train", "index": index, "id": problem["id"]} | {name: row[name] for name, _ in _RATE},
    }
