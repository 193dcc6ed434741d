"""Stage 03: write num_seeds solutions to every problem with a model."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sdg_helpers import files
from sdg_helpers.answers.extraction import normalise_reasoning
from sdg_helpers.cluster.chunks import chunk_range, run_in_jobs
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.completions.meter import Progress
from sdg_helpers.completions.sessions import Session, shown, took
from sdg_helpers.completions.types import Completion, Failure, Limits, Request, Sampling
from sdg_helpers.errors import SdgError
from sdg_helpers.problems.problem_file import ProblemIndex, read_problems
from sdg_helpers.prompts import Prompt
from sdg_helpers.serving.server import Server
from sdg_helpers.solutions import seed_files
from sdg_helpers.solutions.rows import solution_line
from sdg_helpers.stages import Stage, Work


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
    jobs: JobSpec | None = None,
) -> dict[str, Any]:
    """Write `output-rs{seed}.jsonl` for seeds 0 … num_seeds-1; go on where an earlier attempt stopped.

    open_server is called only when there is work left. A request that keeps failing goes to failures.jsonl; the stage
    is complete when at most max_failed_fraction of all solutions are missing.
    jobs: run as jobs of Slurm, each with a server of its own; None: here. The rows are the same. Returns the manifest.
    """
    if num_seeds < 1:
        raise SdgError(f"num_seeds: expected 1 or more, found {num_seeds}.")
    parameters = {
        "model": model,
        "prompt": prompt.id,
        "prompt_name": prompt.name,
        "num_seeds": num_seeds,
        "run_seed": run_seed,
        **asdict(sampling),
    }
    asking = Asking(model, prompt, sampling, limits, run_seed)
    folder = stage.folder
    with stage.work(parameters, {"problems": problems}) as work:
        if work.done:
            return work.manifest
        index = ProblemIndex.build(problems)
        done = seed_files.find_done(folder, index, num_seeds)
        before = int(done.sum())
        if before < done.size and jobs is None:
            _solve(folder, problems, done, open_server(), asking, work)
        elif before < done.size:
            _solve_in_jobs(work, problems, index, done, open_server, asking, jobs)
        return _finish(work, index, done, max_failed_fraction, resumed_rows=before, requests=took(folder / "partial"))


@dataclass(frozen=True)
class Asking:
    """What is asked of which model, and how."""

    model: str
    prompt: Prompt
    sampling: Sampling
    limits: Limits
    run_seed: int


def _solve_in_jobs(
    work: Work,
    problems: Path,
    index: ProblemIndex,
    done: np.ndarray,
    open_server: Callable[[], Server | None],
    asking: Asking,
    jobs: JobSpec,
) -> None:
    """The same by jobs; `done` is brought up to date in place, and on disk for the jobs that begin after it."""

    def left(num_chunks: int) -> dict[int, int]:
        done[:] = seed_files.find_done(work.folder, index, done.shape[1])
        seed_files.write_done(work.folder, done)
        places = [chunk_range(len(index), chunk, num_chunks) for chunk in range(num_chunks)]
        missing = [int((~done[mine.start : mine.stop]).sum()) for mine in places]
        return {chunk: rows for chunk, rows in enumerate(missing) if rows}

    function = partial(
        solve_chunk,
        problems=problems.resolve(),
        folder=work.folder.resolve(),
        num_seeds=done.shape[1],
        open_server=open_server,
        asking=asking,
    )
    run_in_jobs(work, function, jobs, left, int(done.sum()), done.size)


def solve_chunk(
    chunk: int,
    num_chunks: int,
    *,
    problems: Path,
    folder: Path,
    num_seeds: int,
    open_server: Callable[[], Server | None],
    asking: Asking,
) -> None:
    """What one job does: the solutions of a contiguous part of the problems that are still missing.

    Reads what the driver knew to be done, and what jobs of this chunk have written; not the rest of 200 GB.
    """
    index, writer = ProblemIndex.build(problems), f"solve-{chunk:04d}of{num_chunks:04d}"
    done = seed_files.read_done(folder, num_seeds) | seed_files.find_done(folder, index, num_seeds, writer)
    mine = chunk_range(len(index), chunk, num_chunks)
    done[: mine.start], done[mine.stop :] = True, True
    if not done.all() and (server := open_server()) is not None:  # None: a rank whose part in serving is over
        _solve(folder, problems, done, server, asking, name=writer)


def sampling_seed(run_seed: int, problem_id: str, seed: int) -> int:
    """The seed sent to the server: 31 bits from (run seed, problem, k), so that no two samples share one by design.

    Equal sampling seeds gave equal answers to users who sent the file's number k alone.
    """
    digest = hashlib.blake2b(f"{run_seed}/{problem_id}/{seed}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") & 0x7FFFFFFF


def _requests(problems: Path, done: np.ndarray, asking: Asking) -> Iterator[Request]:
    """What is left to do; the samples of one problem come one after the other, for the server's prefix cache."""
    for position, problem in enumerate(read_problems(problems)):
        missing = np.flatnonzero(~done[position])
        if len(missing):
            messages = asking.prompt.messages(problem)
            for seed in missing.tolist():
                yield Request((position, seed, problem), messages, sampling_seed(asking.run_seed, problem["id"], seed))


