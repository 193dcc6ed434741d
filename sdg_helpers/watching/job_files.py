"""What a stage's folder and Slurm tell about its jobs: the job of each number, its attempts, its SGLang servers."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.cluster.slurm_jobs import SlurmJob
from sdg_helpers.errors import SdgError
from sdg_helpers.leases.lease_folder import leases_of
from sdg_helpers.manifests import run_folder_of

_ATTEMPT = re.compile(r"(\d{4,})-(.+)-(\d+)-rank0")


@dataclass(frozen=True)
class Attempt:
    """One attempt at a job, as its first rank reported it. name: JOB-RESTART, as in 123_4-0."""

    name: str
    slurm_id: str
    began_at: float


@dataclass(frozen=True)
class SglangState:
    """What the SGLang servers of an attempt do.

    state: "" when all copies are up, or when the server is another one; else loading, restarting or failed.
    """

    state: str = ""
    why: str = ""
    restarts: int = 0
    load_s: float | None = None
    loading_for_s: float = 0.0
    up_for_s: float = 1e9  # since the last copy came up, as far as that is known
    load: dict[str, float] = field(default_factory=dict)


class JobFiles:
    """Reads one stage's records once; writes nothing."""

    def __init__(self, stage: Path, listed: Iterable[SlurmJob] | None = None):
        """listed: its jobs as Slurm lists them now; None: as its driver saw them last."""
        self.stage, self._records = stage, JobRecords(stage)
        self._servers = run_folder_of(stage) / "servers"
        self._jobs = {job.index: job for job in sorted(self._recorded(), key=self._age)}
        for job in sorted(listed or (), key=self._age):
            self._jobs[job.index] = job
        self._attempts: dict[int, list[str]] = {}
        for found in filter(None, (_ATTEMPT.fullmatch(path.stem) for path in (stage / "jobs/attempts").glob("*.json"))):
            self._attempts.setdefault(int(found[1]), []).append(f"{found[2]}-{found[3]}")

    def numbers(self) -> list[int]:
        """The numbers of the jobs that were ever submitted."""
        return sorted(self._jobs)

    def job(self, number: int) -> SlurmJob:
        """The job of a number that runs, else the one that is to run, else the last one that has ended."""
        return self._jobs[number]

    def attempts(self, number: int) -> Sequence[str]:
        """The names of all attempts at the work of a number, by all its jobs."""
        return self._attempts.get(number, [])

    def attempt_of(self, job: SlurmJob) -> Attempt | None:
        """The latest attempt at a job; None when none has begun."""
        names = [name for name in self.attempts(job.index) if name.rpartition("-")[0] == job.job_id]
        if not names:
            return None
        name = max(names, key=lambda one: int(one.rpartition("-")[2]))
        report = self._read(self.stage / "jobs" / "attempts" / f"{job.index:04d}-{name}-rank0.json") or {}
        return Attempt(name, str(report.get("slurm_id", "")), float(report.get("began_at", 0)))

    def is_draining(self, job_id: str) -> bool:
        """Whether a job was asked to take no more work."""
        return leases_of(self.stage).is_draining(job_id)

    def sglang(self, attempt: Attempt) -> SglangState:
        """What the SGLang servers of an attempt have reported."""
        path = self._servers / f"sglang-{attempt.slurm_id}-events.jsonl"
        rows = [row for row in files.read_log(path) if row["at"] >= attempt.began_at] if attempt.slurm_id else []
        copies = {copy: [row for row in rows if row["server"] == copy] for copy in {row["server"] for row in rows}}
        if not copies:
            return SglangState()
        states = [_copy_state(events) for events in copies.values()]
        worst = max(states, key=lambda one: (one.state != "", one.loading_for_s))
        loads = self._read(path.with_name(path.name.replace("-events.jsonl", "-load.json"))) or []
        load_s = [one.load_s for one in states if one.load_s is not None]
        down = sum(one.state != "" for one in states)
        why = worst.why or (f"{down} of {len(states)} copies" if down and len(states) > 1 else "")
        all_down = all(one.state for one in states)
        return SglangState(
            worst.state if all_down else "",
            why,
            sum(one.restarts for one in states),
            max(load_s, default=None),
            worst.loading_for_s,
            min(one.up_for_s for one in states),
            _sum_loads(loads) if not worst.state else {},
        )

    def _recorded(self) -> list[SlurmJob]:
        """The jobs as the driver recorded them."""
        return [
            SlurmJob(event["job"], event["chunk"], event["name"], event["state"], event["nodes"], "", event["reason"])
            for event in self._records.states.values()
        ]

    def _age(self, job: SlurmJob) -> tuple[bool, bool, str]:
        """A key that sorts the job that counts last: running ones, then pending ones, then the last one submitted."""
        return job.state == "RUNNING", not job.ended, job.name

    def _read(self, path: Path) -> Any:
        try:
            return files.read_json(path)
        except SdgError:  # damaged by a full disk: `sdg repair` speaks of it
            return None


def _copy_state(events: Sequence[dict[str, Any]]) -> SglangState:
    """What one copy of the model does, from its events, oldest first."""
    started, load_s, ups = events[0]["at"], None, 0
    for row in events:
        if row["event"] == "start":
            started = row["at"]
        elif row["event"] == "up":
            load_s, ups = row["at"] - started, ups + 1
    restarts = sum(row["event"] == "start" for row in events) - 1
    last = events[-1]
    if last["event"] == "up":
        return SglangState("", "", restarts, load_s, up_for_s=time.time() - last["at"])
    if last["event"] == "given up":
        return SglangState("failed", last.get("why", ""), restarts, load_s)
    return SglangState("restarting" if restarts or ups else "loading", "", restarts, load_s, time.time() - started)


def _sum_loads(loads: Sequence[dict[str, float]]) -> dict[str, float]:
    """The load of all copies: running and queued are added, the hit rate is the mean."""
    sums = {name: sum(one[name] for one in loads if name in one) for name in ("running", "queued")}
    rates = [one["cache_hit"] for one in loads if "cache_hit" in one]
    found = {name: value for name, value in sums.items() if any(name in one for one in loads)}
    return {**found, **({"cache_hit": sum(rates) / len(rates)} if rates else {})}
