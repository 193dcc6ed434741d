"""A profile: where to run, as a YAML file with servers, jobs and parameters (notebooks/profiles/NAME.yaml)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, PrivateAttr, model_validator

from sdg_helpers import paths
from sdg_helpers.cluster.jobs import Jobs
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.serving.server_specs import ServerSpec
from sdg_helpers.validation import read_yaml, validate

_SECRET_NAMES = {"secret", "password", "passwd", "passphrase", "credential", "credentials", "authorization"}
_SECRET_KEYS = {"api", "access", "secret", "private"}  # before "key": "api_key"
_SECRET_VALUE = re.compile(
    r"\b(sk-|hf_|nvapi-|ghp_|github_pat_|glpat-|AKIA)[A-Za-z0-9_-]{12,}|://[^/@\s]*:[^/@\s]+@|"
    r"\bBearer\s+\S{12,}"
)


class Servers(BaseModel):
    """Model servers by role. Without a judge, the solver judges."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    solver: ServerSpec | None = None
    judge: ServerSpec | None = None


class Profile(BaseModel):
    """The content of a profile. Parameters override the notebooks' defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    description: str = ""
    extends: str | None = None  # another profile, whose keys hold where this one does not set them
    servers: Servers = Servers()
    jobs: Jobs = Jobs()
    # "all" or a notebook ("math/03_generate_solutions") -> parameter -> value
    parameters: dict[str, dict[str, Any] | None] = {}
    notify: list[str] = []  # a command that gets each message about a run as its last word
    metrics_folder: str | None = None  # where `sdg run` writes sdg-RUN.prom, for Prometheus' node exporter
    _path: Path = PrivateAttr(default=Path())

    @model_validator(mode="after")
    def _keep_batches_together(self) -> Profile:
        for role, job in (("solver", "generate"), ("judge", "judge")):
            spec = getattr(self.servers, role) or self.servers.solver
            if getattr(spec, "batch", None) and self.jobs.spec(job).servers > 1:
                raise ValueError(f"jobs: {job}: batches are submitted by one process; set servers to 1")
        return self

    @property
    def path(self) -> Path:
        """The file that the profile was read from."""
        return self._path

    @property
    def key(self) -> str:
        """The name that a run records: "demo" for a shipped profile, else the file's path."""
        return self._path.stem if self._path.parent == profiles_folder() else str(self._path)

    def server(self, role: str) -> ServerSpec:
        """Return the settings of a role's server; without a judge, the solver judges.

        Raises SdgError for an unknown role, and for one that the profile has no server for.
        """
        roles = list(Servers.model_fields)
        if role not in roles:
            raise SdgError(
                f"{self.path}: unknown server role {role!r}.{did_you_mean(role, roles)} Roles: {', '.join(roles)}."
            )
        spec = getattr(self.servers, role) or self.servers.solver
        if spec is None:
            raise SdgError(f"{self.path}: no server for the {role}. Add `servers: {{{role}: …}}` to the profile.")
        return spec

    @property
    def specs(self) -> list[ServerSpec]:
        """The settings of every server that the profile names."""
        return [spec for role in Servers.model_fields if (spec := getattr(self.servers, role))]


def profiles_folder() -> Path:
    """Return the folder of the shipped profiles."""
    return paths.project_root() / "notebooks" / "profiles"


def load_profile(name: str | Path) -> Profile:
    """Read a profile by name ("demo") or by path to a YAML file.

    Raises SdgError for a missing file, an unknown key, a value of the wrong type, and a secret: keys of servers come
    from the environment. `notebooks.values.values_for` checks the parameters against the notebooks.
    """
    path = _find(str(name))
    content = _read(path)
    if base := content.get("extends"):
        content = _merge(_read_base(str(base), path), content)
    profile = validate(Profile, content, path)
    profile._path = path
    return profile


def _read(path: Path) -> dict[str, Any]:
    content = read_yaml(path)
    if not isinstance(content, dict):
        found = "an empty file" if content is None else type(content).__name__
        raise SdgError(
            f"{path}: expected a mapping with the keys {', '.join(Profile.model_fields)}, found {found}. "
            f"See {profiles_folder() / 'demo.yaml'} for an example."
        )
    refuse_secrets(content, path)
    return content


def _read_base(name: str, path: Path) -> dict[str, Any]:
    """Return the content of the profile that another one extends, without its servers."""
    beside = path.parent / name
    base = beside if name.endswith((".yaml", ".yml")) and beside.is_file() else _find(name)
    content = _read(base)
    if content.get("extends"):
        raise SdgError(f"{path}: extends: {base} extends another profile itself. Name that one, and copy what differs.")
    return {key: value for key, value in content.items() if key not in ("servers", "description")}


def _merge(base: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    """Return both mappings in one, at every depth; `content` overrides."""
    merged = dict(base)
    for key, value in content.items():
        inner = merged.get(key)
        merged[key] = _merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def refuse_secrets(value: Any, where: Path | str, key: str = "") -> None:
    """Raise SdgError, without showing the value, when a key or a text looks like a secret; looks inside containers."""
    if isinstance(value, dict):
        for name, inner in value.items():
            refuse_secrets(inner, where, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            refuse_secrets(inner, where, key)
    elif isinstance(value, str) and value and (_names_secret(key) or _SECRET_VALUE.search(value)):
        raise SdgError(
            f"{where}: {key}: this looks like a secret (not shown here), and a profile is copied into the folder of "
            "every run. Put the secret into an environment variable and name that variable: `api_key_env: MY_KEY`."
        )


def _names_secret(key: str) -> bool:
    words = re.split(r"[^a-z0-9]+", key.rpartition(".")[2].lower())
    return (
        bool(_SECRET_NAMES & set(words[-1:]))
        or words[-1] in ("token", "apikey")
        or (words[-1] == "key" and bool(_SECRET_KEYS & set(words[:-1])))
    )


def _find(name: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        local = Path(name).expanduser()
        path = (local if local.is_file() else paths.resolve_path(name)).resolve()
    else:
        path = profiles_folder() / f"{name}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in profiles_folder().glob("*.yaml"))
        raise SdgError(
            f"profile {name!r}: {path} does not exist.{did_you_mean(name, known)} Profiles here: {', '.join(known)}. "
            "Give one of these names, or the path of a .yaml file."
        )
    return path