def _solve(
    folder: Path,
    problems: Path,
    done: np.ndarray,
    server: Server,
    asking: Asking,
    work: Work | None = None,
    name: str = "solve",
) -> None:
    """Stream what is left through the server into partial files, marking it in `done`.

    work: whose progress is shown; a chunk's job has none, its session tells the driver.
    """
    before = int(done.sum())
    writer, session = seed_files.PartialWriter(folder, name), Session(folder / "partial")
    with closing(writer), files.AppendLog(folder / "partial" / f"failures-{writer.name}.jsonl") as failures:

        def on_completion(request: Request, completion: Completion) -> None:
            position, seed, problem = request.key
            line = solution_line(
                problem,
                seed=seed,
                generation=normalise_reasoning(completion.content, completion.reasoning),
                finish_reason=completion.finish_reason,
                num_generated_tokens=completion.completion_tokens,
            )
            writer.append(seed, line)
            done[position, seed] = True

        def on_failure(request: Request, failure: Failure) -> None:
            _, seed, problem = request.key
            failures.append({"id": problem["id"], "seed": seed, **asdict(failure)})

        def on_progress(progress: Progress) -> None:
            session.note(progress, progress.done)
            if work:
                work.progress(before + progress.done, done.size, **shown(progress))

        if work:
            work.progress(before, done.size, force=True)
        progress = server.complete(
            _requests(problems, done, asking),
            model=asking.model,
            sampling=asking.sampling,
            limits=asking.limits,
            on_completion=on_completion,
            on_failure=on_failure,
            on_progress=on_progress,
        )
        session.note(progress, progress.done, force=True)


def _finish(
    work: Work, index: ProblemIndex, done: np.ndarray, max_failed_fraction: float, **more: Any
) -> dict[str, Any]:
    """Complete the stage if little enough is missing: merge every seed, keep the failures, count by reason."""
    failures = _outstanding(work.folder, index, done)
    reasons = Counter(row["reason"] for row in failures.values())
    missing, total = int((~done).sum()), done.size
    if missing > max_failed_fraction * total:
        told = ", ".join(f"{count} × {reason}" for reason, count in reasons.most_common()) or "no reason recorded"
        raise SdgError(
            f"{work.folder}: {missing} of {total} solutions are missing ({told}); at most "
            f"{max_failed_fraction:.1%} may be. {work.folder}/partial/failures-*.jsonl have every failure. "
            "Nothing that was written is lost: run again to ask for the missing ones, or allow more with "
            "MAX_FAILED_FRACTION."
        )
    if failures:
        with files.atomic_writer(work.folder / "failures.jsonl") as out:
            out.writelines(files.dumps(row) for row in failures.values())
    summary, checksums = seed_files.Summary(), np.zeros(done.shape, dtype=np.uint32)
    for seed in range(done.shape[1]):
        checksums[:, seed] = seed_files.merge(work.folder, index, seed, summary)
    manifest = work.finish(
        rows_in=total,
        rows_out=summary.rows,
        dropped=dict(reasons),
        problems=len(index),
        finish_reasons=dict(summary.finish_reasons),
        generated_tokens=summary.tokens,
        length_bins=seed_files.TOKEN_BINS.tolist(),
        length_counts=summary.lengths.tolist(),
        distinct_solutions=_distinct(checksums),
        outputs=list(seed_files.seed_files(work.folder).values()),
        **more,
    )
    shutil.rmtree(work.folder / "partial", ignore_errors=True)
    return manifest


def _distinct(checksums: np.ndarray) -> int:
    """Solutions that differ from every other one of their problem, plus one for each group of equal ones."""
    ordered = np.sort(checksums, axis=1)
    return int((ordered[:, 0] > 0).sum() + ((ordered[:, 1:] != ordered[:, :-1]) & (ordered[:, 1:] > 0)).sum())


def _outstanding(folder: Path, index: ProblemIndex, done: np.ndarray) -> dict[tuple[str, int], dict[str, Any]]:
    """The latest failure of every solution that is still missing, by (id, seed)."""
    latest = {}
    for row in (row for path in sorted((folder / "partial").glob("failures-*.jsonl")) for row in files.read_log(path)):
        position = index.position(row["id"])
        if position >= 0 and row["seed"] < done.shape[1] and not done[position, row["seed"]]:
            latest[row["id"], row["seed"]] = row
    return latest
