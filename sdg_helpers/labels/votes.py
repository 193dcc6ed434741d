"""Count the votes of a run: which answers agree with each other and with the reference, as small arrays by problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from sdg_helpers.answers.equality import group_answers
from sdg_helpers.labels.ballots import Ballots, Bools, Ints
from sdg_helpers.labels.model import Votes

_REFERENCE = 0  # the group of the answers that match the reference
_PARTS = 16  # in which the votes are counted: sorting takes several times the memory of what it sorts


@dataclass
class Tally:
    """The count by problem, arrays of one length; see model.Votes for the meanings.

    winner: the most frequent spelling of the largest group that does not match the reference, "" without one;
    winning: the number of that group, -1 without one.
    """

    largest: Ints
    second: Ints
    others: Ints
    seeds: Ints
    reference: Ints
    leads: Bools
    winner: NDArray[np.object_]
    winning: Ints

    def patterns(self, has_reference: Bools) -> tuple[list[Votes], NDArray[np.intp], NDArray[np.intp]]:
        """Return the different votes, each problem's index into them, and how many problems have each."""
        reference = np.where(has_reference, self.reference, -1)
        table = np.stack([self.largest, self.second, self.others, self.seeds, reference, self.leads], axis=1)
        rows, index, counts = np.unique(table, axis=0, return_inverse=True, return_counts=True)
        votes = [
            Votes(largest, second, others, seeds, None if matches < 0 else matches, bool(leads))
            for largest, second, others, seeds, matches, leads in rows.tolist()
        ]
        return votes, index.ravel(), counts


def group_ballots(ballots: Ballots, texts: Mapping[int, str]) -> Ints:
    """Return the number of each ballot's group, the same for answers that vote together within a problem.

    Answers that match the reference are one group. Others vote together when they have one canonical form; whether also
    `5` with `x=5` or `5 cm`, and `1,2` with `2,1`, depends on the problem. texts: of the problems of
    `depend_on_problem`, by position; without its text, a problem says nothing.
    """
    readings = ballots.readings
    group: Ints = readings.form[ballots.answer]
    group[ballots.matches] = _REFERENCE
    depending = _rivals(ballots, np.array(sorted(texts), dtype=np.int32))
    for rows in np.split(depending, _runs(ballots.problem[depending])[1:]) if len(depending) else ():
        codes, first, inverse, votes = np.unique(
            ballots.answer[rows], return_index=True, return_inverse=True, return_counts=True
        )
        order = np.lexsort((ballots.seed[rows][first], -votes))  # the most frequent spelling gives the group its name
        spellings = [ballots.spellings[codes[place]] for place in order]
        number = np.zeros(len(codes), dtype=np.int32)
        for count, members in enumerate(group_answers(spellings, texts[int(ballots.problem[rows[0]])]), 1):
            number[order[members]] = readings.forms + count
        group[rows] = number[inverse]
    return group


def depend_on_problem(ballots: Ballots) -> Ints:
    """Return the positions of the problems of which the text is needed to group the answers."""
    depends = ballots.readings.depends
    if not depends.any():
        return np.zeros(0, dtype=np.int32)
    rows = _rivals(ballots, np.unique(ballots.problem[~ballots.matches & depends[ballots.answer]]).astype(np.int32))
    starts = _runs(ballots.problem[rows])
    answers = ballots.answer[rows]
    several = _reduce(np.minimum, answers, starts) != _reduce(np.maximum, answers, starts)
    return ballots.problem[rows][starts][several]


def _rivals(ballots: Ballots, problems: Ints) -> NDArray[np.intp]:
    """Return the rows of the ballots that do not match the reference, of these problems, ordered by problem."""
    if not len(problems):
        return np.zeros(0, dtype=np.intp)
    rows = np.flatnonzero(~ballots.matches & np.isin(ballots.problem, problems))
    return rows[np.argsort(ballots.problem[rows], kind="stable")]


