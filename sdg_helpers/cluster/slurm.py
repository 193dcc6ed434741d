"""Slurm's command line: submit, list, inspect and cancel jobs."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from sdg_helpers.cluster.cluster_names import cluster_option, group_by_cluster, on_cluster, split_cluster
from sdg_helpers.cluster.slurm_jobs import ENDED, SlurmJob
from sdg_helpers.errors import SdgError

# parts of messages that mean "the controller cannot be reached now", not "no"
_TRANSIENT_ERRORS = (
    "socket timed out",
    "unable to contact slurm",
    "resource temporarily unavailable",
    "connection refused",
    "temporarily unable to accept job",
    "zero bytes were transmitted",
    "connection timed out",
    "unexpected message received",
    "communication connection failure",
    "transport endpoint",
)
_KEPT_VARIABLES = {
    "SLURM_CONF",
    "SLURM_CLUSTERS",
    "SBATCH_ACCOUNT",
    "SBATCH_PARTITION",
    "SBATCH_QOS",
    "SBATCH_RESERVATION",
    "SBATCH_CONSTRAINT",
    "SBATCH_WCKEY",
}
_SLURM_VARIABLE = re.compile(r"(SLURM|SLURMD|SBATCH|SQUEUE|SACCT|SINFO|SCANCEL|SUBMITIT|SRUN)_")
_UNKNOWN_OR_DOWN = "can't be reached now, or it is an invalid entry"  # of a cluster: Slurm does not tell which
_NO_SUCH_JOB = re.compile(r"invalid job id|job \S+ not found", re.IGNORECASE)  # the second: a task of an array
_SQUEUE_FORMAT = "%i|%A|%K|%j|%T|%N|%M|%r"
_COMMAND_TIMEOUT_S = 60
_CANCEL_BATCH = 200  # job ids per scancel: a command line has a maximum length


# parts of messages that mean "not so many jobs at a time": limits of an account, a quality of service, the cluster
_TOO_MANY_JOBS = ("maxsubmitjob", "job submit limit", "maxjobcount", "slurm_submit_job limit")


class SubmissionRefused(SdgError):
    """sbatch refused the job; `message` is Slurm's own text, too_many_jobs: fewer might be accepted."""

    def __init__(self, message: str):
        super().__init__(f"Slurm refused the job: {message}")
        self.message = message
        self.too_many_jobs = any(text in message.lower() for text in _TOO_MANY_JOBS)


class SlurmUnavailable(SdgError):
    """Slurm does not answer, so nothing is known about any job."""


