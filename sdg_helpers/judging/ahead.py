"""Judge what Math 03 has so far, while it goes on or before it is resumed.

The verdicts go to solutions/ahead/comparisons.jsonl. Judging the finished stage takes them over, and asks for none of
them again.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sdg_helpers.answers.extraction import Extracted
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.asking import Judge
from sdg_helpers.judging.comparisons import comparison_key
from sdg_helpers.judging.deciding import ahead_store, decide_pairs
from sdg_helpers.judging.extracted_answers import answer_of, read_table, write_table
from sdg_helpers.judging.pairs import AnswerPairs, Label
from sdg_helpers.locks import Lock
from sdg_helpers.problems.problem_file import ProblemIndex, read_problems
from sdg_helpers.solutions import seed_files
from sdg_helpers.solutions.rows import Solution, parse_solution
from sdg_helpers.stages import Stage, Work

_NAMES = {True: "right", False: "wrong", None: "undecided"}


def judge_ahead(
    solutions: Stage,
    problems: Path,
    *,
    judge: Judge,
    tiers: str = "all",
    reasoning: bool = True,
    judge_by_form: bool = True,
    max_failed_fraction: float = 0.01,
    jobs: JobSpec | None = None,
) -> Counter[str]:
    """Judge the solutions that are on disk, of a stage that may be at work; return how many are right, wrong and
    undecided.

    The arguments are those of judge_solutions, which must get the same ones later. Raises SdgError when there is no
    solution yet, and while another call judges ahead.
    """
    folder = ahead_store(solutions.folder).parent
    folder.mkdir(parents=True, exist_ok=True)
    with Lock(folder / ".lock", f"judging ahead in {folder}"):
        labels = [Label.of_reference(row.get("expected_answer")) for row in read_problems(problems)]
        answers = AnswersSoFar(
            solutions.folder, folder / "partial", ProblemIndex.build(problems), reasoning, judge_by_form
        )
        if not answers.seeds:
            raise SdgError(f"{solutions.folder}: there are no solutions yet. Start {solutions.notebook or 'it'} first.")
        pairs = AnswerPairs(answers, problems, labels)
        work = Work(Stage(folder, "ahead"), {}, None)
        known = decide_pairs(work, pairs, judge, tiers, max_failed_fraction, jobs).known
        counts = Counter[str]()
        for _, place, extracted, label in pairs:
            correct: bool | None = None if extracted.ambiguous else False
            if extracted.answer and not extracted.ambiguous:
                key = comparison_key(pairs.ids[place], extracted.answer, label.answer)
                correct = known.use(key)[0] if label.decided else None
            counts[_NAMES[correct]] += 1
        (folder / "progress.json").unlink(missing_ok=True)
        shutil.rmtree(folder / "partial", ignore_errors=True)
        return counts


class AnswersSoFar:
    """The answers of the solutions on disk: of merged files, and of those that writers still add to.

    They are read once, into tables in `folder`, so that iterating again yields the same ones.
    """

    def __init__(self, solutions: Path, folder: Path, index: ProblemIndex, reasoning: bool, judge_by_form: bool):
        self.seeds, self._folder = list(seed_files.files_by_seed(solutions)), folder
        for seed in self.seeds:
            found: dict[int, Extracted] = {}  # of one seed: 200 bytes per problem
            for solution in _solutions(solutions, seed):
                if (position := index.position(solution.keys["id"])) >= 0 and position not in found:
                    found[position] = answer_of(solution, reasoning, judge_by_form=judge_by_form)
            write_table(self._table(seed), ((name, *found[at]) for at, name in enumerate(index) if at in found))

    def of_seed(self, seed: int) -> Iterator[tuple[str, Extracted]]:
        """Yield (id, answer) in problem order."""
        return read_table(self._table(seed))

    def _table(self, seed: int) -> Path:
        return self._folder / f"answers-so-far-rs{seed}.parquet"


def _solutions(folder: Path, seed: int) -> Iterator[Solution]:
    """Yield the solutions of a seed, some of them twice; a line that is being written is left out."""
    for path in seed_files.files_by_seed(folder).get(seed, ()):
        with suppress(FileNotFoundError), open(path, "rb", buffering=1 << 20) as file:  # it may be merged now
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                yield parse_solution(line, path, number)
