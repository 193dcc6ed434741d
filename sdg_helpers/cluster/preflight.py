"""Check a node at the start of a job, before it loads a model: its GPUs, and the shared folder.

The port to the first rank is checked when the ranks meet (ranks.py), the driver's files when the work is read
(worker.py).
"""

from __future__ import annotations

import math
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from sdg_helpers import files
from sdg_helpers.cluster.exit_codes import TryAgain
from sdg_helpers.errors import SdgError
from sdg_helpers.locks import Lock

GPUS, GPU_MEMORY = "SDG_GPUS_PER_NODE", "SDG_GPU_MEMORY_GB"  # environment variables of a job
_QUERY = ("nvidia-smi", "--query-gpu=memory.total,memory.used", "--format=csv,noheader,nounits")
_QUERY_S = 60  # without persistence mode, a driver takes a while to wake up
_MIB = 1 << 20
_IN_USE = 0.1  # share of a GPU's memory; an idle one uses less
_RELEASE_S = 30.0  # for the memory of processes that were just killed
_POLL_S = 2.0


class UnfitNode(TryAgain):
    """This node cannot do the job; another one may."""


def node_name() -> str:
    """Return Slurm's name of this node; outside Slurm its host name."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def check_this_node(folder: Path) -> None:
    """Raise UnfitNode, with a reason of one line, when this node lacks what the job was promised.

    folder: an existing one of the run, on the shared file system.
    """
    gpus, memory_gb = int(os.environ.get(GPUS, 0)), float(os.environ.get(GPU_MEMORY, 0))
    if fault := (find_gpu_fault(gpus, memory_gb) if gpus else "") or find_folder_fault(folder):
        raise UnfitNode(f"node {node_name()} cannot do this job: {fault}")


def find_gpu_fault(count: int, memory_gb: float = 0, wait_s: float = _RELEASE_S) -> str:
    """Return what is wrong with this job's GPUs; "" when nothing is, or when this node has no nvidia-smi.

    count: GPUs that the job was given. memory_gb: of each, at least. Memory in use by others must be released within
    wait_s.
    """
    end = time.monotonic() + wait_s
    while True:
        try:
            memory = _read_memory()
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            return f"nvidia-smi failed: {_message(error)}"
        if len(memory) < count:
            return f"nvidia-smi lists {len(memory)} GPUs, but gpus_per_node is {count}"
        for number, (total, _) in enumerate(memory):
            if total / 1e9 < memory_gb:
                return f"GPU {number} has {total / 1e9:.0f} GB of memory, but gpu_memory_gb is {memory_gb:g}"
        busy = [number for number, (total, used) in enumerate(memory) if used > _IN_USE * total]
        if not busy:
            return ""
        if time.monotonic() >= end:
            total, used = memory[busy[0]]
            return f"other processes use {used / 1e9:.0f} of {total / 1e9:.0f} GB of GPU {busy[0]}"
        time.sleep(_POLL_S)


def _read_memory() -> list[tuple[float, float]]:
    """Return (total, used) in bytes of each of this job's GPUs: (inf, 0) of one that shares the processor's memory."""
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    chosen = [f"--id={devices}"] if devices and "MIG" not in devices else []
    done = subprocess.run([*_QUERY, *chosen], capture_output=True, text=True, timeout=_QUERY_S, check=True)
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    return [(math.inf, 0) if "N/A" in line else _parse(line) for line in lines]


def _parse(line: str) -> tuple[float, float]:
    total, used = line.split(",")
    return int(total) * _MIB, int(used) * _MIB


def _message(error: Exception) -> str:
    """Return the last line that a failed command printed, or the error itself."""
    if isinstance(error, subprocess.CalledProcessError):
        lines = (error.stderr.strip() or error.stdout.strip()).splitlines()
        return f"exit code {error.returncode}{f', {lines[-1]}' if lines else ''}"
    return " ".join(str(error).split())


def find_folder_fault(folder: Path) -> str:
    """Return why this node cannot write, rename and lock files in a shared folder; "" when it can."""
    probe = folder / f".probe-{node_name()}-{os.getpid()}"
    try:
        with files.disk_errors(probe):
            probe.mkdir()
            (probe / "new").write_text(probe.name)
            os.rename(probe / "new", probe / "renamed")
            if (probe / "renamed").read_text() != probe.name:
                return f"{folder}: a renamed file has lost its content"
        with Lock(probe / "lock", "the check of this node"):
            return ""
    except (OSError, SdgError) as error:
        return " ".join(str(error).split())
    finally:
        shutil.rmtree(probe, ignore_errors=True)
