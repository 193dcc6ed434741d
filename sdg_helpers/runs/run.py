"""A run: its folder, its tracks and stages, its profile and its model servers."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.formatting import format_duration
from sdg_helpers.notebooks.cells import CellBar, explain_interrupts
from sdg_helpers.paths import outputs_root
from sdg_helpers.runs.tracks import STAGES, StageInfo
from sdg_helpers.stages import Stage

if TYPE_CHECKING:
    from sdg_helpers.cluster.jobs import JobSpec
    from sdg_helpers.profiles import Profile
    from sdg_helpers.serving.server import Server

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def run_folder(name: str) -> Path:
    """Return outputs/NAME. Raises SdgError for a name that a run cannot have."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SdgError(
            f"run name {name!r}: use letters, digits, '.', '_' and '-', at most 64, starting with a letter or digit."
        )
    return outputs_root() / name


def existing_run(name: str) -> Path:
    """Return the folder of a run that has begun. Raises SdgError, with the closest name, for another one."""
    folder = run_folder(name)
    if not (folder / "run.yaml").exists():
        known = all_runs()
        raise SdgError(
            f"run {name!r}: {folder / 'run.yaml'} does not exist.{did_you_mean(name, known)} "
            f"Runs here: {', '.join(known) or 'none yet; start one with `sdg run`'}."
        )
    return folder


def all_runs() -> list[str]:
    """Return the names of the runs in the outputs folder, sorted."""
    return sorted(path.parent.name for path in outputs_root().glob("*/run.yaml"))


# The stages that write verdicts about solutions, the last ones first.
_JUDGING = ("rejudged", "voted", "checked", "judged", "filtered")


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
        """Return a stage as an object, with its manifest and its state."""
        folder = getattr(self, name)
        return Stage(folder, name, self.stages[name].notebook)

    def verdicts(self) -> Path | None:
        """Return the table of verdicts of the last stage that has judged solutions; None before judging."""
        folders = (self.folder / name for name in _JUDGING if name in self.stages)
        return next((one / "verdicts.parquet" for one in folders if (one / "manifest.json").exists()), None)

    def require(self, *names: str) -> None:
        """Raise SdgError, naming the notebook to run first, unless all these stages are complete."""
        for name in names:
            self.stage(name).require()


@dataclass(frozen=True)
class Run:
    """An open run: its folder, its profile, its tracks and its model servers."""

    name: str
    folder: Path
    profile: Profile

    @property
    def servers(self) -> Path:
        """The folder of the model servers' logs and addresses."""
        return self.folder / "servers"

    def track(self, name: str) -> Track:
        """Return one of the run's tracks ("math")."""
        return Track(self.folder / name, name)

    def server(self, role: str, on_progress: Callable[[int, int], None] | None = None) -> Server | None:
        """Return the model server of a role ("solver", "judge"); start it unless it is already running.

        Roles with equal settings share one server. on_progress(bytes done, total bytes) is called while weights are
        downloaded. In a job of several nodes only the first rank gets a server; the others run their part of it, and
        get None when it ends. Raises SdgError for a role that the profile does not have, and when the server does
        not answer; BudgetSpent, before it is started, when the run's budget is spent.
        """
        from sdg_helpers import serving
        from sdg_helpers.budgets.account import Account
        from sdg_helpers.cluster import ranks

        spec = self.profile.server(role)
        if ranks.current().rank:
            serving.follow(spec, self.servers)
            return None
        account = Account(self.folder, role, spec.gpus, spec.prices)
        bar, begun = CellBar(), time.monotonic()
        if spec.engine != "endpoint":
            bar.show(f"loading the model {spec.served_model}")
        server = serving.open_server(spec, self.servers, on_progress or bar.downloading)
        bar.close(f"model {spec.served_model} ready after {format_duration(time.monotonic() - begun)}")
        server.account = account
        return server

    def jobs(self, role: str) -> JobSpec | None:
        """Return the settings of a role's Slurm jobs ("generate", "judge", …); None when its work runs here.

        Raises SdgError when jobs of this size cannot run the role's servers.
        """
        from sdg_helpers.cluster.server_checks import SERVER_ROLES, find_misfit

        spec = self.profile.jobs.spec(role)
        if spec.where != "slurm":
            return None
        if role in SERVER_ROLES and (misfit := find_misfit(spec, self.profile.server(SERVER_ROLES[role]))):
            raise SdgError(
                f"{self.profile.path}: jobs of {role}: {misfit} Nothing was submitted; `sdg cluster check` shows "
                "everything else that cannot run."
            )
        return spec

    def call(
        self, role: str, stage: Stage, function: Callable[..., dict[str, Any]], *words: Any, **settings: Any
    ) -> dict[str, Any]:
        """Return `function(*words, **settings)`, the manifest of the stage that it writes.

        The call runs in a Slurm job if the profile has `where: slurm` for this role ("cpu", "download"); a stage that
        is finished needs none. Raises SdgError.
        """
        from sdg_helpers.runs.stage_calls import call_stage

        return call_stage(role, self.jobs(role), stage, partial(function, *words, **settings))

    def model(self, role: str) -> str:
        """Return the name of a role's model; starts nothing."""
        return self.profile.server(role).served_model

    def extra_body(self, role: str) -> dict[str, Any]:
        """Return the fields that a role's server adds to every request, such as reasoning_effort.

        They change what is generated, so stages keep them among their parameters.
        """
        return dict(self.profile.server(role).request.extra_body)


def open_run(name: str, profile: str = "demo") -> Run:
    """Open a run, or begin it: every notebook's first call. Writes run.yaml when the run is new.

    Raises SdgError for an invalid name or profile, for a run that was begun with a different profile, and for a
    parameter that was injected into this notebook but that it does not declare (papermill itself only warns).
    """
    from sdg_helpers.profiles import load_profile
    from sdg_helpers.runs import history
    from sdg_helpers.runs.injected import reject_unknown_parameters

    explain_interrupts()
    warnings.filterwarnings("ignore", message="IProgress not found")  # the hub's libraries then show text bars
    reject_unknown_parameters()
    run = Run(name, run_folder(name), load_profile(profile))
    history.begin(run.folder, run.profile)
    return run
