"""Drivers of chunk jobs: run, interrupt, run in the background, wait for running jobs."""

import threading
import time

import pytest

from sdg_helpers import cluster
from sdg_helpers.cluster.driver import run_jobs
from sdg_helpers.cluster.jobs import JobSpec
from tests.helpers import chunk_work as work

SPEC = {"where": "slurm", "time_limit_min": 10, "servers": 4, "poll_s": 0.3, "stop_before_limit_s": 30}


class Chunks:
    """The work of chunk_work, split among the jobs of one driver."""

    shared = False

    def __init__(self, stage):
        self.stage = stage

    def unfinished(self, count, live):
        return work.left(self.stage, count)

    def may_leave(self, live):
        return not live


def run(stage, spec=None, on_poll=None, **more):
    run_jobs(work.work(stage, **more), JobSpec(**{**SPEC, **(spec or {})}), stage, Chunks(stage), on_poll)


def interrupted(stage, spec=None, state="RUNNING", **more):
    """Run the driver until one of its jobs is in this state, then interrupt it; the jobs keep running."""

    def interrupt(jobs):
        if any(job.state == state for job in jobs):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(stage, spec, interrupt, **more)


def in_background(function, *words, **more):
    """Run the driver in a thread; `.error` is what it raised."""

    class Driver(threading.Thread):
        error = None

        def run(self):
            try:
                function(*words, **more)
            except BaseException as error:
                self.error = error

    thread = Driver(daemon=True)
    thread.start()
    return thread


def when_running(stage, count=1, timeout_s=60):
    """Wait until `count` jobs of the stage run and have written rows; return the running jobs."""
    end = time.time() + timeout_s
    while time.time() < end:
        running = [job for job in cluster.live_jobs(stage) if job.state == "RUNNING"]
        if len(running) >= count and len(work.rows_of(stage)) >= count:
            return running
        time.sleep(0.2)
    raise TimeoutError(f"no {count} jobs run: {cluster.live_jobs(stage)}")
