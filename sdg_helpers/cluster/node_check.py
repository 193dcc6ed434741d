"""Look at nodes of the cluster, in a job of a few seconds: the shared folder, Python, a GPU, SGLang, the model."""

from __future__ import annotations

import math
import os
import platform
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from sdg_helpers import files, paths
from sdg_helpers.cluster import preflight, ranks
from sdg_helpers.cluster.driver import cancel_jobs, run_one
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.cluster.server_checks import make_row
from sdg_helpers.errors import SdgError
from sdg_helpers.locks import Lock, file_system
from sdg_helpers.serving.server_specs import ServerSpec, SglangSpec

_LOCK = "lock"  # in the folder of a check, which holds it
_POLL_S = 0.2
_WAIT_SLACK_MIN = 15  # Slurm itself removes a small job this long after the check should have ended


def check_node(role: str, spec: JobSpec, server: ServerSpec, wait_min: float) -> list[dict[str, str]]:
    """Look at one node in a job of a few seconds, or at two if the role's jobs need several.

    What every job checks at its start (preflight.py) is reported when it fails.
    """
    paths.outputs_root().mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".check-", dir=paths.outputs_root()))
    nodes = min(2, spec.nodes)
    small = spec.model_copy(
        update={
            "nodes": nodes,
            "servers": 1,
            "dependent_jobs": 0,
            "exclusive": False,
            "gpus_per_node": min(1, spec.gpus_per_node),
            "time_limit_min": 10,
            "poll_s": 1.0,
            "stop_before_limit_s": 60,
            "pending_deadline_min": wait_min,
            "max_attempts": 1,
            "max_restarts": 0,
            # for a check that is killed and cannot cancel its job
            "sbatch": {**spec.sbatch, "deadline": f"now+{math.ceil(wait_min) + _WAIT_SLACK_MIN}minutes"},
        }
    )
    stage, answers = folder / "check" / role, [folder / f"answer-{rank}.json" for rank in range(nodes)]
    stage.mkdir(parents=True)
    try:
        inspect = partial(inspect_node, answers=answers, server=server, gpus=bool(spec.gpus_per_node))
        with Lock(folder / _LOCK, "a check of the cluster"):
            run_one(inspect, small, stage, lambda: all(answer.exists() for answer in answers))
        reports = [files.read_json(answer) for answer in answers]
        return [
            make_row(f"{role}, on {report['host']}: {row['what']}", row["found"], row["ok"], row["todo"])
            for report in reports
            for row in report["rows"]
        ]
    except SdgError as error:
        return [make_row(f"{role}: a small job on a node", str(error), False, "fix what the error names")]
    finally:
        with suppress(SdgError):
            cancel_jobs(stage)
        shutil.rmtree(folder, ignore_errors=True)


def inspect_node(number: int, count: int, answers: list[Path], server: ServerSpec, gpus: bool) -> None:
    """Write what this node has to the answer of its rank, beside the lock that the check holds.

    The first rank returns when all have answered.
    """
    group = ranks.current()
    rows = [_inspect_folder(answers[0].parent), _row("Python", platform.python_version())]
    if group.rank:
        rows.append(_row(f"the first node, {group.hosts[0]}", f"reached at {group.head}"))
    if gpus:
        rows.append(_inspect_gpu())
    if server.engine == "sglang":
        rows += _inspect_sglang(server)
    files.write_json(answers[group.rank], {"host": preflight.node_name(), "rows": rows})
    ranks.idle_unless_first()
    while not all(answer.exists() for answer in answers):
        time.sleep(_POLL_S)


def _row(what: str, found: str, ok: bool = True, todo: str = "") -> dict[str, Any]:
    return {"what": what, "found": found, "ok": ok, "todo": "" if ok else todo}


def _inspect_folder(folder: Path) -> dict[str, Any]:
    """Check that this node sees the lock that the driver holds there, as well as its files."""
    shared = not Lock.is_free(folder / _LOCK)
    return _row(
        "the outputs folder is shared",
        f"{folder.parent} ({file_system(folder)})" if shared else "a lock of another node is not seen here",
        shared,
        f"mount {file_system(folder)} with locks that all nodes share (Lustre: -o flock, not localflock)",
    )


def _inspect_gpu() -> dict[str, Any]:
    listed = output_of(["nvidia-smi", "-L"])
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return _row(
        "a GPU",
        listed.splitlines()[0] if listed else f"devices {devices or 'none'}",
        bool(listed or devices),
        "check gpus_per_node, and the nodes' drivers",
    )


def _inspect_sglang(server: SglangSpec) -> list[dict[str, Any]]:
    from sdg_helpers.serving.sglang.command_lines import environment_of, python_of

    ask = [python_of(server), "-c", "import importlib.metadata as m; print(m.version('sglang'))"]
    version = output_of(ask, environment_of(server))
    rows = [
        {
            "what": f"SGLang in {python_of(server)}",
            "found": version or "not installed",
            "ok": bool(version),
            "todo": "install sglang there, or set the server's python key",
        }
    ]
    if server.local_copies:
        rows.append(_inspect_disk(Path(server.local_copies.folder).expanduser()))
    if server.model.startswith(("/", "~", ".")):
        exists = (Path(server.model).expanduser() / "config.json").exists()
        later = server.load_format == "sharded_state"  # stage 02 writes it
        missing = "not there yet; math/02_shard_checkpoint writes it" if later else "no config.json"
        rows.append(
            {
                "what": f"model {server.model}",
                "found": "exists" if exists else missing,
                "ok": exists or later,
                "todo": "download the model into this folder, or fix the path",
            }
        )
    return rows


def _inspect_disk(folder: Path) -> dict[str, Any]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        usable, found = os.access(folder, os.W_OK), f"{shutil.disk_usage(folder).free / 1e9:.0f} GB free"
    except OSError as error:
        usable, found = False, str(error)
    return _row(f"copies of models in {folder}", found, usable, "set folder of local_copies to a disk of the nodes")


def output_of(command: list[str], environment: dict[str, str] | None = None) -> str:
    """Return what a command prints; "" when it fails."""
    try:
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
