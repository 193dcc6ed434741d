"""Nodes on which jobs fail at once, again and again: later submissions leave them out."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from functools import cache

from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.cluster.slurm_jobs import SlurmJob

_AT_ONCE_S = 120  # after its start: a job that lives longer has a node that works
_FAILURES = 2  # at once, on one node, before it is left out
_NODE_TROUBLE = {"FAILED", "NODE_FAIL", "BOOT_FAIL"}


class BadNodes:
    """Watches how soon jobs fail on which node, and records which nodes are to be left out."""

    def __init__(self, records: JobRecords):
        self._records = records
        self._failures: Counter[str] = Counter()
        self._healthy: set[str] = set()

    def look(self, jobs: Iterable[SlurmJob]) -> None:
        """Compare jobs with what is recorded of them; call it before the changes are recorded. Warns of a bad node."""
        jobs = list(jobs)
        for job in jobs:
            before = self._records.states.get(job.job_id, {})
            ran_s = time.time() - before.get("at", 0.0) if before.get("state") == "RUNNING" else job.seconds
            nodes = job.nodes or before.get("nodes", "")
            if job.state == "RUNNING" and ran_s > _AT_ONCE_S:
                self._healthy.update(_names(nodes))
            elif self._has_failed(job, before.get("state", "")) and ran_s < _AT_ONCE_S:
                self._failures.update(_names(nodes))
        bad = {node for node, count in self._failures.items() if count >= _FAILURES}
        if new := sorted(bad - self._healthy - set(self._records.excluded)):
            self._exclude(new, [job for job in jobs if job.state == "PENDING"])

    def _has_failed(self, job: SlurmJob, before: str) -> bool:
        """Whether a job has ended since the last look, or has been requeued, by a trouble that its node may have."""
        if job.state == before:
            return False
        return job.state in _NODE_TROUBLE or (before == "RUNNING" and job.state == "PENDING")

    def _exclude(self, nodes: list[str], pending: Iterable[SlurmJob]) -> None:
        """Leave nodes out from now on, for jobs that wait for another start, too."""
        self._records.append("excluded", nodes=nodes)
        warnings.warn(
            f"{_FAILURES} jobs failed within {_AT_ONCE_S} s of their start on {', '.join(nodes)}: the next ones leave "
            f"out this node. Their logs: {self._records.folder / 'logs'}",
            stacklevel=2,
        )
        for job in pending:
            with suppress(slurm.SlurmUnavailable):  # it may start there once more
                nodes_text = ",".join(self._records.excluded)
                slurm.run_command("scontrol", "update", f"JobId={job.job_id}", f"ExcNodeList={nodes_text}")


@cache
def _names(nodes: str) -> tuple[str, ...]:
    """Return the names in Slurm's list of nodes, such as n[1-2]."""
    if not nodes:
        return ()
    if not set(nodes) & set("[,"):
        return (nodes,)
    with suppress(slurm.SlurmUnavailable):
        return tuple(slurm.run_command("scontrol", "show", "hostnames", nodes).split())
    return ()
