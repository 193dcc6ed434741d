"""Slurm's own commands: submit, look, cancel, and put into words why a job ended or waits."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sdg_helpers.errors import SdgError

ENDED = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
    "GONE",
}
# reasons for waiting that time does not cure
NEVER = {
    "AccountNotAllowed",
    "BadConstraints",
    "DependencyNeverSatisfied",
    "PartitionNodeLimit",
    "PartitionTimeLimit",
    "QOSNotAllowed",
    "QOSMaxWallDurationPerJobLimit",
    "QOSMaxNodePerJobLimit",
    "QOSMaxGRESPerJob",
    "AssocMaxWallDurationPerJobLimit",
    "AssocMaxNodePerJobLimit",
    "AssocMaxGRESPerJob",
    "InvalidAccount",
    "InvalidQOS",
}
# reasons for waiting that lie in what we asked for ourselves (one after the other, so many at a time, not before), or
# in a requeue: the cluster does not keep such a job waiting
OURS = {"BeginTime", "Dependency", "JobArrayTaskLimit"}
_PASSING = (
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
_FORMAT = "%i|%A|%K|%j|%T|%N|%M|%r"
_COMMAND_S = 60


@dataclass(frozen=True)
class SlurmJob:
    """One job, or one task of an array, as Slurm sees it. `reason` is why it waits, or what is known of its end."""

    job_id: str  # "123_4" for a task of an array, as people type it
    index: int
    name: str
    state: str
    nodes: str = ""
    elapsed: str = ""
    reason: str = ""
    exit_code: str = ""  # "code:signal"

    @property
    def ended(self) -> bool:
        """Whether Slurm will do nothing more with it. A requeued job is pending again."""
        return self.state in ENDED


class SubmissionRefused(SdgError):
    """sbatch said no: `said` is Slurm's own message."""

    def __init__(self, said: str):
        super().__init__(f"Slurm refused the job: {said}")
        self.said = said


class SlurmUnavailable(SdgError):
    """Slurm does not answer now: nothing is known, and nothing may be concluded."""


def environment() -> dict[str, str]:
    """The environment for Slurm's commands: without what the job we run in says of itself, nor a person's formats and
    filters, which would change what the commands mean."""
    kept = {
        "SLURM_CONF",
        "SLURM_CLUSTERS",
        "SBATCH_ACCOUNT",
        "SBATCH_PARTITION",
        "SBATCH_QOS",
        "SBATCH_RESERVATION",
        "SBATCH_CONSTRAINT",
        "SBATCH_WCKEY",
        "SBATCH_CLUSTERS",
    }
    ours = re.compile(r"(SLURM|SLURMD|SBATCH|SQUEUE|SACCT|SINFO|SCANCEL|SUBMITIT|SRUN)_")
    clean = {name: value for name, value in os.environ.items() if name in kept or not ours.match(name)}
    return {**clean, "SLURM_TIME_FORMAT": "standard"}


