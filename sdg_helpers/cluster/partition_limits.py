"""What a partition allows: Slurm accepts jobs beyond it, which then never start."""

from __future__ import annotations

import math

from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.cluster_names import cluster_option
from sdg_helpers.cluster.jobs import JobSpec


def find_partition_misfit(spec: JobSpec) -> str:
    """Return why jobs would be accepted but never start in any of their partitions; "" when they would in one."""
    misfits = [_misfit(spec, name) for name in (spec.partition.split(",") if spec.partition else [None])]
    return "; ".join(misfits) if all(misfits) else ""


def _misfit(spec: JobSpec, partition: str | None) -> str:
    found = _settings_of(partition, spec.cluster)
    name, allowed, denied = (
        found.get("PartitionName", ""),
        found.get("AllowAccounts", "ALL"),
        found.get("DenyAccounts", ""),
    )
    if found.get("State", "UP") in ("DOWN", "INACTIVE"):
        return f"partition {name} is {found['State']}"
    if spec.time_limit_min > to_minutes(limit := found.get("MaxTime", "")):
        return f"time limit {spec.time_limit_min} min is over that of partition {name}, {limit}"
    if (most := found.get("MaxNodes", "")).isdigit() and spec.nodes > int(most):
        return f"{spec.nodes} nodes are more than the {most} that partition {name} allows a job"
    mine = {spec.account} if spec.account else slurm.accounts(spec.cluster)["account"]
    if mine and (allowed != "ALL" and not mine & {*allowed.split(",")} or mine <= {*denied.split(",")}):
        return f"partition {name} is not open to account {', '.join(sorted(mine))}; it allows {allowed}"
    return ""


def to_minutes(limit: str) -> float:
    """Return the minutes of a time limit as Slurm writes it: "10-00:00:00", "00:05:00"; infinity for UNLIMITED."""
    days, _, clock = limit.rpartition("-")
    parts = clock.split(":")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        return math.inf
    hours, minutes, seconds = map(int, parts)
    return int(days or 0) * 1440 + hours * 60 + minutes + seconds / 60


def _settings_of(name: str | None, cluster: str | None) -> dict[str, str]:
    """Return the settings of a partition, by default the default one; {} without one."""
    lines = slurm.run_command("scontrol", *cluster_option(cluster), "--oneliner", "show", "partition").splitlines()
    for row in (dict(field.split("=", 1) for field in line.split() if "=" in field) for line in lines):
        if row.get("PartitionName") == name if name else row.get("Default") == "YES":
            return row
    return {}
