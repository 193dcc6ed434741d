"""The `jobs:` section of a profile: what each role's jobs request from this machine or from Slurm."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sdg_helpers.cluster.cluster_names import CLUSTER_NAME
from sdg_helpers.errors import SdgError, did_you_mean

_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# options of sbatch and srun that no key controls
_FIXED_OPTIONS = {
    "job-name": "names tell the jobs of different runs apart",
    "parsable": "the driver reads the job's id",
    "wait": "the driver waits by itself",
    "kill-on-bad-exit": "a job ends when one of its ranks does",
}


class _Sets:
    """The options of sbatch and srun that a key of JobSpec sets: a profile cannot set them in a second way."""

    def __init__(self, *options: str):
        self.options = options


class JobSpec(BaseModel):
    """The jobs of one role. A key that is not given is left to the cluster's default.

    notebooks/profiles/slurm.yaml explains every key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    where: Literal["local", "slurm"] = "local"
    # what is requested from Slurm
    cluster: Annotated[str | None, _Sets("clusters", "M")] = None
    account: Annotated[str | None, _Sets("account")] = None
    partition: Annotated[str | None, _Sets("partition")] = None
    qos: Annotated[str | None, _Sets("qos")] = None
    reservation: Annotated[str | None, _Sets("reservation")] = None
    time_limit_min: Annotated[int, _Sets("time")] = Field(240, ge=1)
    nodes: Annotated[int, _Sets("nodes", "ntasks", "ntasks-per-node")] = Field(1, ge=1)
    gpus_per_node: Annotated[int, _Sets("gpus-per-node")] = Field(0, ge=0)
    gpu_type: str | None = None
    gpu_memory_gb: float = Field(0, ge=0)
    cpus_per_task: Annotated[int | None, _Sets("cpus-per-task")] = Field(None, ge=1)
    memory_gb: Annotated[float | None, _Sets("mem")] = Field(None, ge=0)
    exclusive: Annotated[bool, _Sets("exclusive")] = False
    sbatch: dict[str, Any] = {}
    srun: list[str] = []
    # what runs on a node
    setup: list[str] = []
    environment: dict[str, Any] = {}
    pass_environment: list[str] = []
    python: str | None = None
    container_image: Annotated[str | None, _Sets("container-image")] = None
    container_runtime: Literal["pyxis", "apptainer"] = "pyxis"
    container_mounts: Annotated[list[str], _Sets("container-mounts")] = []
    log_folder: Annotated[str | None, _Sets("output", "error", "open-mode")] = None
    # how many servers do the work, and how often they are retried
    servers: Annotated[int, _Sets("array")] = Field(1, ge=1)
    dependent_jobs: Annotated[int, _Sets("dependency")] = Field(0, ge=0)
    max_requeues: Annotated[int, _Sets("requeue", "no-requeue")] = Field(100, ge=0)
    max_restarts: int = Field(3, ge=0)
    max_attempts: int = Field(3, ge=1)
    stop_before_limit_s: Annotated[int, _Sets("signal")] = Field(120, ge=1)
    keep_idle_min: float = Field(30, ge=0)
    pending_deadline_min: float = Field(0, ge=0)
    poll_s: float = Field(15, gt=0)
    slurm_deadline_s: float = Field(600, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _read_earlier_keys(cls, content: Any) -> Any:
        """num_chunks split the work, and max_parallel said how many of the chunks' jobs run at the same time."""
        if not isinstance(content, dict) or not {"num_chunks", "max_parallel"} & content.keys():
            return content
        others = {key: value for key, value in content.items() if key not in ("num_chunks", "max_parallel")}
        servers = content.get("max_parallel") or content.get("num_chunks")
        return {**({"servers": servers} if servers else {}), **others}

    @field_validator("cluster")
    @classmethod
    def _check_cluster(cls, value: str | None) -> str | None:
        if value is not None and not CLUSTER_NAME.fullmatch(value):
            raise ValueError(f"expected the name of one cluster (`sacctmgr show clusters`), found {value!r}")
        return value

    @field_validator("sbatch")
    @classmethod
    def _check_sbatch(cls, value: dict[str, Any]) -> dict[str, Any]:
        options = {str(name).replace("_", "-").lstrip("-"): setting for name, setting in value.items()}
        for name, setting in options.items():
            cls._check_option(name)
            if not isinstance(setting, str | int | float | bool):
                raise ValueError(
                    f"{name}: expected a text, a number, or true for an option without a value, found {setting!r}"
                )
        return options

    @field_validator("srun")
    @classmethod
    def _check_srun(cls, value: list[str]) -> list[str]:
        for option in value:
            if not option.startswith("-"):
                raise ValueError(f"write each option as one word, such as --mpi=pmix; found {option!r}")
            cls._check_option(option.lstrip("-").partition("=")[0])
        return value

    @field_validator("environment")
    @classmethod
    def _check_environment(cls, value: dict[str, Any]) -> dict[str, str]:
        _check_variable_names(value)
        for name, setting in value.items():
            if not isinstance(setting, str | int | float) or isinstance(setting, bool):
                raise ValueError(f"{name}: expected a text or a number, found {setting!r}; put quotes around it")
        return {name: str(setting) for name, setting in value.items()}

    @field_validator("pass_environment")
    @classmethod
    def _check_pass_environment(cls, value: list[str]) -> list[str]:
        _check_variable_names(value)
        return value

    @field_validator("container_mounts")
    @classmethod
    def _check_container_mounts(cls, value: list[str]) -> list[str]:
        for mount in value:
            if not mount.startswith("/") or "," in mount:
                raise ValueError(f"expected /path or /path/on/node:/path/inside[:ro], found {mount!r}")
        return value

    @classmethod
    def _check_option(cls, option: str) -> None:
        """Raise ValueError for an option of sbatch or srun that the driver itself sets."""
        if option in _FIXED_OPTIONS:
            raise ValueError(f"{option}: this option cannot be set: {_FIXED_OPTIONS[option]}")
        keys = [key for key, field in cls.model_fields.items() if option in _options_set_by(field.metadata)]
        if keys:
            raise ValueError(f"{option}: set this option with the key {' or '.join(keys)}")


class Jobs(BaseModel):
    """The jobs of every role. `all` applies to every role; a role's own key overrides it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    all: JobSpec = JobSpec()
    download: JobSpec = JobSpec()
    shard: JobSpec = JobSpec()
    generate: JobSpec = JobSpec()
    judge: JobSpec = JobSpec()
    driver: JobSpec = JobSpec()
    cpu: JobSpec = JobSpec()  # relabel, export, and commands of one's own (sdg submit)

    @model_validator(mode="after")
    def _check_combinations(self) -> Jobs:
        for role in type(self).model_fields:
            spec, limit_s = self.spec(role), self.spec(role).time_limit_min * 60
            if spec.where == "local" and spec.nodes > 1:
                raise ValueError(f"{role}.nodes: {spec.nodes} nodes need `where: slurm`; this machine is one node")
            if spec.where == "slurm" and spec.stop_before_limit_s >= limit_s:
                raise ValueError(
                    f"{role}.stop_before_limit_s: {spec.stop_before_limit_s} must be less than the time limit, "
                    f"{limit_s} s (time_limit_min)"
                )
        on_slurm = [role for role in type(self).model_fields if role != "all" and self.spec(role).where == "slurm"]
        without = [role for role in on_slurm if not self.spec(role).cluster]
        if without and len(without) < len(on_slurm):
            raise ValueError(
                f"cluster: {', '.join(without)} has none, but other roles do. Name a cluster for every role that runs "
                "on Slurm, or for none: the default depends on the machine where a command runs"
            )
        return self

    def spec(self, role: str) -> JobSpec:
        """Return the settings of one role. Raises SdgError for an unknown role."""
        roles = list(type(self).model_fields)
        if role not in roles:
            raise SdgError(f"jobs: unknown role {role!r}.{did_you_mean(role, roles)} Roles: {', '.join(roles)}.")
        given = {
            name: getattr(spec, name)
            for spec in (self.all, getattr(self, role))
            for name in sorted(spec.model_fields_set)
        }
        return JobSpec(**given)


def _options_set_by(metadata: Iterable[Any]) -> set[str]:
    return {option for entry in metadata if isinstance(entry, _Sets) for option in entry.options}


def _check_variable_names(names: Iterable[str]) -> None:
    for name in names:
        if not _VARIABLE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the name of an environment variable")
