"""The answers that vote: read from verdicts.parquet into small columns, each spelling once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sdg_helpers.answers.reading import Answer, read_answer
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.verdicts import read_batches

Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]


class Readings(NamedTuple):
    """Each spelling as it is counted. form: number of its canonical form, from 1; depends: whether the problem's text
    may say what it is equal to."""

    form: Ints
    depends: Bools
    forms: int


@dataclass
class Ballots:
    """Answers that were given, one row each, in file order. problem: position; answer: index into spellings."""

    problem: Ints
    seed: Ints
    answer: Ints
    matches: Bools
    spellings: list[str]

    def choose(self, rows: Bools) -> Ballots:
        """Return some of the ballots."""
        return Ballots(self.problem[rows], self.seed[rows], self.answer[rows], self.matches[rows], self.spellings)

    @cached_property
    def readings(self) -> Readings:
        """The spellings as they are counted; read once, because reading millions of them takes a while."""
        numbers: dict[str, int] = {}
        form = np.zeros(len(self.spellings), dtype=np.int32)
        depends = np.zeros(len(self.spellings), dtype=bool)
        for place, text in enumerate(self.spellings):
            answer = read_answer(text.strip())
            vote = answer.vote
            form[place] = numbers.setdefault(text if vote == text else vote, len(numbers)) + 1  # no copy of most texts
            depends[place] = _depends_on_problem(answer)
        return Readings(form, depends, len(numbers))


def _depends_on_problem(answer: Answer) -> bool:
    return bool(answer.addition or answer.label or (answer.key is not None and answer.key.free != answer.key.ordered))


class _Positions:
    """Find the positions of problems by id, at the cost of a comparison where the rows have the problems' order."""

    def __init__(self, ids: pa.Array):
        self._ids, self._next = ids, 0
        self._index: pd.Index | None = None  # made only if it is needed: it takes 100 bytes per problem

    def find(self, names: pa.Array) -> Ints:
        """Return the position of each id, -1 for an unknown one."""
        if not len(self._ids):
            return np.full(len(names), -1, dtype=np.int32)
        positions = ((self._next + np.arange(len(names))) % len(self._ids)).astype(np.int32)
        if not pc.all(pc.equal(names, self._ids.take(pa.array(positions))), skip_nulls=False).as_py():
            self._index = pd.Index(self._ids.to_pandas()) if self._index is None else self._index
            positions = self._index.get_indexer(names.to_pandas()).astype(np.int32)
        self._next = int(positions[-1]) + 1 if len(positions) else self._next
        return positions


def read_ballots(verdicts: Path, ids: pd.Series, problems: Path) -> tuple[Ballots, Ints, Bools]:
    """Return the ballots, the solutions asked for by problem, and which problems have an answer without a verdict.

    ids: of the problems, in the order of `problems`. Reads verdicts.parquet batch by batch; holds each spelling once.
    """
    seeds, unjudged = np.zeros(len(ids), dtype=np.int32), np.zeros(len(ids), dtype=bool)
    known = _Positions(pa.array(ids, pa.string()))
    spellings: dict[str, int] = {}
    problem, seed, answer, matches = bytearray(), bytearray(), bytearray(), bytearray()  # they grow without copies
    for batch in read_batches(verdicts, ["id", "seed", "predicted_answer", "correct"]):
        names, numbers, answers, correct = batch.columns
        positions = known.find(names)
        if (positions < 0).any():
            stranger = names[int(np.argmax(positions < 0))].as_py()
            raise SdgError(f"{verdicts}: the id {stranger!r} is not in {problems}. Give the files of one run.")
        np.add.at(seeds, positions, 1)
        given = pc.not_equal(answers.cast("string"), "").fill_null(False).to_numpy(zero_copy_only=False)
        unjudged[positions[given & correct.is_null().to_numpy(zero_copy_only=False)]] = True
        coded = answers.dictionary_encode()
        codes = np.array([spellings.setdefault(one, len(spellings)) for one in coded.dictionary.to_pylist()], np.int32)
        chosen = coded.indices.fill_null(0).to_numpy()[given]
        problem += positions[given].tobytes()
        seed += numbers.to_numpy()[given].astype(np.int32).tobytes()
        answer += (codes[chosen] if len(codes) else chosen).astype(np.int32).tobytes()
        matches += correct.fill_null(False).to_numpy(zero_copy_only=False)[given].tobytes()
    one, two, three = (np.frombuffer(column, np.int32) for column in (problem, seed, answer))
    return Ballots(one, two, three, np.frombuffer(matches, bool), list(spellings)), seeds, unjudged