def count_votes(ballots: Ballots, group: Ints, seeds: Ints) -> Tally:
    """Count the ballots by their groups, one part of the problems after the other. seeds: solutions asked for.

    Most votes win; of equally many the reference's group, then the answer that the lowest seed gave.
    """
    step, parts = max(1, -(-len(seeds) // _PARTS)), list[Tally]()
    for start in range(0, max(1, len(seeds)), step):
        rows = np.flatnonzero((ballots.problem >= start) & (ballots.problem < start + step))
        part = Ballots(
            ballots.problem[rows] - start, ballots.seed[rows], ballots.answer[rows], ballots.matches[rows], []
        )
        parts.append(_count_part(part, group[rows], seeds[start : start + step], ballots.spellings))
    return Tally(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Tally)))


def _count_part(ballots: Ballots, group: Ints, seeds: Ints, texts: Sequence[str]) -> Tally:
    order = np.lexsort((ballots.answer, group, ballots.problem))
    by_spelling = _runs(ballots.problem[order], group[order], ballots.answer[order])
    votes = np.diff(np.append(by_spelling, len(order)))
    first_seed = _reduce(np.minimum, ballots.seed[order], by_spelling)
    problem, group, answer = (column[order][by_spelling] for column in (ballots.problem, group, ballots.answer))

    by_group = _runs(problem, group)
    rank = np.lexsort((first_seed, -votes, group, problem))  # within a group: its most frequent spelling first
    spelling = answer[rank][by_group]
    size, lowest = _reduce(np.add, votes, by_group), _reduce(np.minimum, first_seed, by_group)
    problem, group = problem[by_group], group[by_group]

    rank = np.lexsort((lowest, group != _REFERENCE, -size, problem))
    problem, group, size, spelling = problem[rank], group[rank], size[rank], spelling[rank]
    return _by_problem(problem, group, size, spelling, seeds, texts)


def voters(ballots: Ballots, group: Ints, tally: Tally, chosen: Bools) -> list[tuple[int, int]]:
    """Return (position, seed) of every vote for the winner of the chosen problems."""
    rows = np.flatnonzero(chosen[ballots.problem] & (group == tally.winning[ballots.problem]))
    return list(zip(ballots.problem[rows].tolist(), ballots.seed[rows].tolist(), strict=True))


def _by_problem(problem: Ints, group: Ints, size: Ints, spelling: Ints, seeds: Ints, texts: Sequence[str]) -> Tally:
    starts = _runs(problem)
    place = np.arange(len(problem)) - np.repeat(starts, np.diff(np.append(starts, len(problem))))

    def spread(chosen: Bools) -> Ints:
        found = np.zeros(len(seeds), dtype=np.int32)
        found[problem[chosen]] = size[chosen]
        return found

    total = np.bincount(problem, weights=size, minlength=len(seeds)).astype(np.int32)
    largest, second = spread(place == 0), spread(place == 1)
    leads = np.zeros(len(seeds), dtype=bool)
    leads[problem[(place == 0) & (group == _REFERENCE)]] = True
    winner = np.full(len(seeds), "", dtype=object)
    rivals = np.flatnonzero(group != _REFERENCE)[::-1]  # the last assignment wins: the largest of each problem
    winner[problem[rivals]] = [texts[code] for code in spelling[rivals]]
    winning = np.full(len(seeds), -1, dtype=np.int32)
    winning[problem[rivals]] = group[rivals]
    reference = spread(group == _REFERENCE)
    return Tally(largest, second, total - largest - second, seeds, reference, leads, winner, winning)


def _runs(*columns: Ints) -> NDArray[np.intp]:
    """Return where a new combination of values begins in sorted columns."""
    if not len(columns[0]):
        return np.zeros(0, dtype=np.intp)
    changes = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return np.concatenate([[0], np.flatnonzero(changes) + 1])


def _reduce(how: np.ufunc, values: Ints, starts: NDArray[np.intp]) -> Ints:
    return np.asarray(how.reduceat(values, starts) if len(values) else values)
