"""run.yaml: the profile, overrides, versions and commit of every session of a run; never a secret."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdg_helpers import files, paths, stages
from sdg_helpers.errors import SdgError

if TYPE_CHECKING:
    from sdg_helpers.profiles import Profile


def begin(folder: Path, profile: Profile) -> None:
    """Write run.yaml if the run is new. Raises SdgError for a run that was begun with a different profile."""
    if read_for_profile(folder, profile) is None:
        add_session(folder, profile, {})


def add_session(folder: Path, profile: Profile, overrides: Mapping[str, Any]) -> None:
    """Add a session to run.yaml, unless code, profile and overrides are the same as in the last one.

    Raises SdgError for a run that was begun with a different profile.
    """
    import yaml

    known = read_for_profile(folder, profile)
    session = {
        "profile": profile.model_dump(exclude_unset=True, mode="json"),
        "overrides": dict(overrides),
        "git_commit": git_commit(),
        "versions": stages.versions(),
    }
    before = known["sessions"] if known else []
    if before and {key: value for key, value in before[-1].items() if key != "started_at"} == session:
        return
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    text = yaml.safe_dump(
        {
            "run": folder.name,
            "profile": profile.key,
            "begun_at": known["begun_at"] if known else now,
            **({"forked_from": known["forked_from"]} if known and "forked_from" in known else {}),
            "sessions": [*before, {"started_at": now, **session}],
        },
        sort_keys=False,
        allow_unicode=True,
    )
    with files.atomic_writer(folder / "run.yaml") as out:
        out.write(text.encode())


def read(folder: Path) -> dict[str, Any] | None:
    """Return the content of run.yaml, or None when the run has not begun. Raises SdgError when it is invalid."""
    import yaml

    path = folder / "run.yaml"
    way_out = (
        f"Restore the file, or delete it: the next `sdg run --run {folder.name} --profile P` writes it again. "
        "The data is kept; until then, `sdg status` does not list the run."
    )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SdgError(f"{path}: invalid YAML: {error}. {way_out}") from None
    if not isinstance(content, dict) or not {"profile", "begun_at", "sessions"} <= content.keys():
        raise SdgError(f"{path}: expected the keys profile, begun_at and sessions. {way_out}")
    return content


def read_for_profile(folder: Path, profile: Profile) -> dict[str, Any] | None:
    """Return the same. Raises SdgError when the run was begun with a different profile."""
    known = read(folder)
    if known and known["profile"] != profile.key:
        raise SdgError(
            f"run {folder.name!r} was begun with the profile {known['profile']!r}, not {profile.key!r}. Continue with "
            f"{known['profile']!r} (--profile, or PROFILE in the notebook), or choose another name for the run (--run, "
            "or RUN)."
        )
    return known


def git_commit() -> str | None:
    """Return the clone's commit, with "+changes" when tracked files differ from it; None outside git."""
    try:
        root = paths.project_root()
        commit = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run(
            ["git", "-C", root, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+changes" if changed.stdout.strip() else "")
