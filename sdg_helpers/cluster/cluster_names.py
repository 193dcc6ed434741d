"""Which of a site's clusters a job belongs to: the ids and names of a named cluster's jobs end in @CLUSTER.

The same number is another job's id on another cluster. Ids and names without that end, as all those of earlier versions
are, belong to the cluster that Slurm's commands ask by default.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

CLUSTER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
JOB_CLUSTER = "SDG_JOB_CLUSTER"  # environment variable of a job: the cluster that it was sent to


def on_cluster(name: str, cluster: str | None) -> str:
    """Return a job's id or name with its cluster: 123_4@dusk. None or "" is the default cluster."""
    return f"{name}@{cluster}" if cluster else name


def split_cluster(name: str) -> tuple[str, str]:
    """Return a job's id or name as Slurm knows it, and its cluster."""
    plain, _, cluster = name.partition("@")
    return plain, cluster


def group_by_cluster(names: Iterable[str]) -> dict[str, list[str]]:
    """Return ids or names as Slurm knows them, by cluster."""
    groups: dict[str, list[str]] = {}
    for plain, cluster in map(split_cluster, names):
        groups.setdefault(cluster, []).append(plain)
    return groups


def cluster_option(cluster: str | None) -> list[str]:
    """Return the option that sends one of Slurm's commands to a cluster."""
    return [f"--clusters={cluster}"] if cluster else []


def array_of(job_id: str) -> str:
    """Return the id of the array that a task belongs to: 123@dusk of 123_4@dusk."""
    plain, cluster = split_cluster(job_id)
    return on_cluster(plain.partition("_")[0], cluster)


def task_of(array_id: str, number: int) -> str:
    """Return the id of an array's task: 123_4@dusk of 123@dusk."""
    plain, cluster = split_cluster(array_id)
    return on_cluster(f"{plain}_{number}", cluster)
