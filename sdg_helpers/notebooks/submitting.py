"""`sdg run --submit`: the driver itself as a small job of Slurm, so that the login session may close."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from sdg_helpers import cluster, paths
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.errors import SdgError

FOLDER = "driver"  # in the run's folder: the records and the log of the driver's job
_PATIENCE_S = 15  # for the chain to interrupt its kernel; less than a job has after the warning


def submit_driver(run: Path, spec: JobSpec, words: Sequence[str]) -> tuple[str, Path]:
    """Submit `sdg run WORDS` as a job; returns its id and its log. A driver's job that lives is returned instead.

    At its time limit the job goes on in a new one. Raises SdgError when the profile's driver is not `where: slurm`.
    """
    if spec.where != "slurm":
        raise SdgError(
            "--submit: expected `where: slurm` for the role driver (jobs: in the profile), found local. "
            "Set it, or run without --submit."
        )
    function = partial(drive, words=list(words), folder=str(paths.project_root()))
    return cluster.submit_one(function, spec.model_copy(update={"num_chunks": 1, "nodes": 1}), run / FOLDER)


def drive(chunk: int, num_chunks: int, words: list[str], folder: str) -> None:
    """What the driver's job does on its node: the command itself; told to end, it tells the command."""
    child = subprocess.Popen([sys.executable, "-m", "sdg_helpers.cli", *words], cwd=folder)
    try:
        status = child.wait()
    except BaseException:
        child.send_signal(signal.SIGTERM)
        child.wait(_PATIENCE_S)
        raise
    if status:
        raise SdgError(f"sdg {' '.join(words)} ended with status {status}; what it said stands above.")
