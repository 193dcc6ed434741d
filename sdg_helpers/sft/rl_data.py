"""The RL form of a track's data: problems with a verifiable answer, and how often the model solved them."""

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


def write_rl_data(
    folder: Path,
    problems: Path,
    verdicts: Path,
    shuffle_seed: int,
    track: str,
    reason_to_drop: Callable[[str, float], str | None],
) -> tuple[Path, dict[str, int], int]:
    """Write rl-data-{track}.jsonl (problem, expected_answer, pass_rate), shuffled.

    pass_rate: correct solutions / solutions with a verdict, whether they are exported or not. Problems without an
    answer or without a verdict are dropped, and so are those for which reason_to_drop(problem, pass_rate) is not None.
    Return the file's path, the number of dropped problems by reason, and the number of rows.
    """
    index = ProblemIndex.build(problems)
    correct, decided = np.zeros(len(index), dtype=np.int32), np.zeros(len(index), dtype=np.int32)
    expected: list[str] = [""] * len(index)
    for verdict in read_verdicts(verdicts):
        position = index.position(verdict.id)
        if position >= 0:
            decided[position] += verdict.correct is not None
            correct[position] += verdict.correct is True
            expected[position] = verdict.expected_answer
    path = folder / f"rl-data-{track}.jsonl"
    dropped: Counter[str] = Counter()
    with ShuffledRows(folder / "partial" / "rl", problems.stat().st_size) as rows, files.atomic_writer(path) as out:
        for position, problem in enumerate(read_problems(problems)):
            text, answer = problem["problem"], expected[position]
            pass_rate = round(int(correct[position]) / int(decided[position]), 4) if decided[position] else 0.0
            if not answer:
                reason: str | None = "no_answer"
            elif not decided[position]:
                reason = "no_verdict"
            else:
                reason = reason_to_drop(text, pass_rate)
            if reason:
                dropped[reason] += 1
                continue
            line = files.dumps({"problem": text, "expected_answer": answer, "pass_rate": pass_rate})
            rows.add(shuffle_key(shuffle_seed, problem["id"], b""), line)
        out.writelines(line for line, _, _ in rows)
    return path, dict(dropped), rows.rows
