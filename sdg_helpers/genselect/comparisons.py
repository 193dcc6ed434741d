"""Stage 08, first part: show solutions of a problem side by side, for a model to pick a right one.

The method is GenSelect of the OpenMathReasoning paper (arXiv 2504.16891): candidates are the short texts after the
thinking; a comparison shows 2 to 16 of them, at least one right, and at most as many right as wrong.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sdg_helpers import files
from sdg_helpers.errors import SdgError, UnreadableRow
from sdg_helpers.judging.pairs import read_labels
from sdg_helpers.judging.verdicts import SeedVerdicts, Verdict
from sdg_helpers.manifests import read_lines
from sdg_helpers.problems.problem_file import read_problems
from sdg_helpers.sft.expected_errors import ExpectedErrors, read_confidence
from sdg_helpers.solutions import seed_files
from sdg_helpers.solutions.rows import line_start, parse_solution
from sdg_helpers.stages import Stage, Work

ROW_FORMAT = 2  # of comparisons.jsonl; increase it when its keys change: then older comparisons are rejected
MAX_CANDIDATES = 16  # shown in one comparison


@dataclass(frozen=True)
class Candidate:
    """A solution as a comparison shows it.

    text: what follows the thinking; expected_answer: what the answer was judged against; correct: the verdict.
    """

    seed: int
    text: str
    answer: str
    expected_answer: str
    correct: bool


class Rules(BaseModel):
    """Which problems are compared and how often; the defaults are the paper's.

    max_characters: of a candidate. min_candidates: problems with fewer distinct candidates are dropped.
    max_comparisons: per problem. max_expected_error: problems whose label is wrong with a higher probability are
    dropped, as by the export's filter of that name. Raises SdgError for an unknown name or a bad value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    max_characters: int = Field(3000, ge=1)
    min_candidates: int = Field(4, ge=2)
    max_comparisons: int = Field(8, ge=1)
    max_expected_error: float = Field(1.0, ge=0, le=1)

    def __init__(self, **values: Any):
        try:
            super().__init__(**values)
        except ValidationError as error:
            details = (f"{one['loc'][0]}: {one['msg']}, found {one['input']!r}." for one in error.errors())
            raise SdgError("\n".join(details)) from None


def draw_comparisons(
    solutions: Stage,
    verdicts: Path,
    problems: Path,
    stage: Stage,
    *,
    labels: Path | None = None,
    rules: Rules | None = None,
    run_seed: int = 0,
) -> dict[str, Any]:
    """Write comparisons.jsonl: id, problem, problem_id, expected_answer, original_expected_answer (of the reference),
    problem_source, solutions (the text shown), num_solutions, max_index, and in the order shown: seeds, answers and
    right (booleans).

    labels: labels.parquet; problems whose label is undecided or too uncertain for the rules are dropped. None: every
    problem is used. Choice and order depend only on the data and run_seed. Returns the manifest. Raises SdgError when
    no problem can be compared.
    """
    solutions.require()
    rules = rules or Rules()
    parameters = {**rules.model_dump(), "run_seed": run_seed, "row_format": ROW_FORMAT}
    inputs = {
        "verdicts": verdicts,
        "problems": problems,
        **{path.name: path for path in seed_files.seed_files(solutions.folder).values()},
        **({"labels": labels} if labels else {}),
    }
    with stage.work(parameters, inputs) as work:
        if work.done:
            return work.manifest
        unusable = _unusable_labels(labels, problems, rules) if labels else {}
        return _write_comparisons(work, solutions.folder, verdicts, problems, unusable, rules, run_seed)


def select_candidates(
    rows: Iterator[tuple[bytes, Path, Verdict | None]], rules: Rules, dropped: Counter[str]
) -> list[Candidate]:
    """Return the candidates among the solutions of one problem: judged, with one box, short, each text once.

    rows: (line, its file, verdict). Rejections are counted by reason in `dropped`.
    """
    found: dict[str, Candidate] = {}
    for line, path, verdict in rows:
        solution = parse_solution(line, path, 0)
        text = solution.answer_text().strip()
        if verdict is None or verdict.correct is None:
            dropped["no_verdict" if verdict is None else "undecided"] += 1
        elif not verdict.predicted_answer:
            dropped["no_answer"] += 1
        elif text.count(r"\boxed") != 1:
            dropped["not_one_box"] += 1
        elif len(text) > rules.max_characters:
            dropped["too_long"] += 1
        elif text in found:
            dropped["same_text"] += 1
        else:
            found[text] = Candidate(
                solution.keys["seed"], text, verdict.predicted_answer, verdict.expected_answer, verdict.correct
            )
    return list(found.values())


