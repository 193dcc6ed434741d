"""A run folder: its name, where everything lies in it, and run.yaml, which says how it was made."""
from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import PACKAGE, stages
from ..errors import SdgError, did_you_mean

if TYPE_CHECKING:
    from ..cluster.jobs import JobSpec
    from ..profiles import Profile
    from ..serving import Server

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class StageInfo:
    """A stage's folder name, the notebook that makes it, and the stages of the track that it is made from."""

    name: str
    notebook: str
    needs: tuple[str, ...] = ()


# The one place that knows which stages there are; a track's stages are in the order in which its notebooks run.
STAGES: dict[str, tuple[StageInfo, ...]] = {
    "math": (
        StageInfo("problems", "math/01_download_problems"),
        StageInfo("checkpoint", "math/02_shard_checkpoint"),  # other shards of the same model: nothing to redo after
        StageInfo("solutions", "math/03_generate_solutions", ("problems",)),
        StageInfo("judged", "math/04_judge_solutions", ("solutions",)),
        StageInfo("relabeled", "math/05_relabel_with_majority", ("judged",)),
        StageInfo("rejudged", "math/06_rejudge_solutions", ("relabeled",)),
        StageInfo("sft", "math/07_export_sft", ("rejudged",)),
        StageInfo("genselect_comparisons", "math/08_build_genselect", ("rejudged",)),
        StageInfo("genselect_solutions", "math/08_build_genselect", ("genselect_comparisons",)),
        StageInfo("genselect_picks", "math/08_build_genselect", ("genselect_solutions",)),
        StageInfo("genselect_sft", "math/08_build_genselect", ("genselect_picks",)),
    ),
    "science": (
        StageInfo("topics", "science/01_write_questions"),
        StageInfo("expanded", "science/01_write_questions", ("topics",)),
        StageInfo("assignments", "science/01_write_questions", ("topics", "expanded")),
        StageInfo("written", "science/01_write_questions", ("assignments",)),
        StageInfo("questions", "science/01_write_questions", ("written",)),
        StageInfo("variations", "science/02_augment_questions", ("questions",)),
        StageInfo("inspired", "science/02_augment_questions", ("variations",)),
        StageInfo("problems", "science/02_augment_questions", ("questions", "inspired")),
        StageInfo("candidates", "science/03_decontaminate", ("problems",)),
        StageInfo("compared", "science/03_decontaminate", ("candidates",)),
        StageInfo("clean", "science/03_decontaminate", ("candidates", "compared")),
        StageInfo("solutions", "science/04_solve_questions", ("clean",)),
        StageInfo("voted", "science/05_vote_and_export", ("solutions",)),
        StageInfo("sft", "science/05_vote_and_export", ("voted",)),
        StageInfo("published", "science/05_vote_and_export", ("sft",)),
    ),
    "code": (
        StageInfo("problems", "code/01_prepare_questions"),
        StageInfo("solutions", "code/02_generate_solutions", ("problems",)),
        StageInfo("filtered", "code/03_filter_solutions", ("solutions",)),
        StageInfo("checked", "code/04_check_by_running", ("filtered",)),
        StageInfo("sft", "code/05_export_sft", ("checked",)),
    ),
}


def project_root() -> Path:
    """The clone that we work in: the closest folder upwards with notebooks/profiles, else the package's own."""
    here = Path.cwd()
    for folder in (here, *here.parents, PACKAGE.parent):
        if (folder / "notebooks" / "profiles").is_dir():
            return folder
    raise SdgError(f"{here}: expected a clone of the cookbook (a folder with notebooks/profiles) here or above, "
                   "found none. Change into the clone and run again.")


def outputs_root() -> Path:
    """The folder that holds all runs: $SDG_OUTPUTS, else outputs/ of the clone, wherever inside it we are."""
    override = os.environ.get("SDG_OUTPUTS")
    return Path(override).expanduser().resolve() if override else project_root() / "outputs"


def resolve_path(path: str | Path) -> Path:
    """A path given by a person: absolute and ~ paths as they are, others from the root of the clone."""
    return project_root() / Path(path).expanduser()


def run_folder(name: str) -> Path:
    """outputs/NAME. Raises SdgError for a name that cannot be a run's."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SdgError(f"run name {name!r}: expected letters, digits, '.', '_' or '-', beginning with a letter or "
                       "digit, 64 at most. Choose another name.")
    return outputs_root() / name


def existing_run(name: str) -> Path:
    """The folder of a run that has been begun; raises SdgError with the closest name when there is none."""
    folder = run_folder(name)
    if not (folder / "run.yaml").exists():
        known = all_runs()
        raise SdgError(f"run {name!r}: expected {folder / 'run.yaml'}, found none.{did_you_mean(name, known)} "
                       f"Runs here: {', '.join(known) or 'none yet; begin one with `sdg run`'}.")
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
            raise AttributeError(f"track {self.name!r} has no stage {stage!r}.{did_you_mean(stage, self.stages)} "
                                 f"Its stages: {', '.join(self.stages)}.")
        return self.folder / stage

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.stages]

    @property
    def stages(self) -> dict[str, StageInfo]:
        """The track's stages by name, in order."""
        return {stage.name: stage for stage in STAGES.get(self.name, ())}

    def stage(self, name: str) -> stages.Stage:
        """The stage as an object: its manifest, whether it is complete."""
        folder = getattr(self, name)
        return stages.Stage(folder, name, self.stages[name].notebook)

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
        from .. import serving
        from ..cluster import ranks

        spec = self.profile.server(role)
        if ranks.current().rank:
            return serving.follow(spec, self.servers)
        return serving.open_server(spec, self.servers, on_progress)

    def jobs(self, role: str) -> JobSpec | None:
        """How the profile wants a role's work run ("generate", "judge", "cpu", …): as jobs of Slurm, or None: here."""
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
    from ..notebooks.parameters import refuse_unknown_injected
    from ..profiles import load_profile
    from . import run_yaml

    refuse_unknown_injected()
    run = Run(name, run_folder(name), load_profile(profile))
    run_yaml.begin(run.folder, run.profile)
    return run