def submit(script: Path, lock_fd: int, ignore: Iterable[str] = (), cluster: str | None = None) -> str | None:
    """Run sbatch on a script and return the job's id, or None when sbatch printed none.

    sbatch writes to `sbatch.out` and `sbatch.err` beside the script, so the id is on disk even if this process is
    killed in the meantime. lock_fd: a locked file descriptor that sbatch inherits; the lock is free once sbatch has
    ended. ignore: environment variables (SBATCH_…) to drop because they would override the script. cluster: where the
    job is to run; None: Slurm's default.
    Raises SubmissionRefused, or SlurmUnavailable when the controller cannot be reached: the job may still have been
    accepted.
    """
    ignored = set(ignore)
    env = {name: value for name, value in clean_environment().items() if name not in ignored}
    with open(script.with_name("sbatch.out"), "wb") as out, open(script.with_name("sbatch.err"), "wb") as err:
        try:
            sbatch = subprocess.Popen(
                ["sbatch", "--parsable", *cluster_option(cluster), str(script)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=env,
                pass_fds=[lock_fd],
                start_new_session=True,
            )
        except FileNotFoundError:
            raise _command_not_found("sbatch") from None
        sbatch.wait()
    job_id = read_job_id(script.parent, cluster)
    if job_id is None and sbatch.returncode:
        message = read_sbatch_error(script.parent)
        transient = any(text in message.lower() for text in _TRANSIENT_ERRORS) or (
            _UNKNOWN_OR_DOWN in message and cluster in list_clusters()
        )
        raise SlurmUnavailable(message) if transient else SubmissionRefused(message)
    return job_id


def read_job_id(folder: Path, cluster: str | None) -> str | None:
    """Return the job id that sbatch wrote into the folder of a submission to this cluster, or None."""
    out = folder / "sbatch.out"
    found = re.match(r"(\d+)(;\S+)?\n", out.read_text(errors="replace")) if out.exists() else None
    return on_cluster(found[1], cluster) if found else None


def read_sbatch_error(folder: Path) -> str:
    """Return sbatch's error message from a submission's folder, or ""."""
    err = folder / "sbatch.err"
    text = err.read_text(errors="replace") if err.exists() else ""
    return "; ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in text.splitlines() if line)


def list_jobs(names: Sequence[str]) -> list[SlurmJob]:
    """Return the jobs with these names that the controller remembers: all live ones, and those that ended recently.

    Raises SlurmUnavailable.
    """
    return [job for cluster, here in group_by_cluster(names).items() for job in _list_jobs(here, cluster)]


def _list_jobs(names: Sequence[str], cluster: str) -> list[SlurmJob]:
    output = run_command(
        "squeue",
        *cluster_option(cluster),
        "--noheader",
        "--array",
        "--states=all",
        f"--user={os.getuid()}",
        f"--name={','.join(names)}",
        f"--format={_SQUEUE_FORMAT}",
    )
    jobs = []
    for line in output.splitlines():
        job_id, _, index, name, state, nodes, elapsed, reason = line.split("|", 7)
        number = int(index) if index.isdigit() else 0
        job_id, name = on_cluster(job_id, cluster), on_cluster(name, cluster)
        jobs.append(SlurmJob(job_id, number, name, state, nodes, elapsed, "" if reason == "None" else reason))
    return jobs


def is_live(job_id: str) -> bool:
    """Ask for one job, past squeue: whether it is pending or running. Raises SlurmUnavailable."""
    plain, cluster = split_cluster(job_id)
    try:
        output = run_command("scontrol", *cluster_option(cluster), "--oneliner", "show", "job", plain)
    except SlurmUnavailable as error:
        if _NO_SUCH_JOB.search(str(error)):
            return False
        raise
    found = re.search(r"\bJobState=(\w+)", output)
    return found is not None and found[1] not in ENDED


def release(job_id: str) -> None:
    """Release a held job. Raises SlurmUnavailable when Slurm does not let us, too."""
    run_command(*release_command(job_id))


def release_command(job_id: str) -> list[str]:
    """Return the command that releases a held job."""
    plain, cluster = split_cluster(job_id)
    return ["scontrol", *cluster_option(cluster), "release", plain]


def exclude_nodes(job_id: str, nodes: Sequence[str]) -> None:
    """Keep a pending job off these nodes. Raises SlurmUnavailable."""
    plain, cluster = split_cluster(job_id)
    run_command("scontrol", *cluster_option(cluster), "update", f"JobId={plain}", f"ExcNodeList={','.join(nodes)}")


def list_ended_jobs(names: Sequence[str], since: float) -> list[SlurmJob]:
    """Return the same from the accounting database, which remembers longer; [] where there is no database.

    since: seconds since the epoch, of the first submission. The query starts a day earlier because clocks differ.
    """
    return [job for cluster, here in group_by_cluster(names).items() for job in _list_ended_jobs(here, cluster, since)]


def _list_ended_jobs(names: Sequence[str], cluster: str, since: float) -> list[SlurmJob]:
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(since - 86400))
    try:
        output = run_command(
            "sacct",
            *cluster_option(cluster),
            "--noheader",
            "--allocations",
            "--parsable2",
            f"--uid={os.getuid()}",
            f"--name={','.join(names)}",
            f"--starttime={start}",
            "--format=JobID,JobName,State,ExitCode,NodeList,Elapsed",
        )
    except SdgError:
        return []
    jobs = []
    for line in output.splitlines():
        job_id, name, full_state, exit_code, nodes, elapsed = line.split("|")
        state, _, reason = full_state.partition(" ")  # "CANCELLED by 1000"
        index = int(job_id.partition("_")[2] or 0)
        job_id, name = on_cluster(job_id, cluster), on_cluster(name, cluster)
        jobs.append(SlurmJob(job_id, index, name, state, nodes, elapsed, reason, exit_code))
    return jobs


