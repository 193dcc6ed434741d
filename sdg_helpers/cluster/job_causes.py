"""Why a job did not do its work, in words, with the end of its log and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sdg_helpers import files
from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.exit_codes import RAISED
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.cluster.slurm import SlurmJob
from sdg_helpers.errors import SdgError, did_you_mean

_TAIL_LINES = 15
# state -> (what to do, whether another try may go better)
_STATES = {
    "OUT_OF_MEMORY": ("ask for more memory (memory_gb), or lower the concurrency", False),
    "CANCELLED": ("somebody cancelled it: run again to go on", False),
    "TIMEOUT": ("it did not end in time by itself: see stop_before_limit_s and time_limit_min", True),
    "DEADLINE": ("its deadline passed while it waited", False),
    "NODE_FAIL": ("its node failed; another one may do", True),
    "BOOT_FAIL": ("its node did not start; another one may do", True),
    "PREEMPTED": ("a job with a higher priority took its place", True),
    "GONE": ("Slurm has forgotten it", True),
}


@dataclass(frozen=True)
class Cause:
    """Why a chunk's job ended: text for people, and whether another try may go better."""

    text: str
    may_go_better: bool


def cause_of(job: SlurmJob, records: JobRecords, chunk: int) -> Cause:
    """The cause of a job's end, from Slurm, from what the job said of itself, and from its log."""
    job = slurm.with_cause(job)
    todo, better = _STATES.get(job.state, ("see its log", True))
    said = _said(records.folder / "attempts", chunk, job.job_id)
    if job.exit_code.partition(":")[0] == str(RAISED):  # an error that another try does not mend
        todo, better = "mend what the error says", False
    log = records.submission(job.name).log(chunk)
    where = f" on {job.nodes}" if job.nodes else ""
    code = f", exit code {job.exit_code}" if job.exit_code not in ("", "0:0") else ""
    reason = f" ({job.reason})" if job.reason else ""
    lines = [
        f"chunk {chunk}: job {job.job_id} ended as {job.state}{reason}{where}{code}: {todo}.",
        *([f"  it said: {said}"] if said else []),
        f"  the end of its log, {log}:",
        *([f"  | {line}" for line in files.read_tail(log, _TAIL_LINES)] or ["  (no log: it never started)"]),
    ]
    return Cause("\n".join(lines), better)


def _said(attempts: Path, chunk: int, job_id: str) -> str:
    """What the job's first rank said last of itself."""
    found = [files.read_json(path) or {} for path in attempts.glob(f"{chunk:04d}-*-rank*.json")]
    found = [one for one in found if str(one.get("job", "")).partition("_")[0] == job_id.partition("_")[0]]
    last = max(found, key=lambda one: (one.get("at", 0), -one.get("rank", 0)), default={})
    return str(last.get("error") or last.get("why") or "")


def refused(error: slurm.SubmissionRefused, spec: JobSpec) -> SdgError:
    """What sbatch would not take, with the key of the profile behind it and what there is to choose from."""
    said, hints = error.said.lower(), []
    try:
        if "partition" in said:
            known = slurm.partitions()
            hints.append(
                f"jobs: partition is {spec.partition!r}.{did_you_mean(spec.partition or '', known)} "
                f"Partitions here: {'; '.join(f'{name} ({what})' for name, what in known.items())}"
            )
        if "account" in said or "qos" in said:
            known = slurm.accounts()
            hints.append(
                f"jobs: account is {spec.account!r}, qos is {spec.qos!r}; yours: "
                f"{', '.join(sorted(known['account'])) or 'unknown'}; "
                f"{', '.join(sorted(known['qos'])) or 'unknown'}"
            )
    except SdgError:
        pass  # Slurm's own words will have to do
    if "time limit" in said or "node configuration" in said or "requested" in said or "memory" in said:
        hints.append(
            f"asked for were nodes={spec.nodes}, gpus_per_node={spec.gpus_per_node}, cpus_per_task="
            f"{spec.cpus_per_task}, memory_gb={spec.memory_gb}, time_limit_min={spec.time_limit_min}"
        )
    if "array" in said:
        hints.append(f"num_chunks is {spec.num_chunks}: the cluster's limit on array indices (MaxArraySize) is lower")
    return SdgError(
        "\n  ".join(
            [
                f"Slurm refused the job: {error.said}",
                *hints,
                "Nothing was submitted. Mend jobs: in the profile, then run again.",
            ]
        )
    )
