"""Solve problems in Slurm jobs, each with its own server: the jobs take blocks of problems until none is left."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np

from sdg_helpers.cluster import this_job
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.cluster.servers import run_in_servers, serve_blocks
from sdg_helpers.completions.types import Request
from sdg_helpers.leases.blocks import items_of
from sdg_helpers.leases.feed import Feed
from sdg_helpers.leases.lease_folder import Lease, job_of, leases_of
from sdg_helpers.problems.problem_file import ProblemFile, ProblemIndex
from sdg_helpers.serving.server import Server
from sdg_helpers.solutions import seed_files, unfinished
from sdg_helpers.solutions.finishing import latest_failures
from sdg_helpers.solutions.solving import GenerationSettings, requests_for, solve
from sdg_helpers.stages import Work


def solve_in_jobs(
    work: Work,
    problems: Path,
    done: np.ndarray,
    skipped: np.ndarray,
    find_done: Callable[[], np.ndarray],
    open_server: Callable[[], Server | None],
    settings: GenerationSettings,
    jobs: JobSpec,
) -> None:
    """Generate the missing solutions in jobs; update `done` in place, and on disk for the jobs that start later.

    done, skipped: which are on disk or not asked for, and which of them are not asked for, of shape (problems, seeds).
    """
    index = ProblemIndex.build(problems)

    def find_missing(without_failed: bool) -> np.ndarray:
        done[:] = find_done()
        seed_files.write_done(work.folder, done)
        missing = ~done
        if without_failed:
            for problem_id, seed in latest_failures(work.folder, index, done):
                missing[index.position(problem_id), seed] = False
        return missing

    function = partial(
        solve_blocks,
        problems=problems.resolve(),
        folder=work.folder.resolve(),
        num_seeds=done.shape[1],
        open_server=open_server,
        settings=settings,
        jobs=jobs,
    )
    before, total = int((done & ~skipped).sum()), int((~skipped).sum())
    run_in_servers(work, function, jobs, find_missing, before, total)


def solve_blocks(
    number: int,
    count: int,
    *,
    problems: Path,
    folder: Path,
    num_seeds: int,
    open_server: Callable[[], Server | None],
    settings: GenerationSettings,
    jobs: JobSpec,
) -> None:
    """Generate the missing solutions of one block after another until none is left: what one job does.

    To find what is missing in a block, it reads what the driver saved and what the block's former owners wrote, not all
    files, which may be 200 GB.
    """
    solve_all = partial(_solve_all, problems, folder, num_seeds, settings)
    serve_blocks(folder, jobs, open_server, solve_all)


def _solve_all(problems: Path, folder: Path, num_seeds: int, settings: GenerationSettings, server: Server) -> None:
    leases, writer = leases_of(folder), seed_files.PartialWriter(folder, f"solve-{this_job.attempt_name()}")
    done = seed_files.read_done(folder, num_seeds)
    source, former = ProblemFile(problems), _FormerRows(folder, ProblemIndex.build(problems), done)

    def requests_of(lease: Lease) -> list[Request]:
        for owner in lease.former:
            former.read(owner)
            texts.load([unfinished.path_of(folder, owner)])
        return [
            request
            for position, problem in source.read(items_of(lease.block))
            for request in requests_for(position, problem, done[position], settings)
        ]

    def is_our_job(owner: str) -> bool:
        return bool(job := job_of(writer.name)) and job_of(owner) == job

    ahead = max(1, settings.limits.concurrency // 4)
    with (
        closing(writer),
        closing(unfinished.open_texts(writer, is_our_job)) as texts,
        Feed(leases, writer.name, requests_of, writer.sync, ahead=ahead, wait_for_others=server.batch is None) as feed,
        this_job.stops_by(feed.drain),
    ):
        solve(feed, writer, done, server, settings, feed.ended, more=feed.report, texts=texts)


class _FormerRows:
    """Marks in `done` what former owners of blocks have written."""

    def __init__(self, folder: Path, index: ProblemIndex, done: np.ndarray):
        self._folder, self._index, self._done = folder, index, done
        self._sizes: dict[str, int] = {}  # owner -> bytes that have been read

    def read(self, owner: str) -> None:
        """Read an owner's rows, unless it has written nothing since."""
        size = seed_files.writer_bytes(self._folder, owner)
        if self._sizes.get(owner, 0) != size:
            self._sizes[owner] = size
            self._done[seed_files.find_done(self._folder, self._index, self._done.shape[1], owner)] = True
