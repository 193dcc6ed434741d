"""What Slurm says about a job, and what its states and pending reasons mean for us."""

from __future__ import annotations

from dataclasses import dataclass

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
    "GONE",  # our own: Slurm no longer remembers the job
}
# pending reasons that waiting does not resolve
NEVER_STARTS = {
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
# pending reasons that follow from our own request (a dependency, a cap on parallel jobs) or from a requeue:
# the job is not waiting for the cluster, so pending_deadline_min does not run
SELF_IMPOSED = {"BeginTime", "Dependency", "JobArrayTaskLimit"}


@dataclass(frozen=True)
class SlurmJob:
    """A job, or one task of a job array, as Slurm reports it."""

    job_id: str  # "123_4" for a task of an array, as users type it
    index: int  # of the array task; 0 for a plain job
    name: str
    state: str
    nodes: str = ""
    elapsed: str = ""
    reason: str = ""  # why it is pending, or what Slurm knows about its end
    exit_code: str = ""  # "code:signal"

    @property
    def seconds(self) -> int:
        """How long it has run since its last start: elapsed is "[days-][hours:]minutes:seconds"."""
        days, _, clock = self.elapsed.rpartition("-")
        parts = [int(part) for part in clock.split(":") if part.isdigit()]
        seconds = sum(part * 60**place for place, part in enumerate(reversed(parts)))
        return seconds + 86400 * int(days) if days.isdigit() else seconds

    @property
    def ended(self) -> bool:
        """Whether Slurm is finished with the job. A requeued job is pending again."""
        return self.state in ENDED

    @property
    def held(self) -> bool:
        """Whether it is held: "JobHeldUser", "JobHeldAdmin", or in words, such as "launch failed requeued held"."""
        return "held" in self.reason.lower()

    @property
    def held_after_failure(self) -> bool:
        """Whether Slurm itself holds it, because a node could not launch it."""
        return self.held and "failed" in self.reason.lower()