def submit(script: Path, hold: int, without: Iterable[str] = ()) -> str | None:
    """sbatch a script; its words go to `sbatch.out` and `sbatch.err` beside it, so that the job's id is on disk even
    when this process is killed meanwhile. Returns the job's id.

    hold: a file descriptor that sbatch keeps open, so that whoever comes after us can wait until sbatch has ended.
    without: names (SBATCH_…) that the script decides; in the environment they would overrule it.
    Raises SubmissionRefused, or SlurmUnavailable when the controller cannot be reached: the job may still have been
    accepted.
    """
    clean = {name: value for name, value in environment().items() if name not in set(without)}
    with open(script.with_name("sbatch.out"), "wb") as out, open(script.with_name("sbatch.err"), "wb") as err:
        try:
            sbatch = subprocess.Popen(
                ["sbatch", "--parsable", str(script)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=clean,
                pass_fds=[hold],
                start_new_session=True,
            )
        except FileNotFoundError:
            raise _no_slurm("sbatch") from None
        sbatch.wait()
    job_id = submitted_id(script.parent)
    if job_id is None and sbatch.returncode:
        said = complaint(script.parent)
        raise SlurmUnavailable(said) if any(one in said.lower() for one in _PASSING) else SubmissionRefused(said)
    return job_id


def submitted_id(folder: Path) -> str | None:
    """The job's id that sbatch left in a submission's folder, if it came so far."""
    out = folder / "sbatch.out"
    found = re.match(r"(\d+)(;\S+)?\n", out.read_text(errors="replace")) if out.exists() else None
    return found[1] if found else None


def complaint(folder: Path) -> str:
    """What sbatch complained of in a submission's folder; empty when it did not."""
    err = folder / "sbatch.err"
    said = err.read_text(errors="replace") if err.exists() else ""
    return "; ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in said.splitlines() if line)


def list_jobs(names: Sequence[str]) -> list[SlurmJob]:
    """The jobs with these names that slurmctld remembers: all live ones, and those that ended lately."""
    if not names:
        return []
    told = _ask(
        "squeue",
        "--noheader",
        "--array",
        "--states=all",
        f"--user={os.getuid()}",
        f"--name={','.join(names)}",
        f"--format={_FORMAT}",
    )
    rows = (line.split("|", 7) for line in told.splitlines())
    return [
        SlurmJob(
            job_id,
            int(index) if index.isdigit() else 0,
            name,
            state,
            nodes,
            elapsed,
            "" if reason == "None" else reason,
        )
        for job_id, _, index, name, state, nodes, elapsed, reason in rows
    ]


def list_ended_jobs(names: Sequence[str], since: float) -> list[SlurmJob]:
    """The same from the accounting database, for jobs that slurmctld has forgotten; empty where there is none.

    since: seconds since the epoch, of the first submission. A day more is asked for: clocks differ.
    """
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(since - 86400))
    try:
        told = _ask(
            "sacct",
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
    found = []
    for job_id, name, state, exit_code, nodes, elapsed in (line.split("|") for line in told.splitlines()):
        word, _, by = state.partition(" ")
        found.append(SlurmJob(job_id, int(job_id.partition("_")[2] or 0), name, word, nodes, elapsed, by, exit_code))
    return found


def with_cause(job: SlurmJob) -> SlurmJob:
    """The job with what Slurm still knows of its end: exit code, who cancelled it."""
    found = _show_job(job.job_id)
    nodes = found.get("NodeList", "").replace("(null)", "") or job.nodes
    reason = found.get("Reason", "").replace("None", "") or job.reason
    job = replace(job, exit_code=found.get("ExitCode", job.exit_code), nodes=nodes, reason=reason)
    if job.state == "CANCELLED" or not job.exit_code:
        for told in list_ended_jobs([job.name], time.time() - 30 * 86400):
            if told.job_id == job.job_id and told.ended:
                return replace(told, nodes=told.nodes or nodes, reason=told.reason or reason)
    return job


def cancel(job_ids: Sequence[str]) -> None:
    """scancel; jobs that have ended meanwhile are no error."""
    for start in range(0, len(job_ids), 200):
        try:
            _ask("scancel", "--quiet", *job_ids[start : start + 200])
        except SlurmUnavailable as error:
            if "Invalid job id" not in str(error):
                raise


def partitions() -> dict[str, str]:
    """The partitions here, with what each allows: name -> "time limit 10-00:00:00, 4 nodes, 64 CPUs, gpu:8"."""
    told = _ask("sinfo", "--noheader", "--format=%R|time limit %l, %D nodes, %c CPUs, %m MB, %G")
    return dict(line.split("|", 1) for line in told.splitlines())


def accounts() -> dict[str, set[str]]:
    """The accounts and qualities of service that this user may name; empty where there is no accounting."""
    try:
        told = _ask(
            "sacctmgr", "--noheader", "--parsable2", "show", "associations", f"user={_user()}", "format=account,qos"
        )
    except SdgError:
        return {"account": set(), "qos": set()}
    rows = [line.split("|") for line in told.splitlines()]
    return {"account": {row[0] for row in rows}, "qos": {one for row in rows for one in row[1].split(",") if one}}


def _user() -> str:
    """Our name: the accounting database does not know numbers."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _show_job(job_id: str) -> dict[str, str]:
    try:
        told = _ask("scontrol", "--oneliner", "show", "job", job_id)
    except SdgError:
        return {}
    return dict(re.findall(r"(\w+)=(\S*)", told.splitlines()[0] if told else ""))


def _ask(*command: str) -> str:
    """What a Slurm command prints. Raises SlurmUnavailable when it fails: then nothing is known."""
    try:
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=_COMMAND_S)
    except FileNotFoundError:
        raise _no_slurm(command[0]) from None
    except subprocess.TimeoutExpired:
        raise SlurmUnavailable(f"{command[0]} took more than {_COMMAND_S} s") from None
    if done.returncode == 0:
        return done.stdout
    raise SlurmUnavailable(f"{command[0]}: {(done.stderr or done.stdout).strip()}")


def _no_slurm(command: str) -> SdgError:
    return SdgError(
        f"`where: slurm` (jobs, in the profile): expected Slurm's {command} on this machine, found none. "
        "Run on a login node of the cluster, or choose `where: local`."
    )
