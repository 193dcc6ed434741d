"""Stage 08, second part: what the model picked in each comparison, whether it is right, and how that compares."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet

from sdg_helpers import files
from sdg_helpers.answers.equality import canonical
from sdg_helpers.answers.extraction import is_finished, split_thinking
from sdg_helpers.problems.problem_file import read_problems
from sdg_helpers.solutions import seed_files
from sdg_helpers.stages import Stage, Work

_MARK = re.compile(r"judge?ment\W{0,4}:", re.IGNORECASE)
_PICK = re.compile(
    r"[\s*_`$\[({]*(?:\\boxed\{|\\text\{|solution|attempt|number|index|\s)*[\s*_`\[({#]*"
    r"(\d{1,3})(?![\d.]*\d)(?!\W{0,6}(?:and|or|,|/|&)\W{0,6}\d|[^\w\n]{0,6}[-–—][^\w\n]{0,6}\d)",
    re.IGNORECASE,
)  # a dash in the next line begins a list
_TAIL = 400  # characters after the mark that are looked at
_BATCH = 20_000  # rows a row group
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("seed", pa.int32()),
        ("predicted_answer", pa.string()),
        ("expected_answer", pa.string()),
        ("correct", pa.bool_()),
        ("how", pa.string()),
        ("pick", pa.int32()),
        ("num_solutions", pa.int32()),
        ("num_right", pa.int32()),
        ("first_right", pa.int32()),
        ("majority_right", pa.float32()),
    ]
)


def picked(generation: str, num_solutions: int) -> int | None:
    """The number after the last `Judgment:` of a reply, its thinking left aside; None when it names no solution, or
    more than one. `Judgment: [2]`, `**Judgement:** 2` and `Judgment: Solution 2` are all 2."""
    _, reply = split_thinking(generation)
    marks = list(_MARK.finditer(reply))
    found = _PICK.match(reply[marks[-1].end() : marks[-1].end() + _TAIL]) if marks else None
    return int(found[1]) if found and int(found[1]) < num_solutions else None


def majority_right(answers: list[str], right: list[bool]) -> float:
    """1.0 when the most frequent of equal answers is right, 0.0 when it is wrong; of equally many, their share."""
    keys = [canonical(answer) for answer in answers]
    counts, is_right = Counter(keys), dict(zip(keys, right, strict=True))
    first = [key for key, count in counts.items() if count == max(counts.values())]
    return sum(is_right[key] for key in first) / len(first)


def judge_picks(comparisons: Path, solutions: Stage, stage: Stage, *, reasoning: bool = True) -> dict[str, Any]:
    """Write verdicts.parquet: as a judging stage does (id of the comparison, seed, predicted_answer: that of the
    picked solution, expected_answer, correct, how), and pick, num_solutions, num_right, first_right, majority_right.

    how: picked, unreadable or unfinished. An unreadable reply has no verdict and is not exported. Returns the manifest.
    """
    solutions.require()
    seeds = seed_files.seed_files(solutions.folder)
    inputs = {"comparisons": comparisons, **{path.name: path for path in seeds.values()}}
    with stage.work({"reasoning": reasoning}, inputs) as work:
        return work.manifest if work.done else _judge(work, comparisons, seeds, reasoning)


def _judge(work: Work, comparisons: Path, seeds: dict[int, Path], reasoning: bool) -> dict[str, Any]:
    how: Counter = Counter()
    path = work.folder / "verdicts.parquet"
    with files.atomic_writer(path) as out, parquet.ParquetWriter(out, _SCHEMA) as table:
        batch: list[dict[str, Any]] = []
        for row in _verdicts(comparisons, seeds, reasoning):
            how[row["how"]] += 1
            batch.append(row)
            if len(batch) == _BATCH:
                table.write_table(pa.Table.from_pylist(batch, _SCHEMA))
                batch.clear()
        table.write_table(pa.Table.from_pylist(batch, _SCHEMA))
    total = sum(how.values())
    return work.finish(rows_in=total, rows_out=total, how=dict(how), outputs=[path], report=report(path))


def _verdicts(comparisons: Path, seeds: dict[int, Path], reasoning: bool) -> Iterator[dict[str, Any]]:
    for seed, path in seeds.items():
        rows = files.read_jsonl(path)
        row = next(rows, None)
        for shown in read_problems(comparisons):
            if row is None or row["id"] != shown["id"]:
                continue  # this comparison's request failed
            yield verdict_row(shown, row, seed, reasoning)
            row = next(rows, None)


def verdict_row(shown: dict[str, Any], row: dict[str, Any], seed: int, reasoning: bool = True) -> dict[str, Any]:
    """One row of verdicts.parquet: `shown` is the comparison, `row` the model's reply to it."""
    finished = is_finished(row["finish_reason"], row["generation"], reasoning)
    pick = picked(row["generation"], shown["num_solutions"]) if finished else None
    right = shown["right"]
    return {
        "id": shown["id"],
        "seed": seed,
        "expected_answer": shown["expected_answer"],
        "predicted_answer": shown["answers"][pick] if pick is not None else None,
        "correct": right[pick] if pick is not None else None,
        "how": "picked" if pick is not None else "unreadable" if finished else "unfinished",
        "pick": -1 if pick is None else pick,
        "num_solutions": shown["num_solutions"],
        "num_right": sum(right),
        "first_right": right.index(True),
        "majority_right": majority_right(shown["answers"], right),
    }


def report(verdicts: Path | str) -> dict[str, Any]:
    """How good the picks are beside the majority of the same candidates and beside chance.

    pick_right, majority_right, chance_right: shares of all comparisons (an unreadable pick is not right).
    pick_beats_majority, majority_beats_pick: comparisons in which only one of the two is right; where as many
    candidates are for a right as for a wrong answer, neither beats the other.
    """
    table = pd.read_parquet(verdicts, columns=["correct", "num_right", "num_solutions", "majority_right", "pick"])
    right, majority = table["correct"].fillna(False).astype(bool), table["majority_right"]
    return {
        "comparisons": len(table),
        "readable": int((table["pick"] >= 0).sum()),
        "pick_right": _mean(right),
        "majority_right": _mean(majority),
        "chance_right": _mean(table["num_right"] / table["num_solutions"]),
        "pick_beats_majority": int((right & (majority < 0.5)).sum()),
        "majority_beats_pick": int((~right & (majority > 0.5)).sum()),
    }


def _mean(values: pd.Series) -> float:
    return round(float(values.mean()), 4) if len(values) else 0.0


def positions(verdicts: Path | str) -> pd.DataFrame:
    """Where the picks fall: for each place (0 = shown first) how often it was picked, and how often it would be if
    places did not matter. A model with a bias picks the first or the last too often."""
    table = pd.read_parquet(verdicts, columns=["pick", "num_solutions"])
    table = table[table["pick"] >= 0]
    sizes = table["num_solutions"].to_numpy()
    places = np.arange(int(sizes.max()) if len(sizes) else 0)
    even = [float((1.0 / sizes[sizes > place]).sum()) for place in places]
    counts = np.bincount(table["pick"].to_numpy(), minlength=len(places))
    return pd.DataFrame({"picked": counts, "if places did not matter": even}, index=pd.Index(places, name="place"))
