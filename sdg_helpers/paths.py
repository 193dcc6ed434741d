"""Where things are: the project we work in (a clone or a workspace), the outputs of all runs, paths given by users."""

from __future__ import annotations

import os
from pathlib import Path

from sdg_helpers.errors import SdgError

PACKAGE = Path(__file__).resolve().parent
_WORKSPACE_FILES = (
    "notebooks/*.ipynb",
    "notebooks/[!.]*/*.ipynb",
    "notebooks/profiles/*.yaml",
    "prompts/**/*.yaml",
    "prompts/README.md",
    "outputs/README.md",
)


def is_project(folder: Path) -> bool:
    """Whether a folder is the root of a clone or of a workspace made by `sdg init`."""
    return (folder / "notebooks" / "profiles").is_dir()


def project_root() -> Path:
    """Return the nearest clone or workspace at or above the current folder, else the clone that holds the package.

    Raises SdgError outside of both.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, PACKAGE.parent):
        if is_project(folder):
            return folder
    raise SdgError(
        f"{here} is not inside a clone or a workspace of the cookbook (a folder with notebooks/profiles). Create a "
        "workspace with `sdg init FOLDER`, change into it and run again."
    )


def shipped_root() -> Path:
    """Return the folder with the notebooks/ and prompts/ that belong to this version of the package.

    That is the clone, or the copy inside an installed wheel.
    """
    return PACKAGE.parent if is_project(PACKAGE.parent) else PACKAGE / "data" / "workspace"


def workspace_files() -> dict[str, Path]:
    """Return the files that a workspace gets, by their path in it ("notebooks/00_start_here.ipynb")."""
    root = shipped_root()
    found = sorted(path for pattern in _WORKSPACE_FILES for path in root.glob(pattern))
    return {path.relative_to(root).as_posix(): path for path in found}


def prompts_folder() -> Path:
    """Return prompts/ of the clone or workspace; outside both, the prompts that come with the package."""
    try:
        folder = project_root() / "prompts"
    except SdgError:
        folder = shipped_root() / "prompts"
    return folder if folder.is_dir() else shipped_root() / "prompts"


def outputs_root() -> Path:
    """Return the folder of all runs: $SDG_OUTPUTS, else outputs/ of the clone or workspace."""
    override = os.environ.get("SDG_OUTPUTS")
    return Path(override).expanduser().resolve() if override else project_root() / "outputs"


def resolve_path(path: str | Path) -> Path:
    """Return a path given by a user: relative ones start at the root of the clone or workspace, ~ is expanded."""
    return project_root() / os.path.expanduser(path)
