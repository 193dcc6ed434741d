"""Stage 03: generate num_seeds solutions to every problem with a model, here or in Slurm jobs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.completions.sessions import total_usage
from sdg_helpers.completions.types import Limits, Sampling
from sdg_helpers.errors import SdgError
from sdg_helpers.problems.problem_file import ProblemIndex
from sdg_helpers.prompts import Prompt
from sdg_helpers.serving.server import Server
from sdg_helpers.solutions import seed_files, unfinished
from sdg_helpers.solutions.allocation import asked_for
from sdg_helpers.solutions.finishing import finish_solutions
from sdg_helpers.solutions.growing import drop_outdated_rows, find_outgrown, only_appended
from sdg_helpers.solutions.in_jobs import solve_in_jobs
from sdg_helpers.solutions.solving import GenerationSettings, all_requests, solve
from sdg_helpers.stages import Stage

_MAY_GROW = ("num_seeds", "problems", "max_tokens", "allocation")


def generate_solutions(
    problems: Path,
    stage: Stage,
    *,
    open_server: Callable[[], Server | None],
    model: str,
    prompt: Prompt,
    num_seeds: int,
    sampling: Sampling,
    limits: Limits,
    run_seed: int = 0,
    max_failed_fraction: float = 0.01,
    max_unfinished_fraction: float = 0.5,
    jobs: JobSpec | None = None,
    allocation: Path | None = None,
) -> dict[str, Any]:
    """Write output-rs{seed}.jsonl for seeds 0 … num_seeds-1; resume where an earlier attempt stopped.

    A stage may grow (see solutions/growing.py): with more seeds, with problems after those that it has solved, and
    with a larger max_tokens, for which only cut solutions are generated again.

    problems: problems.jsonl. open_server: called only if solutions are missing. max_failed_fraction: the stage is
    complete when at most this fraction of all solutions is missing; their failures are in failures.jsonl.
    max_unfinished_fraction: how many solutions the model may leave unfinished (cut at max_tokens). jobs: run as
    these Slurm jobs, each with its own server; None: run in this process. The rows are the same. allocation: a table
    that says for how many of the seeds each problem is to be solved (see allocation.py); None: for all of them.
    Return the manifest. Raises SdgError when too many solutions are missing or unfinished.
    """
    if num_seeds < 1:
        raise SdgError(f"num_seeds: must be at least 1, found {num_seeds}.")
    parameters = {
        "model": model,
        "prompt": prompt.id,
        "prompt_name": prompt.name,
        "num_seeds": num_seeds,
        "run_seed": run_seed,
        **asdict(sampling),
    }
    settings = GenerationSettings(model, prompt, sampling, limits, run_seed)
    folder = stage.folder
    inputs = {"problems": problems, **({"allocation": allocation} if allocation else {})}
    with stage.work(parameters, inputs, may_grow=_MAY_GROW) as work:
        if work.done:
            return work.manifest
        if not only_appended(problems, work.growth):
            drop_outdated_rows(folder, problems)
        index, outgrown = ProblemIndex.build(problems), find_outgrown(folder, work.growth, sampling.max_tokens)
        skipped = ~asked_for(allocation, index, num_seeds)

        def find_done() -> np.ndarray:
            return seed_files.find_done(folder, index, num_seeds, outgrown=outgrown) | skipped

        done = find_done()
        before = _count_asked(done, skipped)
        if not done.all():
            if jobs is not None:
                solve_in_jobs(work, problems, done, skipped, find_done, open_server, settings, jobs)
            elif (server := open_server()) is not None:
                requests = all_requests(problems, done, settings)
                with (
                    closing(seed_files.PartialWriter(folder, "solve")) as writer,
                    closing(unfinished.open_texts(writer, lambda name: True)) as texts,
                ):
                    count = int(skipped.sum())
                    solve(requests, writer, done, server, settings, work=work, skipped=count, texts=texts)
        return finish_solutions(
            work,
            index,
            done,
            int((~skipped).sum()),
            max_failed_fraction,
            max_unfinished_fraction,
            outgrown,
            resumed_rows=before,
            requests=total_usage(folder / "partial"),
        )


def _count_asked(done: np.ndarray, skipped: np.ndarray) -> int:
    """Count the solutions on disk that were asked for."""
    return int((done & ~skipped).sum())
