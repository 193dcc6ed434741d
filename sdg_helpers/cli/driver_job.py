"""Submit the driver itself as a small Slurm job (`sdg run --submit`), so that the login session can close."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from sdg_helpers import cluster, paths
from sdg_helpers.cli.commands import BUDGET_SPENT
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.errors import SdgError

_FOLDER = "driver"  # in the run's folder: the records and the log of the driver's job
_INTERRUPT_S = 15  # time for the chain to interrupt its kernel; less than Slurm allows between warning and kill


def submit_driver(run: Path, spec: JobSpec, words: Sequence[str]) -> tuple[str, Path]:
    """Submit `sdg run WORDS` as a job and return its id and log; if a driver's job is alive already, return that one.

    At its time limit the job continues in a new one. Raises SdgError when the profile's driver is not `where: slurm`.
    """
    if spec.where != "slurm":
        raise SdgError(
            "--submit needs `where: slurm` for the role driver, but the profile runs it locally. "
            "Set `jobs: driver: {where: slurm}` in the profile, or run without --submit."
        )
    function = partial(run_driver, words=list(words), folder=str(paths.project_root()))
    return cluster.submit_one(function, spec.model_copy(update={"servers": 1, "nodes": 1}), run / _FOLDER)


def run_driver(number: int, count: int, words: list[str], folder: str) -> None:
    """Run `sdg WORDS` on the job's node, and pass on the signal to stop."""
    child = subprocess.Popen([sys.executable, "-m", "sdg_helpers.cli", *words], cwd=folder)
    try:
        status = child.wait()
    except BaseException:
        child.send_signal(signal.SIGTERM)
        child.wait(_INTERRUPT_S)
        raise
    if status == BUDGET_SPENT:
        print("The budget is spent; see above.", flush=True)
    elif status:
        raise SdgError(f"sdg {' '.join(words)} exited with code {status}; see its output above.")
