"""Stage 08, first part: solutions of a problem set side by side, of which a model is to find a right one.

The method is GenSelect of the OpenMathReasoning paper (arXiv 2504.16891): candidates are the short texts after the
thinking; a comparison shows 2 to 16 of them, at least one right, no more right than wrong.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.verdicts import SeedVerdicts, Verdict
from sdg_helpers.problems.problem_file import read_problems
from sdg_helpers.solutions import seed_files
from sdg_helpers.solutions.rows import line_start, parse_solution
from sdg_helpers.stages import Stage, Work

ROW_FORMAT = 2  # of comparisons.jsonl; raise it when its keys change: older comparisons are refused
MOST_CANDIDATES = 16


@dataclass(frozen=True)
class Candidate:
    """A solution as a comparison shows it: the text after its thinking, its answer, what that was judged against, and
    whether it is right."""

    seed: int
    text: str
    answer: str
    expected_answer: str
    correct: bool


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Which problems are compared and how often; the defaults are the paper's."""

    max_characters: int = 3000  # longest candidate
    min_candidates: int = 4  # a problem with fewer different ones is left out
    max_comparisons: int = 8  # a problem

    def __post_init__(self) -> None:
        for name, least in (("max_characters", 1), ("min_candidates", 2), ("max_comparisons", 1)):
            if getattr(self, name) < least:
                raise SdgError(f"{name}: expected {least} or more, found {getattr(self, name)}.")


def draw_comparisons(
    solutions: Stage, verdicts: Path, problems: Path, stage: Stage, *, rules: Rules | None = None, run_seed: int = 0
) -> dict[str, Any]:
    """Write comparisons.jsonl: id, problem, problem_id, expected_answer, original_expected_answer (of the reference),
    solutions (the text shown), num_solutions, max_index, seeds, answers and right (bool), these three in the order
    shown. Returns the manifest.

    Order and choice depend on the data and run_seed alone. Raises SdgError when no problem can be compared.
    """
    solutions.require()
    rules = rules or Rules()
    parameters = {**vars(rules), "run_seed": run_seed, "row_format": ROW_FORMAT}
    inputs = {
        "verdicts": verdicts,
        "problems": problems,
        **{path.name: path for path in seed_files.seed_files(solutions.folder).values()},
    }
    with stage.work(parameters, inputs) as work:
        return work.manifest if work.done else _draw(work, solutions.folder, verdicts, problems, rules, run_seed)


def candidates_of(
    rows: Iterator[tuple[bytes, Path, Verdict | None]], rules: Rules, dropped: Counter
) -> list[Candidate]:
    """The candidates among the solutions of one problem: finished, judged, with exactly one box, short, all different.

    rows: (line, file, verdict); why the others are none is counted in `dropped`.
    """
    found: dict[str, Candidate] = {}
    for line, path, verdict in rows:
        solution = parse_solution(line, path, 0)
        text = solution.answer_text().strip()
        if verdict is None or verdict.correct is None or not verdict.predicted_answer:
            dropped["no_answer_or_verdict"] += 1
        elif text.count(r"\boxed") != 1:
            dropped["not_one_box"] += 1
        elif len(text) > rules.max_characters:
            dropped["too_long"] += 1
        elif text in found:
            dropped["same_text"] += 1
        else:
            found[text] = Candidate(solution.keys["seed"], text, *verdict[1:4])
    return list(found.values())


