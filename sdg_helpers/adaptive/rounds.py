"""Solve and judge in rounds: after each one, ask again for the problems of which another solution is worth it.

    solutions/allocation/allocation.parquet    id, seeds: how many solutions each problem gets
    solutions/allocation/stopped.parquet       why it gets no more in the end (see adaptive/pass_rates.py)
    solutions/rounds/                          the verdicts that decided it, a stage like `judged`

A round is a growth of the solutions stage (see sdg_helpers/growth.py), so that it can be killed and resumed anywhere.
The judging stage takes over the verdicts of the rounds, and asks for none of them again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.parquet as parquet

from sdg_helpers import files
from sdg_helpers.adaptive.pass_rates import PassRates, rounds_folder, write_stopped
from sdg_helpers.adaptive.rule import AdaptiveRule, Counts, Prior, fit_prior
from sdg_helpers.cluster.keeping import keep_servers
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.problems.problem_file import ProblemIndex, read_problems
from sdg_helpers.solutions.allocation import read_allocation, write_allocation
from sdg_helpers.stages import Stage

SAMPLING = ("uniform", "adaptive")


def solve_problems(
    sampling: str,
    solve: Callable[..., dict[str, Any]],
    judge: Callable[[Stage], dict[str, Any]],
    problems: Path,
    solutions: Stage,
    *,
    num_seeds: int,
    rule: AdaptiveRule,
) -> dict[str, Any]:
    """Generate num_seeds solutions per problem (sampling "uniform"), or as many as are worth it ("adaptive").

    The other arguments are those of solve_in_rounds. Returns the manifest of the solutions stage.
    """
    if sampling not in SAMPLING:
        raise SdgError(
            f"sampling must be {' or '.join(SAMPLING)}, not {sampling!r}.{did_you_mean(str(sampling), SAMPLING)}"
        )
    if sampling == "uniform":
        return solve()
    return solve_in_rounds(solve, judge, problems, solutions, num_seeds=num_seeds, rule=rule)


def solve_in_rounds(
    solve: Callable[..., dict[str, Any]],
    judge: Callable[[Stage], dict[str, Any]],
    problems: Path,
    solutions: Stage,
    *,
    num_seeds: int,
    rule: AdaptiveRule | None = None,
) -> dict[str, Any]:
    """Generate between rule.first and num_seeds solutions per problem; return the manifest of the solutions stage.

    solve: generate_solutions with all its arguments but `allocation`. judge: judges all solutions in the stage that
    it is given. Raises SdgError when no problem has a reference answer to judge by.
    """
    if not any(row.get("expected_answer") for row in read_problems(problems)):
        raise SdgError(
            f"{problems}: no problem has a reference answer, so nothing tells which solutions are right, and adaptive "
            'sampling cannot stop. Set SAMPLING = "uniform".'
        )
    _refuse_uniform(solutions)
    rule = rule or AdaptiveRule()
    path, rounds = allocation_path(solutions), Stage(rounds_folder(solutions), "rounds", solutions.notebook)
    index = ProblemIndex.build(problems)
    seeds = read_allocation(path, index, min(rule.first, num_seeds))
    with keep_servers():
        while True:
            if not path.exists() or (read_allocation(path, index, -1) != seeds).any():
                write_allocation(path, list(index), seeds, {})
            manifest = solve(allocation=path)
            judge(rounds)
            found = count_right(rounds.folder / "verdicts.parquet", index, rule.first)
            prior = fit_prior(
                Counter(zip(np.minimum(seeds, rule.first).tolist(), found.first_right.tolist(), strict=True))
            )
            wanted, stopped = _allocate(seeds, found, rule, num_seeds, prior)
            if (wanted == seeds).all():
                write_stopped(solutions, index, seeds, found, stopped, PassRates(rule, num_seeds, prior))
                return manifest
            seeds = wanted


def _refuse_uniform(solutions: Stage) -> None:
    """Raise SdgError for a stage that was begun with the same number of solutions for every problem."""
    begun = solutions.manifest or files.read_json(solutions.folder / "begun.json")
    if begun and "allocation" not in begun.get("inputs", {}):
        raise SdgError(
            f"{solutions.folder}: this stage was begun with uniform sampling, so the solutions that adaptive sampling "
            'would save exist already. Set SAMPLING = "uniform", or use another run name.'
        )


def _allocate(
    seeds: np.ndarray, found: Counts, rule: AdaptiveRule, cap: int, prior: Prior
) -> tuple[np.ndarray, list[str]]:
    """Return the number of seeds of each problem for the next round, and why it gets no more ("": it does)."""
    rows = zip(seeds.tolist(), found.right.tolist(), found.agreeing.tolist(), strict=True)
    known = {state: rule.next(*state, cap, prior) for state in set(rows)}
    rows = zip(seeds.tolist(), found.right.tolist(), found.agreeing.tolist(), strict=True)
    steps = [known[state] for state in rows]
    return np.array([step[0] for step in steps], dtype=np.int32), [step[1] for step in steps]


def allocation_path(solutions: Stage) -> Path:
    """Return the path of the table of seeds."""
    return solutions.folder / "allocation" / "allocation.parquet"


def rounds_store(solutions: Stage) -> Path:
    """Return the path of the rounds' comparisons, which later judging takes over. It exists in adaptive runs only."""
    return rounds_folder(solutions) / "comparisons.jsonl"


def count_right(verdicts: Path, index: ProblemIndex, first: int) -> Counts:
    """Count the solutions in a table of verdicts. first: seeds of the first round."""
    table = parquet.read_table(verdicts, columns=["id", "seed", "predicted_answer", "correct"])
    is_right = compute.fill_null(table["correct"], False)
    right = table.filter(is_right)
    others = table.filter(compute.and_(compute.is_valid(table["predicted_answer"]), compute.invert(is_right)))
    same = others.group_by(["id", "predicted_answer"]).aggregate([([], "count_all")])
    most = same.group_by("id").aggregate([("count_all", "max")])
    return Counts(
        _by_problem(right.group_by("id").aggregate([([], "count_all")]), index),
        _by_problem(most.rename_columns({"count_all_max": "count_all"}), index),
        _by_problem(
            right.filter(compute.less(right["seed"], first)).group_by("id").aggregate([([], "count_all")]), index
        ),
    )


def _by_problem(counts: pa.Table, index: ProblemIndex) -> np.ndarray:
    """Return the column count_all of a table, in the order of the problems; 0 for those without a row."""
    found = np.zeros(len(index), dtype=np.int32)
    for problem_id, number in zip(counts["id"].to_pylist(), counts["count_all"].to_pylist(), strict=True):
        found[index.position(problem_id)] = number
    return found
