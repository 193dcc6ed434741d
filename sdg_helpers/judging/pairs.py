"""Pair the answer of every solution with the answer expected of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from sdg_helpers.answers.extraction import Extracted
from sdg_helpers.answers.no_answer import clean_reference
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.extracted_answers import ExtractedAnswers, JudgedAnswers
from sdg_helpers.problems.problem_file import read_problems


def read_labels(labels: Path, problems: Path) -> list[str]:
    """Return the label of every problem, in the order of the problems. Raises SdgError when one has no label."""
    table = pd.read_parquet(labels, columns=["id", "expected_answer"])
    known = dict(zip(table["id"], table["expected_answer"], strict=True))
    ordered = []
    for number, row in enumerate(read_problems(problems), 1):
        if row["id"] not in known:
            raise SdgError(f"{labels} has no label for row {number} of {problems}. Give the files of one run.")
        ordered.append(clean_reference(known[row["id"]]))
    return ordered


class AnswerPairs:
    """Iterate over (seed, problem, extracted answer, expected answer) of every solution."""

    def __init__(self, answers: ExtractedAnswers | JudgedAnswers, problems: Path, expected: list[str]):
        """expected: the answer expected of each problem, in order; "" for a problem without one."""
        self.seeds, self._answers, self._problems, self._expected = answers.seeds, answers, problems, expected

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any], Extracted, str]]:
        """Yield seed by seed, in problem order; the problems are streamed."""
        for seed in self.seeds:
            problems = zip(read_problems(self._problems), self._expected, strict=True)
            for problem_id, extracted in self._answers.of_seed(seed):
                problem, expected = next(((one, two) for one, two in problems if one["id"] == problem_id), ({}, ""))
                if not problem:
                    raise SdgError(
                        f"{self._problems}: expected the problem {problem_id!r} of a solution with seed "
                        f"{seed}, in order, found none. Give the files of one run."
                    )
                yield seed, problem, extracted, expected
