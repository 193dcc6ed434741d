"""Pair the answer of every solution with the answer expected of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import pandas as pd

from sdg_helpers.answers.extraction import Extracted
from sdg_helpers.answers.no_answer import clean_reference
from sdg_helpers.errors import SdgError
from sdg_helpers.problems.problem_file import ProblemTexts, read_problems


class Label(NamedTuple):
    """The answer that is expected of a problem, "" for none; no solution is right or wrong by an undecided one."""

    answer: str
    decided: bool

    @classmethod
    def of_reference(cls, answer: str | None) -> Label:
        """The label of a problem that only its source has spoken about."""
        text = clean_reference(answer)
        return cls(text, bool(text))


def read_labels(labels: Path, problems: Path) -> list[Label]:
    """Return the label of every problem, in the order of the problems.

    Raises SdgError when a problem is missing from the labels.
    """
    table = pd.read_parquet(labels, columns=["id", "expected_answer", "decision"])
    known = {
        name: Label(clean_reference(answer), decision != "undecided")
        for name, answer, decision in zip(table["id"], table["expected_answer"], table["decision"], strict=True)
    }
    ordered = []
    for number, row in enumerate(read_problems(problems), 1):
        if row["id"] not in known:
            raise SdgError(f"{labels} has no label for row {number} of {problems}. Give the files of one run.")
        ordered.append(known[row["id"]])
    return ordered


class Answers(Protocol):
    """The answers of all solutions, by seed."""

    seeds: list[int]

    def of_seed(self, seed: int) -> Iterator[tuple[str, Extracted]]:
        """Yield (id, answer) in problem order."""
        ...


class AnswerPairs:
    """Iterate over (seed, position of the problem, extracted answer, label) of every solution."""

    def __init__(self, answers: Answers, problems: Path, labels: list[Label]):
        """labels: of each problem, in order."""
        self.seeds, self.problems, self._answers, self._labels = answers.seeds, problems, answers, labels
        self.texts = ProblemTexts(problems)
        self.ids = self.texts.ids

    def __iter__(self) -> Iterator[tuple[int, int, Extracted, Label]]:
        """Yield seed by seed, in problem order."""
        ids, labels, end = self.ids, self._labels, len(self.ids)
        for seed in self.seeds:
            place = -1
            for problem_id, extracted in self._answers.of_seed(seed):
                place += 1
                while place < end and ids[place] != problem_id:
                    place += 1
                if place == end:
                    raise SdgError(
                        f"{self.problems}: expected the problem {problem_id!r} of a solution with seed "
                        f"{seed}, in order, found none. Give the files of one run."
                    )
                yield seed, place, extracted, labels[place]
