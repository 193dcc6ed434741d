"""The labels and rows of adaptive sampling beside those of 16, and of as many, solutions of every problem.

    python -m bench.adaptive_labels                                 # simulated solvers, a share of references damaged
    python -m bench.adaptive_labels example_model_solutions.jsonl   # and GSM8K, see bench.labels

Rounds, relabeling and the limit of exported solutions are the project's own code; the truth plays the judge. Of GSM8K,
each of a problem's 16 solutions is one of the four models' published ones, drawn at random: they repeat each other, and
their lengths are words. A simulated solution has length 1.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bench.labels import as_number, read_problems, write_solutions
from sdg_helpers import files
from sdg_helpers.adaptive import AdaptiveRule, solve_in_rounds
from sdg_helpers.adaptive.pass_rates import rounds_folder
from sdg_helpers.adaptive.rounds import allocation_path
from sdg_helpers.judging.verdicts import VerdictWriter
from sdg_helpers.labels.relabel import relabel_problems
from sdg_helpers.problems.problem_file import ProblemIndex
from sdg_helpers.solutions.allocation import read_allocation
from sdg_helpers.stages import Stage
from tests.helpers.voting import Simulated, simulate

SEEDS = 16
_PASS_RATES = {"always or never": (0.5, 0.5), "even": (1.0, 1.0), "easy": (3.0, 0.7)}  # of Beta distributions


class Problem(NamedTuple):
    """A problem, its truth, reference and answers, and its solutions with their lengths."""

    text: str
    known: Simulated
    solutions: list[str]
    lengths: list[int]


class Outcome(NamedTuple):
    """What a way of sampling comes to. tokens: length of all solutions; labels in use that are right, those that are
    undecided, those in use that are wrong; exported rows by whether their answer is the true one."""

    solutions: int
    tokens: int
    right_labels: int
    undecided: int
    wrong_labels: int
    right_rows: int
    wrong_rows: int


def simulated(pass_rates: tuple[float, float], cluster: float, number: int = 2000) -> list[Problem]:
    """Return problems of which a tenth of the references are wrong, and `cluster` of wrong answers repeat another."""
    made = simulate(number, SEEDS, cluster=cluster, damage=0.1, pass_rates=pass_rates, random_seed=SEEDS)
    return [Problem("What is it?", one, [], [1] * SEEDS) for one in made]


def of_gsm8k(path: Path, damage: float) -> list[Problem]:
    """Return the published problems, each with 16 of its four solutions."""
    rng, found = np.random.default_rng(0), []
    for text, known, solutions in read_problems(path, damage):
        drawn = rng.integers(len(solutions), size=SEEDS)
        texts = [solutions[one] for one in drawn]
        answers = [known.answers[one] for one in drawn]
        found.append(Problem(text, known._replace(answers=answers), texts, [len(one.split()) for one in texts]))
    return found


def compare(problems: Sequence[Problem], folder: Path, rule: AdaptiveRule | None = None) -> dict[str, Outcome]:
    """Return what ways to sample the same solutions come to: "adaptive", "uniform 16", and uniform sampling of as many
    solutions as adaptive sampling has generated, rounded up to a whole number per problem."""
    rule = rule or AdaptiveRule()
    path = folder / "problems.jsonl"
    rows = (
        {"id": f"p{place}", "problem": one.text, "expected_answer": one.known.reference}
        for place, one in enumerate(problems)
    )
    path.write_bytes(b"".join(map(files.dumps, rows)))
    texts = write_solutions([one.solutions for one in problems], folder)
    stage = Stage(folder / "adaptive", "solutions")
    tables = {"adaptive": _sample(problems, path, stage, rule)}
    for number in (SEEDS, math.ceil(tables["adaptive"][0].mean())):
        tables[f"uniform {number}"] = np.full(len(problems), number), folder / f"{number}.parquet"
        _judge(problems, *tables[f"uniform {number}"])
    found = {}
    for name, (seeds, verdicts) in tables.items():
        labels = Stage(folder / f"{name}-labels", "relabeled")
        first_round = rule.first if name == "adaptive" else None
        relabel_problems(verdicts, path, labels, None, texts, first_round=first_round)
        found[name] = _outcome(problems, seeds, pd.read_parquet(labels.folder / "labels.parquet"), rule.target)
    return found


def _sample(problems: Sequence[Problem], path: Path, stage: Stage, rule: AdaptiveRule) -> tuple[np.ndarray, Path]:
    """Sample in rounds; return the solutions of each problem and the verdicts on them."""
    index = ProblemIndex.build(path)

    def solve(allocation: Path) -> dict[str, Any]:
        return {}  # the solutions are there

    def judge(rounds: Stage) -> dict[str, Any]:
        rounds.folder.mkdir(parents=True, exist_ok=True)
        _judge(problems, read_allocation(allocation_path(stage), index, 0), rounds.folder / "verdicts.parquet")
        return {}

    solve_in_rounds(solve, judge, path, stage, num_seeds=SEEDS, rule=rule)
    return read_allocation(allocation_path(stage), index, 0), rounds_folder(stage) / "verdicts.parquet"


def _judge(problems: Sequence[Problem], seeds: np.ndarray, path: Path) -> None:
    """Write the verdicts on the first solutions of every problem."""
    with VerdictWriter(path) as table:
        for seed in range(SEEDS):
            for place, (_, known, *_) in enumerate(problems):
                if seed < seeds[place]:
                    answer = known.answers[seed]
                    right = answer is not None and as_number(answer) == as_number(known.reference)
                    table.add(f"p{place}", seed, answer, known.reference, right, "model")


def _outcome(problems: Sequence[Problem], seeds: np.ndarray, labels: pd.DataFrame, per_problem: int) -> Outcome:
    counts = dict.fromkeys(Outcome._fields, 0)
    for one, number, label, decision in zip(
        problems, seeds, labels["expected_answer"], labels["decision"], strict=True
    ):
        counts["solutions"] += int(number)
        counts["tokens"] += sum(one.lengths[:number])
        if decision == "undecided":
            counts["undecided"] += 1
            continue
        is_right = as_number(label) == as_number(one.known.truth)
        counts["right_labels" if is_right else "wrong_labels"] += 1
        matching = sum(text is not None and as_number(text) == as_number(label) for text in one.known.answers[:number])
        counts["right_rows" if is_right else "wrong_rows"] += min(matching, per_problem)
    return Outcome(**counts)


def data_sets(path: Path | None) -> Iterator[tuple[str, list[Problem]]]:
    """Yield (name, problems)."""
    for name, shape in _PASS_RATES.items():
        for cluster in (0.05, 0.5):
            yield f"{name}, {cluster:.0%} repeat", simulated(shape, cluster)
    for damage in (0.0, 0.05, 0.1) if path else ():
        yield f"GSM8K, {damage:.0%} damaged", of_gsm8k(path, damage)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path)
    arguments = parser.parse_args()
    print(f"{'':60}{'labels':>22}{'rows':>17}   tokens per")
    print(f"{'problems':28}{'sampling':12}{'solutions':>9}{'tokens':>11}", end="")
    print(f"{'right':>8}{'undecided':>10}{'wrong':>6}{'right':>9}{'wrong':>6}   right row")
    for name, problems in data_sets(arguments.file):
        with tempfile.TemporaryDirectory() as folder:
            found = compare(problems, Path(folder))
        uniform = found[f"uniform {SEEDS}"]
        for sampling, one in found.items():
            share = one.tokens / one.right_rows / (uniform.tokens / uniform.right_rows)
            print(
                f"{name:28}{sampling:12}{one.solutions:9,}{one.tokens:11,}{one.right_labels:8,}{one.undecided:10,}"
                f"{one.wrong_labels:6,}{one.right_rows:9,}{one.wrong_rows:6,}{share:12.2f}"
            )


if __name__ == "__main__":
    main()
