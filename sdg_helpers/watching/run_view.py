"""A run as it is at this moment: its stages at work, and the sessions of those that are complete."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.runs.tracks import STAGES
from sdg_helpers.watching.stage_view import StageView, view_stage


@dataclass(frozen=True)
class RunView:
    """stages: begun and not complete; history: the sessions of complete stages, by stage, oldest first."""

    run: str
    stages: list[StageView] = field(default_factory=list)
    history: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return {"run": self.run, "stages": [view.as_dict() for view in self.stages], "history": self.history}


def view_run(run: Path, ask_slurm: bool = True) -> RunView:
    """Look at a run's folder. ask_slurm: for the states of its jobs; False: as the driver saw them last."""
    folders = [run / track / info.name for track, stages in STAGES.items() for info in stages]
    return RunView(
        run.name,
        [view_stage(folder, ask_slurm) for folder in folders if is_unfinished(folder)],
        {
            f"{folder.parent.name}/{folder.name}": list(files.read_log(folder / "sessions.jsonl"))
            for folder in folders
            if (folder / "manifest.json").exists() and (folder / "sessions.jsonl").exists()
        },
    )


def is_unfinished(stage: Path) -> bool:
    """Return whether a stage has begun, is not complete, and has reported progress."""
    return (stage / "progress.json").exists() and not (stage / "manifest.json").exists()
