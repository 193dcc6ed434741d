"""Stage 08, second part: read the model's pick in each comparison, judge it, and compare it with a majority vote."""

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
from sdg_helpers.answers.equality import group_answers
from sdg_helpers.answers.extraction import is_finished
from sdg_helpers.answers.thinking import split_thinking
from sdg_helpers.problems.problem_file import read_problems
from sdg_helpers.solutions import seed_files
from sdg_helpers.solutions.reading import read_seed_file
from sdg_helpers.stages import Stage, Work

_MARK = re.compile(r"judge?ment\W{0,4}:", re.IGNORECASE)
_NOUN = r"(?:\\boxed\{|\\text\{|solution|attempt|number|index)"
_PICK = re.compile(
    rf"[\s*_`$\[({{]*(?:(?:{_NOUN}(?:\s*{_NOUN})*|#)[\s*_`\[({{#]*)?"
    r"(\d{1,3})(?![\d.]*\d)(?!\W{0,6}(?:and|or|,|/|&)\W{0,6}\d|[^\w\n]{0,6}[-–—][^\w\n]{0,6}\d)",
    re.IGNORECASE,
)  # a dash on the next line starts a list
_TAIL = 400  # characters read after the mark
_BATCH = 20_000  # rows per row group
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


def read_pick(generation: str, num_solutions: int) -> int | None:
    """Return the number after the last `Judgment:` of a reply, outside its thinking; None unless it names one solution.

    `Judgment: [2]`, `**Judgement:** 2` and `Judgment: Solution 2` all give 2. num_solutions: how many were shown.
    """
    _, reply = split_thinking(generation)
    marks = list(_MARK.finditer(reply))
    found = _PICK.match(reply[marks[-1].end() : marks[-1].end() + _TAIL]) if marks else None
    return int(found[1]) if found and int(found[1]) < num_solutions else None


def majority_right(answers: list[str], right: list[bool], problem: str = "") -> float:
    """Return 1.0 when the most frequent answer is right and 0.0 when it is wrong; in a tie, the right ones' share.

    answers, right: of the candidates, in the same order. Equal answers to the problem (1/2 and 0.5) count as one.
    """
    spellings = list(dict.fromkeys(answers))
    groups = [{spellings[place] for place in members} for members in group_answers(spellings, problem)]
    verdicts = [[verdict for answer, verdict in zip(answers, right, strict=True) if answer in one] for one in groups]
    most = max(map(len, verdicts))
    return float(np.mean([np.mean(one) for one in verdicts if len(one) == most]))


def judge_picks(comparisons: Path, solutions: Stage, stage: Stage, *, reasoning: bool = True) -> dict[str, Any]:
    """Write verdicts.parquet with the columns of a judging stage (id of the comparison, seed, predicted_answer of the
    picked solution, expected_answer, correct, how), and pick, num_solutions, num_right, first_right, majority_right.

    how: picked, unreadable or unfinished; only a readable pick gets a verdict. reasoning: the model thinks, so a reply
    without closed thinking is unfinished. Returns the manifest, whose `report` is that of `report_picks`.
    """
    solutions.require()
    seeds = seed_files.seed_files(solutions.folder)
    inputs = {"comparisons": comparisons, **{path.name: path for path in seeds.values()}}
    with stage.work({"reasoning": reasoning}, inputs) as work:
        return work.manifest if work.done else _write_verdicts(work, comparisons, seeds, reasoning)


def _write_verdicts(work: Work, comparisons: Path, seeds: dict[int, Path], reasoning: bool) -> dict[str, Any]:
    how = Counter[str]()
    path = work.folder / "verdicts.parquet"
    with files.atomic_writer(path) as out, parquet.ParquetWriter(out, _SCHEMA) as table:
        batch: list[dict[str, Any]] = []
        for row in _verdict_rows(comparisons, seeds, reasoning):
            how[row["how"]] += 1
            batch.append(row)
            if len(batch) == _BATCH:
                table.write_table(pa.Table.from_pylist(batch, _SCHEMA))
                batch.clear()
        table.write_table(pa.Table.from_pylist(batch, _SCHEMA))
    total = sum(how.values())
    return work.finish(rows_in=total, rows_out=total, how=dict(how), outputs=[path], report=report_picks(path))


def _verdict_rows(comparisons: Path, seeds: dict[int, Path], reasoning: bool) -> Iterator[dict[str, Any]]:
    for seed, path in seeds.items():
        rows = read_seed_file(path)
        row = next(rows, None)
        for shown in read_problems(comparisons):
            if row is None or row["id"] != shown["id"]:
                continue  # the request for this comparison failed
            yield verdict_row(shown, row, seed, reasoning)
            row = next(rows, None)


def verdict_row(shown: dict[str, Any], row: dict[str, Any], seed: int, reasoning: bool = True) -> dict[str, Any]:
    """Return one row of verdicts.parquet. shown: the comparison; row: the model's reply to it."""
    finished = is_finished(row["finish_reason"], row["generation"], reasoning)
    pick = read_pick(row["generation"], shown["num_solutions"]) if finished else None
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
        "majority_right": majority_right(shown["answers"], right, shown["problem"]),
    }


def report_picks(verdicts: Path | str) -> dict[str, Any]:
    """Compare the picks with the majority vote of the same candidates and with chance.

    pick_right, majority_right, chance_right: share of all comparisons, 0 to 1; an unreadable pick counts as wrong.
    pick_beats_majority, majority_beats_pick: number of comparisons in which only that one is right; a tie of right and
    wrong answers counts for neither.
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


def count_positions(verdicts: Path | str) -> pd.DataFrame:
    """Count the picks by position (the index; 0 = shown first), next to the counts expected without a bias.

    A model with a position bias picks the first or the last position too often.
    """
    table = pd.read_parquet(verdicts, columns=["pick", "num_solutions"])
    table = table[table["pick"] >= 0]
    sizes = table["num_solutions"].to_numpy()
    places = np.arange(int(sizes.max()) if len(sizes) else 0)
    even = [float((1.0 / sizes[sizes > place]).sum()) for place in places]
    counts = np.bincount(table["pick"].to_numpy(), minlength=len(places))
    return pd.DataFrame({"picked": counts, "expected without bias": even}, index=pd.Index(places, name="position"))