def with_end_details(job: SlurmJob) -> SlurmJob:
    """Return the job with what Slurm still knows about its end: exit code, nodes, who cancelled it."""
    fields = _show_job(job.job_id)
    nodes = fields.get("NodeList", "").replace("(null)", "") or job.nodes
    reason = fields.get("Reason", "").replace("None", "") or job.reason
    job = replace(job, exit_code=fields.get("ExitCode", job.exit_code), nodes=nodes, reason=reason)
    if job.state == "CANCELLED" or not job.exit_code:
        for other in list_ended_jobs([job.name], time.time() - 30 * 86400):
            if other.job_id == job.job_id and other.ended:
                return replace(other, nodes=other.nodes or nodes, reason=other.reason or reason)
    return job


def cancel(job_ids: Sequence[str]) -> None:
    """Cancel jobs; those that have ended in the meantime are skipped."""
    for cluster, ids in group_by_cluster(job_ids).items():
        for start in range(0, len(ids), _CANCEL_BATCH):
            try:
                run_command("scancel", *cluster_option(cluster), "--quiet", *ids[start : start + _CANCEL_BATCH])
            except SlurmUnavailable as error:
                if "Invalid job id" not in str(error):
                    raise


def list_clusters() -> list[str]:
    """Return the names of the site's clusters, from the accounting database. Raises SlurmUnavailable."""
    return run_command("sacctmgr", "--noheader", "--parsable2", "show", "clusters", "format=cluster").split()


def partitions(cluster: str | None = None) -> dict[str, str]:
    """Return a cluster's partitions with their limits: name -> "time limit 10-00:00:00, 4 nodes, 64 CPUs, gpu:8"."""
    output = run_command(
        "sinfo", *cluster_option(cluster), "--noheader", "--format=%R|time limit %l, %D nodes, %c CPUs, %m MB, %G"
    )
    return dict(line.split("|", 1) for line in output.splitlines())


def accounts(cluster: str | None = None) -> dict[str, set[str]]:
    """Return the names of this user's accounts ("account") and qualities of service ("qos") on a cluster, or on any.

    Both are empty where there is no accounting database.
    """
    associations = ["show", "associations", f"user={_user_name()}", "format=account,qos"]
    associations += [f"cluster={cluster}"] if cluster else []
    try:
        output = run_command("sacctmgr", "--noheader", "--parsable2", *associations)
    except SdgError:
        return {"account": set(), "qos": set()}
    rows = [line.split("|") for line in output.splitlines()]
    return {"account": {row[0] for row in rows}, "qos": {name for row in rows for name in row[1].split(",") if name}}


def run_command(*command: str) -> str:
    """Return what a Slurm command prints. Raises SlurmUnavailable when it fails: the answer is then unknown."""
    try:
        done = subprocess.run(
            command, env=clean_environment(), capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S
        )
    except FileNotFoundError:
        raise _command_not_found(command[0]) from None
    except subprocess.TimeoutExpired:
        raise SlurmUnavailable(f"{command[0]} took more than {_COMMAND_TIMEOUT_S} s") from None
    if done.returncode == 0:
        return done.stdout
    raise SlurmUnavailable(f"{command[0]}: {(done.stderr or done.stdout).strip()}")


def clean_environment() -> dict[str, str]:
    """Return the environment for Slurm's commands.

    It leaves out what Slurm set for a job that we may be running in, and the user's own formats and filters (such as
    SQUEUE_FORMAT), which would change what a command prints.
    """
    clean = {
        name: value for name, value in os.environ.items() if name in _KEPT_VARIABLES or not _SLURM_VARIABLE.match(name)
    }
    return {**clean, "SLURM_TIME_FORMAT": "standard"}


def _user_name() -> str:
    """Return this user's name, which the accounting database asks for instead of the number."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _show_job(job_id: str) -> dict[str, str]:
    """Return the fields of `scontrol show job`; {} when Slurm has forgotten the job."""
    plain, cluster = split_cluster(job_id)
    try:
        output = run_command("scontrol", *cluster_option(cluster), "--oneliner", "show", "job", plain)
    except SdgError:
        return {}
    return dict(re.findall(r"\b(\w+)=(\S*)", output.splitlines()[0] if output else ""))


def _command_not_found(command: str) -> SdgError:
    return SdgError(
        f"`where: slurm` (jobs: in the profile) needs Slurm, but {command} was not found on this machine. "
        "Run on a login node of the cluster, or use `where: local`."
    )
