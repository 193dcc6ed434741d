"""Check what this machine has for each way to run the notebooks, and say what to do about what is missing."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path

import psutil

from sdg_helpers import paths
from sdg_helpers.errors import SdgError
from sdg_helpers.processes import usable_cores
from sdg_helpers.serving.embedded import weights

_DEMO_GB, _DEMO_DISK_GB = 3.0, 2.0


def check_machine() -> list[dict[str, str]]:
    """Return rows with the keys what, found, ready ("yes", "no" or "not needed here") and what to do."""
    return [_python(), _cores(), _memory(), _disk(), _embedded(), _weights(), _endpoint(), _gpu(), _slurm()]


def _row(what: str, found: str, ready: str, todo: str = "") -> dict[str, str]:
    return {"what": what, "found": found, "ready": ready, "what to do": "" if ready == "yes" else todo}


def _python() -> dict[str, str]:
    good = (3, 10) <= sys.version_info[:2] < (3, 15)
    return _row("Python 3.10 to 3.14", platform.python_version(), "yes" if good else "no", "install another Python")


def _cores() -> dict[str, str]:
    return _row("cores", str(usable_cores()), "yes")


def _memory() -> dict[str, str]:
    free = psutil.virtual_memory().available / 1e9
    return _row(
        f"memory: {_DEMO_GB:.0f} GB free for the demo",
        f"{free:.1f} GB free",
        "yes" if free >= _DEMO_GB else "no",
        "close other programs, or use an endpoint",
    )


def _disk() -> dict[str, str]:
    folder = next(path for path in (paths.outputs_root(), *paths.outputs_root().parents) if path.exists())
    free = shutil.disk_usage(folder).free / 1e9
    return _row(
        f"disk: {_DEMO_DISK_GB:.0f} GB free for the demo",
        f"{free:,.0f} GB free in {folder}",
        "yes" if free >= _DEMO_DISK_GB else "no",
        "free some space, or set SDG_OUTPUTS to a folder on another disk",
    )


def _embedded() -> dict[str, str]:
    installed = importlib.util.find_spec("xllamacpp") is not None
    return _row(
        "embedded model server (xllamacpp)",
        "installed" if installed else "not installed",
        "yes" if installed else "no",
        "pip install 'sdg-helpers[demo]', unless you use an endpoint",
    )


def _weights() -> dict[str, str]:
    name = "qwen2.5-coder-1.5b-instruct"
    try:
        cached = weights.is_cached(name)
    except SdgError as error:
        return _row(f"weights of {name}", str(error), "no", "correct SDG_GGUF")
    return _row(
        f"weights of {name}",
        "cached" if cached else "not downloaded yet",
        "yes" if cached else "no",
        f"downloaded when the demo runs (1.1 GB), or now with: sdg weights fetch {name}",
    )


def _endpoint() -> dict[str, str]:
    url = bool(os.environ.get("OPENAI_BASE_URL"))
    return _row(
        "your own model server",
        "OPENAI_BASE_URL is set" if url else "OPENAI_BASE_URL is not set",
        "yes" if url else "not needed here",
        "for the profile `endpoint`: set OPENAI_BASE_URL and OPENAI_API_KEY",
    )


def _gpu() -> dict[str, str]:
    found = shutil.which("nvidia-smi") is not None and Path("/proc/driver/nvidia").exists()
    return _row(
        "a GPU on this machine",
        "found" if found else "none found",
        "yes" if found else "not needed here",
        "on a cluster, the nodes have them",
    )


def _slurm() -> dict[str, str]:
    found = shutil.which("sbatch") is not None
    return _row(
        "Slurm",
        "sbatch found" if found else "sbatch not found",
        "yes" if found else "not needed here",
        "for the profile `slurm`: run on a login node",
    )