def draw(candidates: list[Candidate], rules: Rules, rng: random.Random) -> list[list[Candidate]]:
    """Draw up to max_comparisons distinct comparisons of one problem's candidates, each in random order.

    The number of candidates is drawn from a normal distribution around the middle of the possible range, truncated to
    that range. Returns [] when the candidates are too few, all right or all wrong.
    """
    right, wrong = ([one for one in candidates if one.correct is kind] for kind in (True, False))
    if not right or not wrong or len(candidates) < rules.min_candidates:
        return []
    largest = max(
        size
        for size in range(2, min(MAX_CANDIDATES, len(candidates)) + 1)
        if _fewest_right(size, wrong) <= min(len(right), size // 2)
    )
    drawn: dict[frozenset[int], list[Candidate]] = {}
    for _ in range(4 * rules.max_comparisons):
        size = _draw_size(largest, rng)
        num_right = rng.randint(_fewest_right(size, wrong), min(len(right), size // 2))
        chosen = rng.sample(right, num_right) + rng.sample(wrong, size - num_right)
        rng.shuffle(chosen)
        drawn.setdefault(frozenset(one.seed for one in chosen), chosen)
        if len(drawn) == rules.max_comparisons:
            break
    return list(drawn.values())


def _fewest_right(size: int, wrong: list[Candidate]) -> int:
    return max(1, size - len(wrong))


def _draw_size(largest: int, rng: random.Random) -> int:
    middle, spread = (2 + largest) / 2, max((largest - 2) / 4, 0.5)
    while True:
        size = round(rng.gauss(middle, spread))
        if 2 <= size <= largest:
            return size


def _unusable_labels(labels: Path, problems: Path, rules: Rules) -> dict[str, str]:
    """Return the ids of the problems whose labels are not used, with the reason."""
    errors = ExpectedErrors(read_confidence(labels), None)
    unusable = {}
    for problem, label in zip(read_problems(problems), read_labels(labels, problems), strict=True):
        if not label.decided:
            unusable[problem["id"]] = "undecided_label"
        elif errors.of_label(problem["id"]) > rules.max_expected_error:
            unusable[problem["id"]] = "unsure_label"
    return unusable


def _write_comparisons(
    work: Work,
    solutions: Path,
    verdicts: Path,
    problems: Path,
    unusable: dict[str, str],
    rules: Rules,
    run_seed: int,
) -> dict[str, Any]:
    dropped, candidates_dropped, shown = Counter[str](), Counter[str](), Counter[int]()
    rows_in = rows_out = num_candidates = 0
    path = work.folder / "comparisons.jsonl"
    with files.atomic_writer(path) as out:
        for problem, rows in _by_problem(solutions, verdicts, problems):
            rows_in += 1
            work.progress(rows_in, None)
            if reason := unusable.get(problem["id"]):
                dropped[reason] += 1
                candidates_dropped[reason] += sum(1 for _ in rows)
                continue
            candidates = select_candidates(rows, rules, candidates_dropped)
            num_candidates += len(candidates)
            drawn = draw(candidates, rules, random.Random(files.content_id(str(run_seed), problem["id"])))
            if drawn:
                rows_out += 1
                shown.update(len(one) for one in drawn)
                out.writelines(files.dumps(comparison_row(problem, one)) for one in drawn)
            else:
                dropped[_reason_to_drop(candidates, rules)] += 1
        if not rows_out:
            raise SdgError(
                f"{work.folder}: none of the {rows_in} problems has both right and wrong solutions to compare "
                f"({dict(dropped)}). Generate more solutions per problem (NUM_SEEDS), or lower MIN_CANDIDATES."
            )
    return work.finish(
        rows_in=rows_in,
        rows_out=rows_out,
        dropped=dropped,
        comparisons=sum(shown.values()),
        comparisons_by_size={str(size): shown[size] for size in sorted(shown)},
        solutions=num_candidates + candidates_dropped.total(),
        solutions_left_out=dict(candidates_dropped),
        candidates=num_candidates,
        outputs=[path],
    )


def _reason_to_drop(candidates: list[Candidate], rules: Rules) -> str:
    if len(candidates) < rules.min_candidates:
        return "too_few_candidates"
    return "all_right" if candidates[0].correct else "all_wrong"


def comparison_row(problem: dict[str, Any], chosen: list[Candidate]) -> dict[str, Any]:
    """Return one row of comparisons.jsonl. The solving stage reads it as a problem; `solutions` numbers the texts."""
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


def _by_problem(
    solutions: Path, verdicts: Path, problems: Path
) -> Iterator[tuple[dict[str, Any], Iterator[tuple[bytes, Path, Verdict | None]]]]:
    """Yield each problem with its solutions; the seed files are read in step, for they are in problem order."""
    readers = [_SeedReader(path, verdicts, seed) for seed, path in seed_files.seed_files(solutions).items()]
    for problem in read_problems(problems):
        yield problem, (row for reader in readers for row in reader.take(problem["id"]))
    for reader in readers:
        reader.check_end()


class _SeedReader:
    """Read one seed file and its verdicts, one problem at a time."""

    def __init__(self, path: Path, verdicts: Path, seed: int):
        self._path, self._verdicts = path, SeedVerdicts(verdicts, seed)
        self._lines = self._read()
        self._line = next(self._lines, b"")

    def _read(self) -> Iterator[bytes]:
        yield from read_lines(self._path)

    def take(self, problem_id: str) -> Iterator[tuple[bytes, Path, Verdict | None]]:
        """Yield (line, file, verdict) of this problem, if the seed has a solution of it."""
        if self._line.startswith(line_start(problem_id)):
            line, self._line = self._line, next(self._lines, b"")
            yield line, self._path, self._verdicts.find(problem_id)

    def check_end(self) -> None:
        if self._line:
            raise UnreadableRow(
                f"{self._path}: the row that begins with {self._line[:60]!r} is not in the order of the problems. "
                "Use files of the same run."
            )