def draw(candidates: list[Candidate], rules: Rules, rng: random.Random) -> list[list[Candidate]]:
    """Up to max_comparisons different comparisons of one problem's candidates, each in random order.

    The size is drawn from a normal distribution around the middle of what is possible, cut off at both ends.
    """
    right, wrong = ([one for one in candidates if one.correct is kind] for kind in (True, False))
    if not right or not wrong or len(candidates) < rules.min_candidates:
        return []
    largest = max(
        size
        for size in range(2, min(MOST_CANDIDATES, len(candidates)) + 1)
        if _fewest_right(size, wrong) <= min(len(right), size // 2)
    )
    drawn: dict[frozenset[int], list[Candidate]] = {}
    for _ in range(4 * rules.max_comparisons):
        size = _size(largest, rng)
        num_right = rng.randint(_fewest_right(size, wrong), min(len(right), size // 2))
        chosen = rng.sample(right, num_right) + rng.sample(wrong, size - num_right)
        rng.shuffle(chosen)
        drawn.setdefault(frozenset(one.seed for one in chosen), chosen)
        if len(drawn) == rules.max_comparisons:
            break
    return list(drawn.values())


def _fewest_right(size: int, wrong: list[Candidate]) -> int:
    return max(1, size - len(wrong))


def _size(largest: int, rng: random.Random) -> int:
    middle, spread = (2 + largest) / 2, max((largest - 2) / 4, 0.5)
    while True:
        size = round(rng.gauss(middle, spread))
        if 2 <= size <= largest:
            return size


def _draw(work: Work, solutions: Path, verdicts: Path, problems: Path, rules: Rules, run_seed: int) -> dict[str, Any]:
    dropped, candidates_dropped, shown = Counter(), Counter(), Counter()
    rows_in = rows_out = 0
    path = work.folder / "comparisons.jsonl"
    with files.atomic_writer(path) as out:
        for problem, rows in _by_problem(solutions, verdicts, problems):
            rows_in += 1
            candidates = candidates_of(rows, rules, candidates_dropped)
            drawn = draw(candidates, rules, random.Random(files.content_id(str(run_seed), problem["id"])))
            if drawn:
                rows_out += 1
                shown.update(len(one) for one in drawn)
                out.writelines(files.dumps(comparison_row(problem, one)) for one in drawn)
            else:
                dropped[_reason(candidates, rules)] += 1
            work.progress(rows_in, None)
        if not rows_out:
            raise SdgError(
                f"{work.folder}: expected at least one problem with right and wrong solutions to compare, "
                f"found none of {rows_in} ({dict(dropped)}). Generate more solutions per problem "
                "(NUM_SEEDS), or lower MIN_CANDIDATES."
            )
    return work.finish(
        rows_in=rows_in,
        rows_out=rows_out,
        dropped=dropped,
        comparisons=sum(shown.values()),
        comparisons_by_size={str(size): shown[size] for size in sorted(shown)},
        solutions_left_out=dict(candidates_dropped),
        outputs=[path],
    )


def _reason(candidates: list[Candidate], rules: Rules) -> str:
    if len(candidates) < rules.min_candidates:
        return "too_few_candidates"
    return "all_right" if candidates[0].correct else "all_wrong"


def comparison_row(problem: dict[str, Any], chosen: list[Candidate]) -> dict[str, Any]:
    """One row of comparisons.jsonl: a problem to a solving stage, whose prompt shows the candidates by number."""
    text = "\n\n".join(f"Solution {number}:\n{one.text}" for number, one in enumerate(chosen))
    return {
        "id": files.content_id(problem["id"], *(one.text for one in chosen)),
        "problem": problem["problem"],
        "problem_id": problem["id"],
        "expected_answer": chosen[0].expected_answer,
        "original_expected_answer": problem.get("expected_answer", ""),
        "problem_source": problem.get("problem_source"),
        "solutions": text,
        "num_solutions": len(chosen),
        "max_index": len(chosen) - 1,
        "seeds": [one.seed for one in chosen],
        "answers": [one.answer for one in chosen],
        "right": [one.correct for one in chosen],
    }


def _by_problem(solutions: Path, verdicts: Path, problems: Path) -> Iterator[tuple[dict[str, Any], Iterator]]:
    """(problem, its solutions with their verdicts), all seed files read in step: they are in problem order."""
    readers = [_SeedReader(path, verdicts, seed) for seed, path in seed_files.seed_files(solutions).items()]
    for problem in read_problems(problems):
        yield problem, (row for reader in readers for row in reader.take(problem["id"]))
    for reader in readers:
        reader.check_end()


class _SeedReader:
    """One seed file beside its verdicts, one problem at a time."""

    def __init__(self, path: Path, verdicts: Path, seed: int):
        self._path, self._verdicts = path, SeedVerdicts(verdicts, seed)
        self._lines = self._read()
        self._line = next(self._lines, b"")

    def _read(self) -> Iterator[bytes]:
        with open(self._path, "rb", buffering=1 << 18) as file:
            yield from file

    def take(self, problem_id: str) -> Iterator[tuple[bytes, Path, Verdict | None]]:
        """The row of this problem, if this seed has one."""
        if self._line.startswith(line_start(problem_id)):
            line, self._line = self._line, next(self._lines, b"")
            yield line, self._path, self._verdicts.find(problem_id)

    def check_end(self) -> None:
        if self._line:
            raise SdgError(
                f"{self._path}: expected the solutions in the order of the problems, found "
                f"{self._line[:60]!r} out of order. Give the files of one run."
            )
