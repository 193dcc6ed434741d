"""Every bad day of a cluster, several times, at random moments of generation, on a private Slurm with a scripted model.

    python -m bench.bad_days --times 10            # needs root and slurm-wlm; an hour

For each kind: the chain must end complete after at most one more run, with the bytes of an undisturbed run, and what
was finished is not asked for again: the server counts repeats, and only what its victims had in flight may be among
them.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from sdg_helpers import cluster, files
from sdg_helpers.cluster.scaling import set_servers
from tests.helpers.private_slurm import PrivateSlurm
from tests.helpers.solving import rows_of, write_problems
from tests.helpers.standin import StandIn

SERVERS, CONCURRENCY, PROBLEMS, SEEDS = 3, 4, 90, 2
JOBS = {
    "where": "slurm",
    "time_limit_min": 10,
    "servers": SERVERS,
    "poll_s": 0.3,
    "stop_before_limit_s": 60,
    "partition": "low",
}
DRIVER = """\
import sys
from pathlib import Path
from sdg_helpers.completions import Limits, Sampling
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.prompts import load_prompt
from sdg_helpers.solutions import generate_solutions
from sdg_helpers.stages import Stage
from bench.bad_days import CONCURRENCY, JOBS, SEEDS, OpenServer
problems, folder, url, where = sys.argv[1:]
generate_solutions(Path(problems), Stage(folder, "solutions"), open_server=OpenServer(url), model="standin",
                   prompt=load_prompt("math/solve"), num_seeds=SEEDS, sampling=Sampling(0.6), jobs=JobSpec(**JOBS)
                   if where == "slurm" else None, limits=Limits(CONCURRENCY, timeout_s=30, outage_deadline_s=60))
"""


class OpenServer:
    """Opens the scripted server, on whichever node."""

    def __init__(self, url: str, **more: object):
        """more: of the Server."""
        self.url, self.more = url, more

    def __call__(self):
        from sdg_helpers.cluster import ranks
        from sdg_helpers.serving.server import Server

        ranks.idle_unless_first()
        return Server(self.url, "standin", "endpoint", "none", **self.more)


def driver(problems: Path, folder: Path, url: str, where: str = "slurm") -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(problems), str(folder), url, where],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def some_job(stage: Path, rng: random.Random) -> cluster.SlurmJob | None:
    running = [job for job in cluster.live_jobs(stage) if job.state == "RUNNING"]
    return rng.choice(running) if running else None


def scancel(day: Day) -> None:
    if job := some_job(day.stage, day.rng):
        subprocess.run(["scancel", job.job_id], check=True)


def requeue(day: Day) -> None:
    if job := some_job(day.stage, day.rng):
        subprocess.run(["scontrol", "requeue", job.job_id], check=False, capture_output=True)


def preemption(day: Day) -> None:
    subprocess.run(
        ["srun", "--partition=high", "--nodes=4", "--exclusive", "--time=1", "sleep", "1"],
        check=True,
        capture_output=True,
    )


def node_power_cut(day: Day) -> None:
    if job := some_job(day.stage, day.rng):
        day.slurm.cut_power(job.nodes)
        day.off = job.nodes


def kill_server(day: Day) -> None:
    day.server.kill()
    time.sleep(day.rng.uniform(0.2, 2))
    day.server = day.server.again()


def kill_driver(day: Day) -> None:
    day.driver.kill()


def time_limit(day: Day) -> None:
    if job := some_job(day.stage, day.rng):
        subprocess.run(
            ["scontrol", "update", f"JobId={job.job_id}", "EndTime=now+61"], check=False, capture_output=True
        )


def kill_job(day: Day) -> None:
    if job := some_job(day.stage, day.rng):
        reports = (day.stage / "jobs" / "attempts").glob(f"*-{job.job_id}-*-rank0.json")
        for report in reports:
            with suppress(ProcessLookupError):
                os.kill(files.read_json(report)["pid"], signal.SIGKILL)


def scale(day: Day) -> None:
    set_servers(day.stage, SERVERS + 4)
    time.sleep(day.rng.uniform(0.5, 3))
    set_servers(day.stage, 1)


def second_driver(day: Day) -> None:
    other = driver(day.problems, day.stage, day.server.base_url)
    assert other.wait() == 0 or "is already" in other.stderr.read(), "two drivers at once"


# Kinds of bad days, and of how many servers the requests in flight may be lost.
KINDS = {
    scancel: 1,
    requeue: 1,
    preemption: SERVERS,
    node_power_cut: SERVERS,
    kill_server: SERVERS,  # all jobs ask the same model
    kill_job: 1,
    kill_driver: 0,
    time_limit: 0,
    scale: 0,
    second_driver: 0,
}


class Day:
    """One run with one disaster."""

    def __init__(self, slurm: PrivateSlurm, folder: Path, problems: Path, rng: random.Random, latency: str):
        self.slurm, self.stage, self.problems = slurm, folder / "r" / "math" / "s", problems
        self.rng, self.off = rng, ""  # off: the node without power
        self.server = StandIn(latency=latency).start()
        self.stage.mkdir(parents=True)

    def live(self, kind) -> dict[str, float]:
        """Run it to the end; returns what it took."""
        start, self.driver = time.monotonic(), driver(self.problems, self.stage, self.server.base_url)
        wanted = self.rng.randrange(1, PROBLEMS * SEEDS * 2 // 3)
        while self.asked() < wanted and self.driver.poll() is None:
            time.sleep(0.05)
        before = self.asked()
        kind(self)
        runs = 1
        if self.driver.wait() != 0:
            runs, self.driver = 2, driver(self.problems, self.stage, self.server.base_url)
            if self.driver.wait() != 0:
                raise SystemExit(f"{kind.__name__}: two runs were not enough\n{self.driver.stderr.read()[-3000:]}")
        asked = self.asked() + (before if kind is kill_server else 0)
        self.server.stop()
        if self.off:
            self.slurm.start_node(self.off)
        return {"runs": runs, "asked": asked, "seconds": time.monotonic() - start}

    def asked(self) -> int:
        return self.server.stats()["requests"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--kinds", nargs="+", default=[kind.__name__ for kind in KINDS])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder, total = Path(folder), PROBLEMS * SEEDS
        slurm = PrivateSlurm(folder / "slurm").start()
        os.environ["SLURM_CONF"] = str(slurm.conf)
        try:
            problems = write_problems(folder / "problems.jsonl", PROBLEMS)
            with StandIn() as server:
                assert driver(problems, folder / "calm", server.base_url, "local").wait() == 0
            for kind in (kind for kind in KINDS if kind.__name__ in options.kinds):
                worst, more = 0, 0
                for number in range(options.times):
                    latency = "1.5" if kind is time_limit else "0.15"
                    day = Day(slurm, folder / f"{kind.__name__}-{number}", problems, random.Random(number), latency)
                    took = day.live(kind)
                    assert rows_of(day.stage) == rows_of(folder / "calm"), "the rows differ"
                    assert files.read_json(day.stage / "manifest.json")["counts"]["rows_out"] == total
                    assert took["asked"] <= total + KINDS[kind] * CONCURRENCY, took
                    worst, more = max(worst, took["asked"] - total), more + (took["runs"] > 1)
                print(
                    f"{kind.__name__:<16}{options.times} times: complete, the same bytes; a second run {more} times; "
                    f"at most {worst} of {total} requests asked again",
                    flush=True,
                )
        finally:
            slurm.stop()


if __name__ == "__main__":
    main()
