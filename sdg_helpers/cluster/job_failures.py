"""Explain why a job failed or was refused: the cause, the end of its log, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sdg_helpers import files
from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.cluster_names import array_of
from sdg_helpers.cluster.exit_codes import RAISED
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.cluster.slurm_jobs import SlurmJob
from sdg_helpers.errors import SdgError, did_you_mean

_TAIL_LINES = 15
# state -> (what to do, whether a retry may succeed)
_ADVICE = {
    "OUT_OF_MEMORY": ("request more memory (memory_gb), or lower the concurrency", False),
    "CANCELLED": ("it was cancelled; run again to resume", False),
    "TIMEOUT": ("it did not stop before its time limit: see stop_before_limit_s and time_limit_min", True),
    "DEADLINE": ("its deadline passed while it was pending", False),
    "NODE_FAIL": ("its node failed; a retry on another node may succeed", True),
    "BOOT_FAIL": ("its node did not boot; a retry on another node may succeed", True),
    "PREEMPTED": ("a job with a higher priority preempted it", True),
    "GONE": ("Slurm no longer remembers it", True),
}
_SIZE_ERRORS = ("time limit", "node configuration", "requested", "memory")


@dataclass(frozen=True)
class JobFailure:
    """Why a job failed: text for the user, and whether a retry may succeed."""

    text: str
    retry_may_succeed: bool


def explain_failure(job: SlurmJob, records: JobRecords, number: int) -> JobFailure:
    """Explain an ended job from Slurm's state, from what the job itself reported, and from its log."""
    job = slurm.with_end_details(job)
    advice, may_succeed = _ADVICE.get(job.state, ("see its log", True))
    if job.exit_code.partition(":")[0] == str(RAISED):
        advice, may_succeed = "fix what the error names", False
    report = _last_report(records.folder / "attempts", number, job.job_id)
    log = records.submission(job.name).log(number)
    where = f" on {job.nodes}" if job.nodes else ""
    code = f", exit code {job.exit_code}" if job.exit_code not in ("", "0:0") else ""
    reason = f" ({job.reason})" if job.reason else ""
    lines = [
        f"job {job.job_id} ended as {job.state}{reason}{where}{code}: {advice}.",
        *([f"  it reported: {report}"] if report else []),
        f"  the end of its log, {log}:",
        *([f"  | {line}" for line in files.read_tail(log, _TAIL_LINES)] or ["  (no log: it never started)"]),
    ]
    return JobFailure("\n".join(lines), may_succeed)


def _last_report(attempts: Path, number: int, job_id: str) -> str:
    """Return what the job reported last about its end; of reports at the same time, the first rank's."""
    reports = [files.read_json(path) or {} for path in attempts.glob(f"{number:04d}-*-rank*.json")]
    reports = [report for report in reports if array_of(str(report.get("job", ""))) == array_of(job_id)]
    last = max(reports, key=lambda report: (report.get("at", 0), -report.get("rank", 0)), default={})
    return str(last.get("error") or last.get("why") or "")


def explain_refusal(error: slurm.SubmissionRefused, spec: JobSpec) -> SdgError:
    """Return sbatch's refusal as an error that names the profile's keys behind it and the valid choices."""
    hints = refusal_hints(error.message, spec)
    return SdgError(
        "\n  ".join(
            [
                f"Slurm refused the job: {error.message}",
                *hints,
                "Nothing was submitted. Fix jobs: in the profile, then run again.",
            ]
        )
    )


def refusal_hints(message: str, spec: JobSpec) -> list[str]:
    """Return what a message of sbatch is about: the profile's keys, their values, and the valid choices."""
    message, hints = message.lower(), []
    try:
        if "cluster" in message and spec.cluster:
            hints.append(_cluster_hint(spec.cluster))
        if "partition" in message:
            hints.append(_partition_hint(spec))
        if "account" in message or "qos" in message:
            hints.append(_account_hint(spec))
    except SdgError:
        pass  # the choices cannot be listed: Slurm's own text has to do
    if any(text in message for text in _SIZE_ERRORS):
        keys = ("nodes", "gpus_per_node", "cpus_per_task", "memory_gb", "time_limit_min")
        hints.append(f"requested: {', '.join(f'{key}={getattr(spec, key)}' for key in keys)}")
    if "array" in message:
        hints.append(f"servers is {spec.servers}; the cluster's limit on array indices (MaxArraySize) is lower")
    return hints


def _cluster_hint(cluster: str) -> str:
    known = slurm.list_clusters()
    return f"jobs: cluster is {cluster!r}.{did_you_mean(cluster, known)} Clusters here: {', '.join(sorted(known))}"


def _partition_hint(spec: JobSpec) -> str:
    known = slurm.partitions(spec.cluster)
    unknown = [name for name in (spec.partition or "").split(",") if name not in known]
    return (
        f"jobs: partition is {spec.partition!r}.{''.join(did_you_mean(name, known) for name in unknown)} "
        f"Partitions here: {'; '.join(f'{name} ({limits})' for name, limits in known.items())}"
    )


def _account_hint(spec: JobSpec) -> str:
    known = slurm.accounts(spec.cluster)
    accounts, qos = (", ".join(sorted(known[kind])) or "unknown" for kind in ("account", "qos"))
    return f"jobs: account is {spec.account!r}, qos is {spec.qos!r}. Your accounts: {accounts}; your qos: {qos}"
