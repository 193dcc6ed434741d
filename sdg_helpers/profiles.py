"""A profile: a place to run, as a YAML file with servers and parameters (notebooks/profiles/NAME.yaml)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from sdg_helpers import paths
from sdg_helpers.cluster.jobs import Jobs
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.serving.server_specs import ServerSpec

_SECRET_NAMES = {"secret", "password", "passwd", "passphrase", "credential", "credentials", "authorization"}
_SECRET_KEYS = {"api", "access", "secret", "private"}
_SECRET_VALUE = re.compile(
    r"\b(sk-|hf_|nvapi-|ghp_|github_pat_|glpat-|AKIA)[A-Za-z0-9_-]{12,}|://[^/@\s]*:[^/@\s]+@|"
    r"\bBearer\s+\S{12,}"
)


class Servers(BaseModel):
    """Model servers by what they do. Without a judge of its own, the solver judges."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    solver: ServerSpec | None = None
    judge: ServerSpec | None = None


class Profile(BaseModel):
    """What `notebooks/profiles/NAME.yaml` holds. parameters: "all" or a notebook ("math/03_generate_solutions") ->
    parameter -> value, in place of the default that stands in the notebook."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    description: str = ""
    servers: Servers = Servers()
    jobs: Jobs = Jobs()
    parameters: dict[str, dict[str, Any] | None] = {}
    _path: Path = PrivateAttr(default=Path())

    @property
    def path(self) -> Path:
        """The file that it was read from."""
        return self._path

    @property
    def key(self) -> str:
        """The name that a run remembers: "demo" for a shipped profile, else the path of the file."""
        return self._path.stem if self._path.parent == profiles_folder() else str(self._path)

    def server(self, role: str) -> ServerSpec:
        """The settings of a role's server; without a judge of its own, the solver judges.

        Raises SdgError for a role that the profile does not have.
        """
        if role not in Servers.model_fields:
            raise SdgError(
                f"server {role!r}: expected one of {', '.join(Servers.model_fields)}."
                f"{did_you_mean(role, Servers.model_fields)}"
            )
        spec = getattr(self.servers, role) or self.servers.solver
        if spec is None:
            raise SdgError(
                f"{self.path}: expected a server for the {role} (servers: {role}: …), found none. "
                "Add it to the profile."
            )
        return spec

    @property
    def specs(self) -> list[ServerSpec]:
        """The settings of all servers that it names."""
        return [spec for role in Servers.model_fields if (spec := getattr(self.servers, role))]


def profiles_folder() -> Path:
    """Where the shipped profiles are."""
    return paths.project_root() / "notebooks" / "profiles"


def load_profile(name: str | Path) -> Profile:
    """Read a profile by name ("demo") or by path to a YAML file.

    Raises SdgError for a file that is not there, a key that nobody reads, a value of a wrong type, and a secret: keys
    come from the environment. (Parameters are checked against the notebooks by `notebooks.values.values_for`.)
    """
    path = _find(str(name))
    content = _read(path)
    refuse_secrets(content, path)
    try:
        profile = Profile.model_validate(content)
    except ValidationError as error:
        raise SdgError(_explain(error, path)) from None
    profile._path = path
    return profile


def refuse_secrets(value: Any, where: Path | str, key: str = "") -> None:
    """Raise SdgError, without showing the value, when a key or a text looks like a secret; looks into mappings."""
    if isinstance(value, dict):
        for name, inner in value.items():
            refuse_secrets(inner, where, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            refuse_secrets(inner, where, key)
    elif isinstance(value, str) and value and (_names_secret(key) or _SECRET_VALUE.search(value)):
        raise SdgError(
            f"{where}: {key}: this looks like a secret (not shown here), and a profile is copied into every "
            "run's folder. Put the key into an environment variable and name that variable: "
            "`api_key_env: MY_KEY`."
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
        here = Path(name).expanduser()
        path = (here if here.is_file() else paths.resolve_path(name)).resolve()
    else:
        path = profiles_folder() / f"{name}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in profiles_folder().glob("*.yaml"))
        raise SdgError(
            f"profile {name!r}: expected the file {path}, found none.{did_you_mean(name, known)} "
            f"Profiles here: {', '.join(known)}; a path to a .yaml file will do too."
        )
    return path


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping: YAML would take the last one and say nothing. Looks before
    merge keys (`<<: *common`) are filled in: what a mapping has itself stands in the place of what it merges."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node, seen = super().compose_mapping_node(anchor), set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    "braces or brackets in the place of a key; write quotes around a text that has them",
                    key.start_mark,
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.add(key.value)
        return node


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SdgError(f"{path}: expected YAML, found: {error}. Mend the file.") from None
    if not isinstance(content, dict):
        found = "an empty file" if content is None else type(content).__name__
        raise SdgError(
            f"{path}: expected a mapping with the keys {', '.join(Profile.model_fields)}, found {found}. "
            f"See {profiles_folder() / 'demo.yaml'} for an example."
        )
    return content


def _explain(error: ValidationError, path: Path) -> str:
    """One message for all that pydantic found: key, value, what is allowed."""
    lines = []
    for found in error.errors():
        *outer, last = found["loc"]
        key = ".".join(map(str, found["loc"]))
        if found["type"] == "extra_forbidden":
            allowed = _allowed(outer)
            lines.append(f"unknown key {key}.{did_you_mean(str(last), allowed)} Allowed: {', '.join(allowed)}.")
        elif found["type"] == "value_error":
            lines.append(f"{key}: {found['msg'].removeprefix('Value error, ')}.")
        elif found["type"] in ("model_type", "dict_type"):
            lines.append(f"expected keys under {key}, found {found['input']!r}.")
        else:
            lines.append(f"{key}: {found['msg']}, found {found['input']!r}.")
    return f"{path}: " + "\n  ".join(lines)


def _allowed(loc: list[str | int]) -> list[str]:
    """The keys that the model at this place has."""
    model: Any = Profile
    for part in loc:
        annotation = model.model_fields[part].annotation
        model = next(one for one in (annotation, *get_args(annotation)) if hasattr(one, "model_fields"))
    return list(model.model_fields)
