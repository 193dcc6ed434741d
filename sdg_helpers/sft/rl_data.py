"""The RL form of a track's data: problems with a checkable answer and how often they were solved."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from .. import files
from ..judging.verdict_reader import read_verdicts
from ..problems import ProblemIndex, read_problems
from .rows import shuffle_key
from .shuffling import ShuffledRows


def write(folder: Path, problems: Path, verdicts: Path, shuffle_seed: int, track: str) -> tuple[Path, int]:
    """Write rl-data-{track}.jsonl (problem, expected_answer, pass_rate), shuffled; returns its path and its rows.

    pass_rate: right solutions / all solutions of the problem, whatever became of them. Problems without an answer or
    without a solution are left out.
    """
    index = ProblemIndex.build(problems)
    right, total = np.zeros(len(index), dtype=np.int32), np.zeros(len(index), dtype=np.int32)
    expected: list[str] = [""] * len(index)
    for verdict in read_verdicts(verdicts):
        position = index.position(verdict.id)
        if position >= 0:
            total[position] += 1
            right[position] += verdict.correct is True
            expected[position] = verdict.expected_answer
    path = folder / f"rl-data-{track}.jsonl"
    with (ShuffledRows(folder / "partial" / "rl", problems.stat().st_size) as rows, files.atomic_writer(path) as out):
        for position, problem in enumerate(read_problems(problems)):
            if total[position] and expected[position]:
                rate = round(int(right[position]) / int(total[position]), 4)
                rows.add(shuffle_key(shuffle_seed, problem["id"], b""), files.dumps(
                    {"problem": problem["problem"], "expected_answer": expected[position], "pass_rate": rate}))
        out.writelines(line for line, _, _ in rows)
    return path, rows.rows
