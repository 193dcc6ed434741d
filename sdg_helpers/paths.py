"""Where we are: the clone, the folder of all runs, and the paths that people give."""

from __future__ import annotations

import os
from pathlib import Path

from sdg_helpers.errors import SdgError

PACKAGE = Path(__file__).resolve().parent  # data/ lies in it; notebooks/, prompts/ and outputs/ lie beside it


def project_root() -> Path:
    """The clone that we work in: the closest folder upwards with notebooks/profiles, else the package's own."""
    here = Path.cwd()
    for folder in (here, *here.parents, PACKAGE.parent):
        if (folder / "notebooks" / "profiles").is_dir():
            return folder
    raise SdgError(
        f"{here}: expected a clone of the cookbook (a folder with notebooks/profiles) here or above, "
        "found none. Change into the clone and run again."
    )


def outputs_root() -> Path:
    """The folder that holds all runs: $SDG_OUTPUTS, else outputs/ of the clone, wherever inside it we are."""
    override = os.environ.get("SDG_OUTPUTS")
    return Path(override).expanduser().resolve() if override else project_root() / "outputs"


def resolve_path(path: str | Path) -> Path:
    """A path given by a person: absolute and ~ paths as they are, others from the root of the clone."""
    return project_root() / os.path.expanduser(path)
