"""Servers as jobs of a private Slurm: a slow one among them, some that come and go, and one that dies at once.

    python -m bench.real_servers                   # needs root and slurm-wlm; ten minutes

Each server is a job with a scripted model of its own, so that the model counts what the job asks.
"""

from __future__ import annotations

import argparse
import operator
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench.bad_days import OpenServer
from sdg_helpers import files
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.cluster.scaling import set_servers
from tests.helpers.driving import in_background
from tests.helpers.private_slurm import PrivateSlurm
from tests.helpers.solving import generate, rows_of, write_problems
from tests.helpers.standin import StandIn

SEEDS, CONCURRENCY = 2, 4
JOBS = {"where": "slurm", "time_limit_min": 60, "poll_s": 1.0, "stop_before_limit_s": 60}


class OpenOwnServer:
    """Opens the model of this job, by its number; the job with the number `failing` dies at its first start."""

    def __init__(self, urls: list[str], mark: Path | None = None):
        self.urls, self.mark = urls, mark

    def __call__(self):
        number = int(os.environ["SLURM_ARRAY_TASK_ID"])
        if self.mark and number == 0 and not self.mark.exists():
            self.mark.touch()
            raise RuntimeError("the first start fails")
        return OpenServer(self.urls[number])()


def stats(models: list[StandIn], name: str) -> list:
    """Return one figure of each model. first, last: times of requests, on one clock."""
    return [model.stats()[name] for model in models]


def until(holds: Callable[[], bool]) -> float:
    """Wait until this holds; return how many seconds that took."""
    begun = time.monotonic()
    while not holds():
        time.sleep(0.1)
    return time.monotonic() - begun


def solve(problems: Path, stage: Path, open_server: Callable, **jobs: object) -> None:
    """Run the solving stage in jobs."""
    stage.mkdir(parents=True, exist_ok=True)
    spec = JobSpec(**{**JOBS, **jobs})
    generate(problems, stage, "", SEEDS, CONCURRENCY, open_server=open_server, jobs=spec)


def finish(*drivers) -> None:
    """Wait for drivers; raise what one raised."""
    for driver in drivers:
        driver.join()
        if driver.error is not None:
            raise driver.error


def check(problems: Path, stage: Path) -> None:
    """Complete, with the bytes of a run in this process."""
    with StandIn() as calm:
        generate(problems, stage.with_name("calm"), calm.base_url, SEEDS)
    assert rows_of(stage) == rows_of(stage.with_name("calm")), "the rows differ"


def slow_server(folder: Path, count: int, latency_s: float, with_shares: bool = True) -> None:
    """Four servers, one of them ten times slower: shares beside blocks, against the best that is possible.

    The ideal: no server has nothing to do before the end; each at its speed, as its model measured it.
    """
    latencies = [10 * latency_s, latency_s, latency_s, latency_s]
    total = count * SEEDS
    problems = write_problems(folder / "problems.jsonl", count)
    rows = problems.read_bytes().splitlines(keepends=True)
    with ExitStack() as stack:
        shared, own = (
            [stack.enter_context(StandIn(latency=str(one))) for one in latencies] for _ in ("blocks", "shares")
        )
        stage = folder / "blocks" / "math" / "s"
        solve(problems, stage, OpenOwnServer([one.base_url for one in shared]), servers=4)
        check(problems, stage)
        starts, asked = stats(shared, "first"), stats(shared, "requests")
        rates = [CONCURRENCY * number / busy_s for number, busy_s in zip(asked, stats(shared, "busy_s"), strict=True)]
        begun, best = min(starts), (total + sum(map(operator.mul, starts, rates))) / sum(rates)
        ideal_s, took_s = best - begun, max(stats(shared, "last")) - begun
        print(
            f"one of four servers ten times slower, {total} requests: ideal {ideal_s:.1f} s, blocks {took_s:.1f} s "
            f"({took_s / ideal_s:.3f} of it; the slow server answered {asked[0]}, {sum(asked) - total} asked again)",
            flush=True,
        )
        quarter, drivers = count // 4, []
        if not with_shares:
            return
        for number, model in enumerate(own):
            part = folder / f"share{number}" / "problems.jsonl"
            part.parent.mkdir()
            part.write_bytes(b"".join(rows[number * quarter : (number + 1) * quarter]))
            stage = folder / f"share{number}" / "math" / "s"
            drivers.append(in_background(solve, part, stage, OpenServer(model.base_url), servers=1))
        finish(*drivers)
        took_s = max(stats(own, "last")) - min(stats(own, "first"))
        print(f"  a share for each server: {took_s:.1f} s ({took_s / ideal_s:.2f} of the ideal)", flush=True)


def come_and_go(folder: Path, count: int) -> None:
    """Four servers, four more midway, then six fewer."""
    problems, stage = write_problems(folder / "problems.jsonl", count), folder / "r" / "math" / "s"
    with ExitStack() as stack:
        models = [stack.enter_context(StandIn(latency="0.5")) for _ in range(8)]
        driver = in_background(solve, problems, stage, OpenOwnServer([one.base_url for one in models]), servers=4)
        until(lambda: all(stats(models[:4], "requests")))
        set_servers(stage, 8)
        used_s = until(lambda: all(stats(models, "requests")))
        removed_at = sum(stats(models, "requests"))
        set_servers(stage, 2)
        gone_s = until(lambda: len(ended(stage)) >= 6)
        finish(driver)
        check(problems, stage)
        again = sum(stats(models, "requests")) - count * SEEDS
        print(
            f"4 servers, 4 more are all used after {used_s:.1f} s; 6 fewer (at request {removed_at}) have ended after "
            f"{gone_s:.1f} s: complete, the same bytes, {again} of {count * SEEDS} asked again",
            flush=True,
        )


def ended(stage: Path) -> list[str]:
    """Return the jobs that have completed."""
    return [job for job, event in JobRecords(stage).states.items() if event["state"] == "COMPLETED"]


def dies_at_once(folder: Path, count: int) -> None:
    """Three servers, of which one dies at its first start."""
    problems, stage = write_problems(folder / "problems.jsonl", count), folder / "r" / "math" / "s"
    with ExitStack() as stack:
        models = [stack.enter_context(StandIn(latency="0.5")) for _ in range(3)]
        open_server = OpenOwnServer([one.base_url for one in models], folder / "died")
        solve(problems, stage, open_server, servers=3, max_restarts=0)
        events = list(files.read_log(stage / "jobs" / "jobs.jsonl"))
        died = next(row["at"] for row in events if row["event"] == "state" and row["state"] == "FAILED")
        again = next(row["at"] for row in events if row["event"] == "submitted" and row["at"] > died)
        check(problems, stage)
        asked = stats(models, "requests")
        assert asked[0], "the second start did nothing"
        print(
            f"a job that dies at once is submitted again {again - died:.2f} s after the poll that saw it (polls: "
            f"every {JOBS['poll_s']:.0f} s), while the others go on; requests: {asked}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1500, help="problems for the slow server")
    parser.add_argument("--latency", type=float, default=0.2, help="seconds of the fast servers")
    parser.add_argument("--only-slow", action="store_true", help="only the slow server, and only with blocks")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        slurm = PrivateSlurm(folder / "slurm").start()
        os.environ["SLURM_CONF"] = str(slurm.conf)
        try:
            if not options.only_slow:
                dies_at_once(folder / "dies", 300)
                come_and_go(folder / "scale", 400)
            slow_server(folder / "slow", options.count, options.latency, not options.only_slow)
        finally:
            slurm.stop()


if __name__ == "__main__":
    main()
