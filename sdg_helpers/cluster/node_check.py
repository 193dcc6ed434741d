"""Look at a node of the cluster, in a job of a few seconds: Python, a GPU, SGLang, the model, the shared folder."""

from __future__ import annotations

import math
import os
import platform
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from sdg_helpers import files, paths
from sdg_helpers.cluster.driver import cancel_jobs, run_one
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.cluster.server_checks import make_row
from sdg_helpers.errors import SdgError
from sdg_helpers.serving.server_specs import ServerSpec, SglangSpec

_WAIT_SLACK_MIN = 15  # Slurm itself removes a small job this long after the check should have ended


def check_node(role: str, spec: JobSpec, server: ServerSpec, wait_min: float) -> list[dict[str, str]]:
    """Look at one node in a job of a few seconds, with one GPU if the role has any."""
    paths.outputs_root().mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".check-", dir=paths.outputs_root()))
    small = spec.model_copy(
        update={
            "nodes": 1,
            "servers": 1,
            "dependent_jobs": 0,
            "exclusive": False,
            "gpus_per_node": min(1, spec.gpus_per_node),
            "time_limit_min": 10,
            "poll_s": 1.0,
            "stop_before_limit_s": 60,
            "pending_deadline_min": wait_min,
            "max_attempts": 1,
            # for a check that is killed and cannot cancel its job
            "sbatch": {**spec.sbatch, "deadline": f"now+{math.ceil(wait_min) + _WAIT_SLACK_MIN}minutes"},
        }
    )
    stage, answer = folder / "check" / role, folder / "answer.json"
    stage.mkdir(parents=True)
    try:
        inspect = partial(inspect_node, answer=answer, server=server, gpus=bool(spec.gpus_per_node))
        run_one(inspect, small, stage, answer.exists)
        report = files.read_json(answer)
        return [
            make_row(f"{role}, on {report['host']}: {row['what']}", row["found"], row["ok"], row["todo"])
            for row in report["rows"]
        ]
    except SdgError as error:
        return [make_row(f"{role}: a small job on a node", str(error), False, "fix what the error names")]
    finally:
        with suppress(SdgError):
            cancel_jobs(stage)
        shutil.rmtree(folder, ignore_errors=True)


def inspect_node(number: int, count: int, answer: Path, server: ServerSpec, gpus: bool) -> None:
    """Write what this node has to `answer`; that it can be written there shows that the file system is shared."""
    rows = [
        {"what": "the outputs folder is shared", "found": str(answer.parent), "ok": True, "todo": ""},
        {"what": "Python", "found": platform.python_version(), "ok": True, "todo": ""},
    ]
    if gpus:
        listed = output_of(["nvidia-smi", "-L"])
        devices = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        rows.append(
            {
                "what": "a GPU",
                "found": listed.splitlines()[0] if listed else f"devices {devices or 'none'}",
                "ok": bool(listed or devices),
                "todo": "check gpus_per_node, and the nodes' drivers",
            }
        )
    if server.engine == "sglang":
        rows += _inspect_sglang(server)
    files.write_json(answer, {"host": socket.gethostname(), "rows": rows})


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


def output_of(command: list[str], environment: dict[str, str] | None = None) -> str:
    """Return what a command prints; "" when it fails."""
    try:
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
