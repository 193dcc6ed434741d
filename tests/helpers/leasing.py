"""Servers that take blocks from a shared folder, as processes of their own, with every fault that can be injected."""

import errno
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from functools import partial
from pathlib import Path

from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.cluster.servers import SharedBlocks
from sdg_helpers.completions.meter import Meter
from sdg_helpers.completions.types import Completion, Limits, Sampling
from sdg_helpers.leases import lease_folder
from sdg_helpers.leases.feed import Feed
from sdg_helpers.leases.lease_folder import LeaseFolder
from sdg_helpers.problems.problem_file import ProblemIndex
from sdg_helpers.prompts import Prompt
from sdg_helpers.solutions import in_jobs, seed_files
from sdg_helpers.solutions.finishing import latest_failures
from sdg_helpers.solutions.solving import GenerationSettings
from tests.helpers.solving import write_problems

PROBLEMS, SEEDS, IN_FLIGHT = 40, 2, 4
_FORK = multiprocessing.get_context("fork")


def code_of(process):
    """Wait for a process; return its exit code."""
    process.join()
    return process.exitcode


class Model:
    """Answers requests in a random order, a few at a time, each after answer_s; every request goes to a log."""

    batch = None

    def __init__(self, folder, answer_s=0.0):
        self.log, self.answer_s = folder / f"asked-{os.getpid()}", answer_s

    def complete(self, requests, *, on_completion, on_progress, on_tick, **_):
        in_flight, requests, over, meter = [], iter(requests), False, Meter()
        with open(self.log, "a", buffering=1) as log:
            while in_flight or not over:
                while not over and len(in_flight) < IN_FLIGHT:
                    try:
                        request = next(requests)
                    except StopIteration:
                        over = True
                        break
                    if request is None:
                        break
                    log.write(f"{request.key[0]} {request.key[1]}\n")
                    in_flight.append(request)
                time.sleep(self.answer_s or 0.001)
                if in_flight:
                    request = random.choice(in_flight)
                    text = f"<think>{request.seed}</think>{request.key[0]}"
                    meter.completed(1, 2, 0.1)
                    on_completion(request, Completion(text, "inline", "stop", 1, 2, 0.1))
                    on_tick()
                    in_flight.remove(request)  # its row is written
        return meter.progress(0, 0, IN_FLIGHT, "", {})


class Shared:
    """A stage's folder, with its problems and blocks, and what its driver does."""

    def __init__(self, folder: Path):
        self.folder, self.problems = folder / "math" / "solutions", folder / "problems.jsonl"
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.problems.exists():
            write_problems(self.problems, PROBLEMS)
        self.index = ProblemIndex.build(self.problems)
        self.leases = LeaseFolder(self.folder / "partial" / "leases")
        self.driver = SharedBlocks(self.leases, self._find_missing, lambda: None)

    def _find_missing(self, without_failed):
        done = seed_files.find_done(self.folder, self.index, SEEDS)
        seed_files.write_done(self.folder, done)
        if without_failed:
            for problem_id, seed in latest_failures(self.folder, self.index, done):
                done[self.index.position(problem_id), seed] = True
        return ~done

    def start(self, **options):
        """Start a server; its options are those of `serve`."""
        process = _FORK.Process(target=serve, args=(self.folder.parent.parent,), kwargs=options, daemon=True)
        process.start()
        return process

    def finish(self, **options):
        """Do what a driver does when no server lives: start another one, as long as there is work."""
        while self.driver.unfinished(1, []):
            assert code_of(self.start(**options)) == 0

    def asked(self):
        """How often each (problem, seed) was asked for."""
        return Counter(line for path in self.folder.glob("asked-*") for line in path.read_text().splitlines())

    def rows(self):
        """The merged rows of every seed; each solution must be among them once."""
        summary = seed_files.Summary()
        for seed in range(SEEDS):
            seed_files.merge(self.folder, self.index, seed, summary)
        assert summary.rows == PROBLEMS * SEEDS
        return b"".join((self.folder / f"output-rs{seed}.jsonl").read_bytes() for seed in range(SEEDS))


def serve(folder, answer_s=0.0, die="", job="", beat_s=0.05, expiry_s=3600.0, clock_s=0.0, stale=0, enoent=0.0):
    """Run one server to its end.

    die: "before rename 3" or "after rename 3", counted from the first block; "before sync 1". clock_s: how far this
    machine's clock is ahead. stale: how many further listings repeat the last one. enoent: share of successful renames
    that answer ENOENT.
    """
    random.seed()
    if job:
        os.environ["SLURM_JOB_ID"] = job
    real_time, real_time_ns = time.time, time.time_ns
    time.time = lambda: real_time() + clock_s
    time.time_ns = lambda: real_time_ns() + int(clock_s * 1e9)
    lease_folder.os = FaultyFiles(die, stale, enoent)
    seed_files.PartialWriter.sync = killing(seed_files.PartialWriter.sync, "sync", die)
    in_jobs.Feed = partial(Feed, beat_s=beat_s, expiry_s=expiry_s)
    settings = GenerationSettings("m", Prompt(name="x", user="{problem}"), Sampling(), Limits(concurrency=IN_FLIGHT), 0)
    in_jobs.solve_blocks(
        0,
        1,
        problems=folder / "problems.jsonl",
        folder=folder / "math" / "solutions",
        num_seeds=SEEDS,
        open_server=lambda: Model(folder / "math" / "solutions", answer_s),
        settings=settings,
        jobs=JobSpec(where="slurm"),
    )


def killing(function, name, die):
    """The function, which kills this process before or after the call that `die` names."""
    calls = 0

    def call(*words):
        nonlocal calls
        calls += 1
        if die == f"before {name} {calls}":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*words)
        if die == f"after {name} {calls}":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return call


class FaultyFiles:
    """The module os with a network file system's answers."""

    def __init__(self, die="", stale=0, enoent=0.0):
        self._rename, self._stale, self._enoent = killing(os.rename, "rename", die), stale, enoent
        self._listed = {}

    def __getattr__(self, name):
        return getattr(os, name)

    def rename(self, source, target):
        self._rename(source, target)
        if random.random() < self._enoent:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(source))

    def listdir(self, folder):
        names, left = self._listed.get(folder, ([], 0))
        if not left:
            names, left = os.listdir(folder), self._stale + 1
        self._listed[folder] = names, left - 1
        return list(names)
