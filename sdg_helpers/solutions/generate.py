"""Stage 03: generate num_seeds solutions to every problem with a model, here or in Slurm jobs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sdg_helpers import files
from sdg_helpers.cluster.chunks import chunk_range, run_in_jobs
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.completions.meter import Progress
from sdg_helpers.completions.sessions import Session, progress_fields, total_usage
from sdg_helpers.completions.types import Completion, Failure, Limits, Request, Sampling
from sdg_helpers.errors import SdgError
from sdg_helpers.problems.problem_file import ProblemIndex, read_problems
from sdg_helpers.prompts import Prompt
from sdg_helpers.serving.server import Server
from sdg_helpers.solutions import seed_files
from sdg_helpers.solutions.allocation import asked_for
from sdg_helpers.solutions.finishing import finish_solutions
from sdg_helpers.solutions.growing import drop_outdated_rows, find_outgrown, only_appended
from sdg_helpers.solutions.rows import solution_line
from sdg_helpers.stages import Stage, Work

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
                _solve_in_jobs(work, problems, done, skipped, find_done, open_server, settings, jobs)
            elif (server := open_server()) is not None:
                _solve(folder, problems, done, server, settings, work, skipped=int(skipped.sum()))
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


@dataclass(frozen=True)
class GenerationSettings:
    """Which model is asked, with what prompt, and how."""

    model: str
    prompt: Prompt
    sampling: Sampling
    limits: Limits
    run_seed: int


def _solve_in_jobs(
    work: Work,
    problems: Path,
    done: np.ndarray,
    skipped: np.ndarray,
    find_done: Callable[[], np.ndarray],
    open_server: Callable[[], Server | None],
    settings: GenerationSettings,
    jobs: JobSpec,
) -> None:
    """Generate the missing solutions in jobs; update `done` in place, and on disk for the jobs that start later."""

    def count_missing(num_chunks: int) -> dict[int, int]:
        done[:] = find_done()
        seed_files.write_done(work.folder, done)
        ranges = [chunk_range(len(done), chunk, num_chunks) for chunk in range(num_chunks)]
        missing = [int((~done[rows.start : rows.stop]).sum()) for rows in ranges]
        return {chunk: count for chunk, count in enumerate(missing) if count}

    function = partial(
        solve_chunk,
        problems=problems.resolve(),
        folder=work.folder.resolve(),
        num_seeds=done.shape[1],
        open_server=open_server,
        settings=settings,
    )
    run_in_jobs(work, function, jobs, count_missing, _count_asked(done, skipped), int((~skipped).sum()))


def solve_chunk(
    chunk: int,
    num_chunks: int,
    *,
    problems: Path,
    folder: Path,
    num_seeds: int,
    open_server: Callable[[], Server | None],
    settings: GenerationSettings,
) -> None:
    """Generate the missing solutions of one chunk, a contiguous range of problems: what one job does.

    To find what is missing it reads what the driver saved and what this chunk's earlier jobs wrote, not the other
    chunks' files, which may be 200 GB.
    """
    index, writer = ProblemIndex.build(problems), f"solve-{chunk:04d}of{num_chunks:04d}"
    done = seed_files.read_done(folder, num_seeds) | seed_files.find_done(folder, index, num_seeds, writer)
    mine = chunk_range(len(index), chunk, num_chunks)
    done[: mine.start], done[mine.stop :] = True, True
    if not done.all() and (server := open_server()) is not None:  # None: a rank that only helped to serve
        _solve(folder, problems, done, server, settings, name=writer)


def sampling_seed(run_seed: int, problem_id: str, seed: int) -> int:
    """Return the seed to send to the server: 31 bits that depend on run seed, problem and the solution's seed.

    The solution's seed alone would be the same for every problem, and equal sampling seeds can give equal answers.
    """
    digest = hashlib.blake2b(f"{run_seed}/{problem_id}/{seed}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") & 0x7FFFFFFF


def _requests(problems: Path, done: np.ndarray, settings: GenerationSettings) -> Iterator[Request]:
    """Yield a request per missing solution; those of one problem follow each other, for the server's prefix cache."""
    for position, problem in enumerate(read_problems(problems)):
        missing = np.flatnonzero(~done[position])
        if len(missing):
            messages = settings.prompt.messages(problem)
            for seed in missing.tolist():
                yield Request(
                    (position, seed, problem), messages, sampling_seed(settings.run_seed, problem["id"], seed)
                )


def _solve(
    folder: Path,
    problems: Path,
    done: np.ndarray,
    server: Server,
    settings: GenerationSettings,
    work: Work | None = None,
    name: str = "solve",
    skipped: int = 0,
) -> None:
    """Stream the missing solutions through the server into partial files, and mark them in `done`.

    work: reports progress there; None in a chunk's job, where the driver reads the session's file. name: the writer's.
    skipped: how many are marked as done because nobody asks for them.
    """
    before, total = int(done.sum()) - skipped, done.size - skipped
    writer, session = seed_files.PartialWriter(folder, name), Session(folder / "partial")
    with closing(writer), files.AppendLog(folder / "partial" / f"failures-{writer.name}.jsonl") as failures:

        def on_completion(request: Request, completion: Completion) -> None:
            position, seed, problem = request.key
            line = solution_line(
                problem,
                seed=seed,
                generation=completion.text,
                finish_reason=completion.finish_reason,
                num_generated_tokens=completion.completion_tokens,
            )
            writer.append(seed, line)
            done[position, seed] = True

        def on_failure(request: Request, failure: Failure) -> None:
            _, seed, problem = request.key
            failures.append({"id": problem["id"], "seed": seed, **asdict(failure)})

        def on_progress(progress: Progress) -> None:
            session.save(progress, progress.done)
            if work:
                work.progress(before + progress.done, total, not progress.in_flight, **progress_fields(progress))

        if work:
            work.progress(before, total, force=True)
        progress = server.complete(
            _requests(problems, done, settings),
            folder=folder / "partial" / "batches",
            model=settings.model,
            sampling=settings.sampling,
            limits=settings.limits,
            on_completion=on_completion,
            on_failure=on_failure,
            on_progress=on_progress,
        )
        session.save(progress, progress.done, force=True)
