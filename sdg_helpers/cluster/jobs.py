"""The `jobs:` section of a profile: what a job asks of this machine or of Slurm, role by role."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sdg_helpers.errors import SdgError, did_you_mean

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What run_chunks itself says to sbatch and srun, and the key of ours that it follows from.
_OURS = {
    "job-name": "no key: names tell this run's jobs apart",
    "array": "num_chunks and max_parallel",
    "dependency": "dependent_jobs",
    "output": "log_folder",
    "error": "log_folder",
    "open-mode": "log_folder",
    "requeue": "max_requeues",
    "no-requeue": "max_requeues",
    "signal": "stop_before_limit_s",
    "ntasks": "nodes",
    "ntasks-per-node": "nodes",
    "parsable": "no key",
    "wait": "no key",
    "kill-on-bad-exit": "no key: a job ends when one of its ranks does",
    "account": "account",
    "partition": "partition",
    "qos": "qos",
    "time": "time_limit_min",
    "nodes": "nodes",
    "gpus-per-node": "gpus_per_node",
    "mem": "memory_gb",
    "cpus-per-task": "cpus_per_task",
    "exclusive": "exclusive",
    "container-image": "container_image",
    "container-mounts": "container_mounts",
}


class JobSpec(BaseModel):
    """One role's jobs. What is not given is left to the cluster's own default. notebooks/profiles/slurm.yaml explains
    every key in the place where people set it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    where: Literal["local", "slurm"] = "local"
    # what Slurm is asked for
    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    time_limit_min: int = Field(240, ge=1)
    nodes: int = Field(1, ge=1)
    gpus_per_node: int = Field(0, ge=0)
    gpu_type: str | None = None
    cpus_per_task: int | None = Field(None, ge=1)
    memory_gb: float | None = Field(None, ge=0)
    exclusive: bool = False
    sbatch: dict[str, Any] = {}
    srun: list[str] = []
    # what runs on a node
    setup: list[str] = []
    environment: dict[str, Any] = {}
    pass_environment: list[str] = []
    python: str | None = None
    container_image: str | None = None
    container_mounts: list[str] = []
    log_folder: str | None = None
    # how the work is split and how long it is tried
    num_chunks: int = Field(1, ge=1)
    max_parallel: int = Field(0, ge=0)
    dependent_jobs: int = Field(0, ge=0)
    max_requeues: int = Field(100, ge=0)
    max_restarts: int = Field(3, ge=0)
    max_attempts: int = Field(3, ge=1)
    stop_before_limit_s: int = Field(120, ge=1)
    pending_deadline_min: float = Field(0, ge=0)
    poll_s: float = Field(15, gt=0)
    slurm_deadline_s: float = Field(600, gt=0)

    @field_validator("sbatch")
    @classmethod
    def _plain_parameters(cls, value: dict[str, Any]) -> dict[str, Any]:
        given = {str(name).replace("_", "-").lstrip("-"): one for name, one in value.items()}
        for name, one in given.items():
            _refuse_ours(name)
            if not isinstance(one, str | int | float | bool):
                raise ValueError(
                    f"{name}: expected a text, a number, or true for an option without value, found {one!r}"
                )
        return given

    @field_validator("srun")
    @classmethod
    def _whole_options(cls, value: list[str]) -> list[str]:
        for option in value:
            if not option.startswith("-"):
                raise ValueError(f"expected options as one word each, like --mpi=pmix, found {option!r}")
            _refuse_ours(option.lstrip("-").partition("=")[0])
        return value

    @field_validator("environment")
    @classmethod
    def _variables(cls, value: dict[str, Any]) -> dict[str, str]:
        for name, one in value.items():
            _refuse_bad_name(name)
            if not isinstance(one, str | int | float) or isinstance(one, bool):
                raise ValueError(f"{name}: expected a text or a number, found {one!r}; quote it to be exact")
        return {name: str(one) for name, one in value.items()}

    @field_validator("pass_environment")
    @classmethod
    def _names(cls, value: list[str]) -> list[str]:
        for name in value:
            _refuse_bad_name(name)
        return value

    @field_validator("container_mounts")
    @classmethod
    def _mounts(cls, value: list[str]) -> list[str]:
        for mount in value:
            if not mount.startswith("/") or "," in mount:
                raise ValueError(f"expected /path or /path/on/node:/path/inside[:ro], found {mount!r}")
        return value


class Jobs(BaseModel):
    """Jobs by what they do. `all` holds for every role; a key that a role has itself stands in its place."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    all: JobSpec = JobSpec()
    download: JobSpec = JobSpec()
    shard: JobSpec = JobSpec()
    generate: JobSpec = JobSpec()
    judge: JobSpec = JobSpec()
    cpu: JobSpec = JobSpec()
    driver: JobSpec = JobSpec()

    @model_validator(mode="after")
    def _fits_together(self) -> Jobs:
        for role in type(self).model_fields:
            spec, limit_s = self.spec(role), self.spec(role).time_limit_min * 60
            if spec.where == "local" and spec.nodes > 1:
                raise ValueError(f"{role}.nodes: {spec.nodes} nodes need `where: slurm`; locally there is one")
            if spec.where == "slurm" and spec.stop_before_limit_s >= limit_s:
                raise ValueError(
                    f"{role}.stop_before_limit_s: expected less than the time limit of {limit_s} s "
                    f"(time_limit_min), found {spec.stop_before_limit_s}"
                )
        return self

    def spec(self, role: str) -> JobSpec:
        """The settings of one role. Raises SdgError for a role that there is not."""
        if role not in type(self).model_fields:
            raise SdgError(
                f"jobs of the role {role!r}: expected one of {', '.join(type(self).model_fields)}."
                f"{did_you_mean(role, type(self).model_fields)}"
            )
        given = {
            name: getattr(spec, name)
            for spec in (self.all, getattr(self, role))
            for name in sorted(spec.model_fields_set)
        }
        return JobSpec(**given)


def _refuse_ours(name: str) -> None:
    if name in _OURS:
        raise ValueError(f"{name}: this option is ours to set; the key for it: {_OURS[name]}")


def _refuse_bad_name(name: str) -> None:
    if not _ENVIRONMENT_NAME.fullmatch(name):
        raise ValueError(f"expected the name of an environment variable, found {name!r}")
