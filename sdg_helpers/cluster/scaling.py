"""How many servers a stage is to have: the profile's number, until `sdg scale` sets another one."""

from __future__ import annotations

from pathlib import Path

from sdg_helpers import files
from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.cluster.slurm_jobs import SlurmJob
from sdg_helpers.errors import SdgError
from sdg_helpers.leases.lease_folder import leases_of


def _path(stage: Path) -> Path:
    return stage / "jobs" / "servers.json"


def can_scale(stage: Path) -> bool:
    """Return whether a stage is unfinished and its jobs share the work."""
    return not (stage / "manifest.json").exists() and any(one.shared for one in JobRecords(stage).submissions)


def set_servers(stage: Path, servers: int) -> None:
    """Set the number of servers of a stage's jobs; its driver acts on it at its next look. Raises SdgError below 1."""
    if servers < 1:
        raise SdgError(f"servers: must be at least 1, found {servers}. To stop all, cancel the run's jobs.")
    files.write_json(_path(stage), {"servers": servers})


def drain_server(stage: Path, number: int) -> SlurmJob:
    """Ask a stage's server to take no more work and to end when what it has begun is done; return its job.

    Its place stays empty as long as others are at work. Raises SdgError when it has no live job.
    """
    live = {job.index: job for job in slurm.list_jobs(JobRecords(stage).names) if not job.ended}
    if number not in live:
        raise SdgError(
            f"server {number}: it has no live job. Servers with one: {', '.join(map(str, sorted(live))) or 'none'}."
        )
    leases_of(stage).drain(live[number].job_id)
    return live[number]


def servers_wanted(stage: Path, default: int) -> int:
    """Return the number of servers that was set, else the default. Raises SdgError for a damaged record."""
    content = files.read_json(_path(stage))
    if content is None:
        return default
    servers = content.get("servers") if isinstance(content, dict) else None
    if not isinstance(servers, int) or servers < 1:
        raise SdgError(f"{_path(stage)}: expected a number of servers, found {content!r:.80}. Remove this file.")
    return servers
