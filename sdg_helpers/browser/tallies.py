"""Sums over each problem's solutions, as columns: about 50 bytes a problem."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from sdg_helpers.answers.finish_reasons import is_cut
from sdg_helpers.judging.verdicts import Verdict
from sdg_helpers.solutions.rows import Solution

_MAX_NAMES = 62  # bits of an integer in SQLite
_OUTCOMES = {True: 1, False: 2, None: 3}  # correct -> row of the counts
_is_cut = lru_cache(maxsize=64)(is_cut)


class Names:
    """Number a few words in the order in which they come; from the 62nd on they are one, "others"."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, word: str) -> int:
        """Return a word's number."""
        if word not in self._numbers:
            if len(self.words) == _MAX_NAMES - 1:
                word = "others"
            if word not in self._numbers:
                self._numbers[word] = len(self.words)
                self.words.append(word)
        return self._numbers[word]


class Tallies:
    """Count the solutions of every problem, by position; `rows` yields what the index stores."""

    def __init__(self, problems: int):
        self.counts = np.zeros((6, problems), dtype=np.int32)  # solutions, right, wrong, undecided, cut, kept
        self.tokens = np.zeros(problems, dtype=np.int64)
        self.dropped, self.tiers = np.zeros(problems, dtype=np.int64), np.zeros(problems, dtype=np.int64)
        self.reasons, self.how = Names(), Names()
        self._added: list[tuple[int, int, bool, int, int]] = []

    def add(self, position: int, solution: Solution, verdict: Verdict | None) -> None:
        """Count one solution of the seed."""
        tier = 0 if verdict is None else 1 << self.how.number(verdict.how)
        outcome = 0 if verdict is None else _OUTCOMES[verdict.correct]
        self._added.append((position, solution.tokens, _is_cut(solution.finish_reason), outcome, tier))

    def add_up(self) -> None:
        """Add the latest solutions to the sums. They are of one seed: every problem has one of them at most."""
        if not self._added:
            return
        positions, tokens, cut, outcomes, tiers = (np.array(column) for column in zip(*self._added, strict=True))
        self._added.clear()
        self.counts[0, positions] += 1
        self.counts[4, positions] += cut
        for outcome in _OUTCOMES.values():
            self.counts[outcome, positions] += outcomes == outcome
        self.tokens[positions] += tokens
        self.tiers[positions] |= tiers

    def keep(self, kept: np.ndarray) -> None:
        """Count exported solutions. kept: bool, by position."""
        self.counts[5] += kept

    def drop(self, position: int, reason: str) -> int:
        """Count a solution that was not exported; return the reason's number."""
        number = self.reasons.number(reason)
        self.dropped[position] |= 1 << number
        return number

    def rows(self, exported: bool, of_decided: bool) -> Iterator[tuple[object, ...]]:
        """Yield (solutions, right, wrong, undecided, cut, kept, tokens, dropped, tiers, pass_rate, cut_share,
        kept_share, position) of every problem; a share is None where nothing is known.

        of_decided: the pass rate is a share of the decided solutions, not of all.
        """
        columns = zip(
            *self.counts.tolist(), self.tokens.tolist(), self.dropped.tolist(), self.tiers.tolist(), strict=True
        )
        for position, (solutions, right, wrong, undecided, cut, kept, tokens, dropped, tiers) in enumerate(columns):
            decided = right + wrong
            judged = decided if of_decided or not decided + undecided else solutions
            yield (
                solutions, right, wrong, undecided, cut, kept, round(tokens / solutions) if solutions else None,
                dropped, tiers, right / judged if judged else None, cut / solutions if solutions else None,
                kept / solutions if exported and solutions else None, position,
            )  # fmt: skip
