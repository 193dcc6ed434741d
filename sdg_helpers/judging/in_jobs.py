"""Ask the judge in Slurm jobs, each with its own server: the jobs take blocks of questions until none is left."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from sdg_helpers import files
from sdg_helpers.cluster import this_job
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.cluster.servers import run_in_servers, serve_blocks
from sdg_helpers.completions.types import Request
from sdg_helpers.judging.asking import Asking, Judge, answered_keys, latest_failures
from sdg_helpers.judging.comparisons import row_key
from sdg_helpers.leases.blocks import items_of
from sdg_helpers.leases.feed import Feed
from sdg_helpers.leases.lease_folder import Lease, leases_of
from sdg_helpers.serving.server import Server
from sdg_helpers.stages import Work


def has_begun(stage: Path) -> bool:
    """Return whether questions are left that an earlier driver gave to jobs, which may still be live."""
    leases = leases_of(stage)
    return (stage / "partial" / "pending.jsonl").exists() and bool(leases.free() or leases.taken())


def ask_in_jobs(work: Work, pending: Path, judge: Judge, jobs: JobSpec) -> None:
    """Ask the questions of pending.jsonl in jobs. The file must not change while one is live: blocks are rows of it."""
    keys = [row_key(row) for row in files.read_jsonl(pending)]

    def find_missing(without_failed: bool) -> np.ndarray:
        settled = answered_keys(pending.parent)
        if without_failed:
            settled.update(latest_failures(pending.parent))
        return np.array([[key not in settled] for key in keys])

    function = partial(ask_blocks, pending=pending.resolve(), judge=judge, jobs=jobs)
    missing = int(find_missing(False).sum())
    before = len(answered_keys(pending.parent))
    run_in_servers(work, function, jobs, find_missing, before, before + missing)


def ask_blocks(number: int, count: int, *, pending: Path, judge: Judge, jobs: JobSpec) -> None:
    """Ask the questions of one block after another until none is left: what one job does."""
    serve_blocks(pending.parent.parent, jobs, judge.open_server, partial(_ask_all, pending, judge))


def _ask_all(pending: Path, judge: Judge, server: Server) -> None:
    leases = leases_of(pending.parent.parent)

    def requests_of(lease: Lease) -> list[Request]:
        for owner in lease.former:
            asking.settled.update(answered_keys(pending.parent, owner))
        return list(asking.requests(items_of(lease.block)))

    ahead = max(1, judge.limits.concurrency // 4)
    with (
        Asking(pending, judge, answered_keys(pending.parent)) as asking,
        Feed(leases, asking.name, requests_of, asking.sync, ahead=ahead, wait_for_others=server.batch is None) as feed,
        this_job.stops_by(feed.drain),
    ):
        asking.run(server, feed, feed.ended, feed.postpone, feed.report)
