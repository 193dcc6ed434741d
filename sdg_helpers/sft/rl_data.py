"""The RL form of a track's data: problems with a checkable answer and how often they were solved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sdg_helpers import files
from sdg_helpers.judging.verdicts import read_verdicts
from sdg_helpers.problems.problem_file import ProblemIndex, read_problems
from sdg_helpers.sft.rows import shuffle_key
from sdg_helpers.sft.shuffling import ShuffledRows


def write(
    folder: Path,
    problems: Path,
    verdicts: Path,
    shuffle_seed: int,
    track: str,
    flaw: Callable[[str, float], str | None],
) -> tuple[Path, dict[str, int], int]:
    """Write rl-data-{track}.jsonl (problem, expected_answer, pass_rate), shuffled; returns its path, the problems left
    out by reason, and its rows.

    pass_rate: right solutions / solutions with a verdict, whatever became of them. flaw(problem, pass_rate): why a
    problem is left out; one without an answer or without a verdict is, too.
    """
    index = ProblemIndex.build(problems)
    right, decided = np.zeros(len(index), dtype=np.int32), np.zeros(len(index), dtype=np.int32)
    expected: list[str] = [""] * len(index)
    for verdict in read_verdicts(verdicts):
        position = index.position(verdict.id)
        if position >= 0:
            decided[position] += verdict.correct is not None
            right[position] += verdict.correct is True
            expected[position] = verdict.expected_answer
    path, dropped = folder / f"rl-data-{track}.jsonl", Counter()
    with ShuffledRows(folder / "partial" / "rl", problems.stat().st_size) as rows, files.atomic_writer(path) as out:
        for position, problem in enumerate(read_problems(problems)):
            rate = round(int(right[position]) / int(decided[position]), 4) if decided[position] else 0.0
            reason = (
                "no_answer"
                if not expected[position]
                else "no_verdict"
                if not decided[position]
                else flaw(problem["problem"], rate)
            )
            if reason:
                dropped[reason] += 1
            else:
                rows.add(
                    shuffle_key(shuffle_seed, problem["id"], b""),
                    files.dumps(
                        {"problem": problem["problem"], "expected_answer": expected[position], "pass_rate": rate}
                    ),
                )
        out.writelines(line for line, _, _ in rows)
    return path, dict(dropped), rows.rows
