"""`sdg submit`: a command of one's own as a small Slurm job, which starts when a stage of a run is complete."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import time
from functools import partial
from pathlib import Path

from sdg_helpers.cli.commands import Add
from sdg_helpers.cli.console import display_path, program_name
from sdg_helpers.errors import SdgError

_FOLDER = "submitted"  # in the run's folder: the records and logs of these jobs
_LOOK_S = 15.0
_INTERRUPT_S = 15  # for the command to end when its job has to; less than Slurm allows between warning and kill


def add_commands(add: Add) -> None:
    """Add submit."""
    submit = add("submit", _submit, "run a command of your own as a job, when a stage of a run is complete")
    submit.add_argument("run", metavar="RUN")
    submit.add_argument("--after", metavar="STAGE", required=True, help="math/solutions, or solutions")
    submit.add_argument("words", metavar="-- CMD", nargs="+", help="the command; SDG_RUN_FOLDER names the run's folder")


def _submit(arguments: argparse.Namespace) -> None:
    from sdg_helpers import cluster, files, runs
    from sdg_helpers.profiles import load_profile
    from sdg_helpers.runs import history, reset

    folder = runs.existing_run(arguments.run)
    content = history.read(folder)
    assert content is not None
    profile = load_profile(content["profile"])
    spec = profile.jobs.spec("cpu")
    if spec.where != "slurm":
        raise SdgError(
            f"{profile.path}: sdg submit needs `where: slurm` for the role cpu. Set `jobs: cpu: {{where: slurm}}` in "
            "the profile, or run the command yourself."
        )
    track, info = reset.find_stage(arguments.after, folder)
    words = [str(word) for word in arguments.words]
    manifest = folder.resolve() / track / info.name / "manifest.json"
    function = partial(run_after, manifest=manifest, run=folder.resolve(), words=words, folder=os.getcwd())
    place = folder / _FOLDER / f"{track}-{info.name}-{files.content_id(*words)}"
    place.mkdir(parents=True, exist_ok=True)
    job_id, log = cluster.submit_one(function, spec.model_copy(update={"servers": 1, "nodes": 1}), place)
    print(
        f"Submitted as job {job_id}: {shlex.join(words)}, when {track}/{info.name} is complete; log: "
        f"{display_path(log)}   Cancel: {program_name()} cancel {arguments.run}"
    )


def run_after(number: int, count: int, *, manifest: Path, run: Path, words: list[str], folder: str) -> None:
    """Wait for a stage's manifest, then run the command; what a job does. Stopped at its time limit, the job begins
    again: the command must bear being started twice. Raises SdgError when it fails."""
    while not manifest.exists():
        time.sleep(_LOOK_S)
    try:
        child = subprocess.Popen(words, cwd=folder, env={**os.environ, "SDG_RUN_FOLDER": str(run)})
    except OSError as error:
        raise SdgError(f"{words[0]}: cannot be started: {error}. Give a command that the nodes have.") from None
    try:
        status = child.wait()
    except BaseException:
        child.terminate()
        child.wait(_INTERRUPT_S)
        raise
    if status:
        raise SdgError(f"{shlex.join(words)} exited with code {status}; see its output above.")
