"""Nodes on which jobs fail at once, again and again: later submissions leave them out."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from functools import cache

from sdg_helpers import files
from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.cluster_names import group_by_cluster, on_cluster, split_cluster
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.cluster.slurm_jobs import SlurmJob

_AT_ONCE_S = 120  # after its start: a job that lives longer has a node that works
_MARGIN_S = 3  # Slurm counts whole seconds, and a start is seen a moment later
_FAILURES = 2  # at once, on one node, before it is left out
_NODE_TROUBLE = {"FAILED", "NODE_FAIL", "BOOT_FAIL"}


class BadNodes:
    """Watches how soon jobs fail on which node, and records which nodes are to be left out."""

    def __init__(self, records: JobRecords):
        self._records = records
        self._failures: Counter[str] = Counter()
        self._healthy: set[str] = set()
        self._starts: dict[str, tuple[float, str]] = {}  # job -> since when it has run, and where
        self._left_out: dict[str, int] = {}  # job that was submitted before -> how many nodes it was changed to avoid

    def look(self, jobs: Iterable[SlurmJob]) -> None:
        """Compare jobs with what is recorded of them; call it before the changes are recorded. Warns of a bad node."""
        jobs = list(jobs)
        for job in jobs:
            before = self._records.states.get(job.job_id, {})
            if before.get("state") == "RUNNING":
                self._starts.setdefault(job.job_id, (before["at"], before.get("nodes", "")))
            started, nodes = self._starts.get(job.job_id, (time.time() - job.seconds, job.nodes))
            if job.state == "RUNNING":
                if time.time() - started > _AT_ONCE_S:
                    self._healthy.update(_names(job, job.nodes or nodes))
                elif (again := time.time() - job.seconds) > started + _MARGIN_S:  # requeued between two looks
                    self._failures.update(self._unfit(job) or _names(job, nodes))
                    self._starts[job.job_id] = (again, job.nodes)
            elif self._has_failed(job, before.get("state", "")) and time.time() - started < _AT_ONCE_S:
                self._failures.update(self._unfit(job) or _names(job, job.nodes or nodes))
            if job.state not in ("RUNNING", "COMPLETING"):
                self._starts.pop(job.job_id, None)
        bad = {node for node, count in self._failures.items() if count >= _FAILURES}
        if new := sorted(bad - self._healthy - set(self._records.excluded)):
            self._exclude(new)
        self._redirect([job for job in jobs if job.state == "PENDING"])

    def _unfit(self, job: SlurmJob) -> set[str]:
        """Return the nodes of a job that reported themselves unfit at its last start: its other nodes may be fine."""
        reports = [
            report
            for path in (self._records.folder / "attempts").glob(f"{job.index:04d}-{job.job_id}-*-rank*.json")
            if (report := files.read_json(path) or {}).get("job") == job.job_id  # not of a cluster x-y, for cluster x
        ]
        last = max((report.get("restart", 0) for report in reports), default=0)
        unfit = [one["unfit_node"] for one in reports if "unfit_node" in one and one.get("restart", 0) == last]
        return {on_cluster(str(node), split_cluster(job.job_id)[1]) for node in unfit}

    def _has_failed(self, job: SlurmJob, before: str) -> bool:
        """Whether a job has ended since the last look, or has been requeued, by a trouble that its node may have."""
        if job.state == before:
            return False
        return job.state in _NODE_TROUBLE or (job.job_id in self._starts and job.state == "PENDING")

    def _exclude(self, nodes: list[str]) -> None:
        """Leave nodes out from now on."""
        self._records.append("excluded", nodes=nodes)
        warnings.warn(
            f"{_FAILURES} jobs failed within {_AT_ONCE_S} s of their start on {', '.join(nodes)}: the next ones leave "
            f"out this node. Their logs: {self._records.folder / 'logs'}",
            stacklevel=3,
        )

    def _redirect(self, pending: Iterable[SlurmJob]) -> None:
        """Keep jobs that wait for another start away from the bad nodes: each is changed once for every node."""
        excluded = group_by_cluster(self._records.excluded)
        for job in pending:
            bad = excluded.get(split_cluster(job.job_id)[1], [])
            if self._left_out.get(job.job_id, 0) < len(bad):
                with suppress(slurm.SlurmUnavailable):
                    slurm.exclude_nodes(job.job_id, bad)
                    self._left_out[job.job_id] = len(bad)


def _names(job: SlurmJob, nodes: str) -> list[str]:
    """Return the names in Slurm's list of a job's nodes, with the job's cluster."""
    return [on_cluster(node, split_cluster(job.job_id)[1]) for node in _expand(nodes)]


@cache
def _expand(nodes: str) -> tuple[str, ...]:
    """Return the names in Slurm's list of nodes, such as n[1-2]."""
    if not nodes:
        return ()
    if not set(nodes) & set("[,"):
        return (nodes,)
    with suppress(slurm.SlurmUnavailable):
        return tuple(slurm.run_command("scontrol", "show", "hostnames", nodes).split())
    return ()
