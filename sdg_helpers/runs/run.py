"""A run folder: its name, where everything lies in it, and run.yaml, which says how it was made."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.paths import outputs_root
from sdg_helpers.runs.tracks import STAGES, StageInfo
from sdg_helpers.stages import Stage

if TYPE_CHECKING:
    from sdg_helpers.cluster.jobs import JobSpec
    from sdg_helpers.profiles import Profile
    from sdg_helpers.serving.server import Server

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def run_folder(name: str) -> Path:
    """outputs/NAME. Raises SdgError for a name that cannot be a run's."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SdgError(
            f"run name {name!r}: expected letters, digits, '.', '_' or '-', beginning with a letter or "
            "digit, 64 at most. Choose another name."
        )
    return outputs_root() / name


def existing_run(name: str) -> Path:
    """The folder of a run that has been begun; raises SdgError with the closest name when there is none."""
    folder = run_folder(name)
    if not (folder / "run.yaml").exists():
        known = all_runs()
        raise SdgError(
            f"run {name!r}: expected {folder / 'run.yaml'}, found none.{did_you_mean(name, known)} "
            f"Runs here: {', '.join(known) or 'none yet; begin one with `sdg run`'}."
        )
    return folder


def all_runs() -> list[str]:
    """Names of the runs in the outputs folder, sorted."""
    return sorted(path.parent.name for path in outputs_root().glob("*/run.yaml"))


@dataclass(frozen=True)
class Track:
    """One track of a run. Its stages' folders are attributes: `track.problems`, `track.solutions`, `track.judged` …"""

    folder: Path
    name: str

    def __getattr__(self, stage: str) -> Path:
        if stage.startswith("_"):
            raise AttributeError(stage)
        if stage not in self.stages:
            raise AttributeError(
                f"track {self.name!r} has no stage {stage!r}.{did_you_mean(stage, self.stages)} "
                f"Its stages: {', '.join(self.stages)}."
            )
        return self.folder / stage

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.stages]

    @property
    def stages(self) -> dict[str, StageInfo]:
        """The track's stages by name, in order."""
        return {stage.name: stage for stage in STAGES.get(self.name, ())}

    def stage(self, name: str) -> Stage:
        """The stage as an object: its manifest, whether it is complete."""
        folder = getattr(self, name)
        return Stage(folder, name, self.stages[name].notebook)

    def require(self, *names: str) -> None:
        """Raise SdgError, naming the notebook to run first, unless all these stages are complete."""
        for name in names:
            self.stage(name).require()


@dataclass(frozen=True)
class Run:
    """A run that is open: its folder, its profile, its tracks and its model servers."""

    name: str
    folder: Path
    profile: Profile

    @property
    def servers(self) -> Path:
        """Where the run's model servers keep their logs and addresses."""
        return self.folder / "servers"

    def track(self, name: str) -> Track:
        """One of the run's tracks ("math")."""
        return Track(self.folder / name, name)

    def server(self, role: str, on_progress: Callable[[int, int], None] | None = None) -> Server | None:
        """The model server of a role ("solver", "judge"), started unless it answers already.

        Roles with equal settings share one server. on_progress(bytes done, bytes in all): while weights are fetched.
        In a job of several nodes only the first rank gets a server; the others serve their part, and get None when it
        is over. Raises SdgError for a role that the profile does not have, and when the server does not answer.
        """
        from sdg_helpers import serving
        from sdg_helpers.cluster import ranks

        spec = self.profile.server(role)
        if ranks.current().rank:
            return serving.follow(spec, self.servers)
        return serving.open_server(spec, self.servers, on_progress)

    def jobs(self, role: str) -> JobSpec | None:
        """How the profile wants a role's work run ("generate", "judge", …): as jobs of Slurm, or None: here."""
        spec = self.profile.jobs.spec(role)
        return spec if spec.where == "slurm" else None

    def model(self, role: str) -> str:
        """The name of the model that will answer for a role; starts nothing."""
        return self.profile.server(role).served_model


def open_run(name: str, profile: str = "demo") -> Run:
    """Open a run, or begin it: every notebook's first call. Writes run.yaml when the run is new.

    Raises SdgError for a bad name, a bad profile, a run that was begun with another profile, or a parameter that was
    given to this notebook and that it does not have (papermill alone only warns).
    """
    from sdg_helpers.profiles import load_profile
    from sdg_helpers.runs import history
    from sdg_helpers.runs.injected import reject_unknown_parameters

    warnings.filterwarnings("ignore", message="IProgress not found")  # the hub's libraries then draw bars of text
    reject_unknown_parameters()
    run = Run(name, run_folder(name), load_profile(profile))
    history.begin(run.folder, run.profile)
    return run
