"""`sdg cluster check`: does a cluster have everything that a profile asks for?

Slurm is asked without submitting anything; then one small job a role looks at a node.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from sdg_helpers import files, notebooks, paths, planning
from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.batch_script import batch_script, overriding_variables
from sdg_helpers.cluster.driver import run_chunks
from sdg_helpers.cluster.job_failures import refusal_hints
from sdg_helpers.cluster.jobs import Jobs, JobSpec
from sdg_helpers.errors import SdgError
from sdg_helpers.notebooks import values
from sdg_helpers.profiles import Profile
from sdg_helpers.serving.server_specs import ServerSpec, SglangSpec

_COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo")
_SERVER_ROLES = {"generate": "solver", "judge": "judge"}  # role of the jobs -> role of their server


def check_cluster(profile: Profile, wait_min: float = 10) -> list[dict[str, str]]:
    """Return the checks as rows: what, found, ok ("yes" or "no") and what to do.

    wait_min: how long the small jobs may stay pending. Raises SdgError when the profile runs no role on Slurm.
    """
    roles = [role for role in Jobs.model_fields if role != "all" and profile.jobs.spec(role).where == "slurm"]
    if not roles:
        raise SdgError(
            f"{profile.path}: no role under jobs: has `where: slurm`, so there is no cluster to check. See "
            "notebooks/profiles/slurm.yaml for an example."
        )
    rows = [_check_commands()]
    if rows[0]["ok"] == "no":
        return rows
    requests = [_check_request(role, profile.jobs.spec(role)) for role in roles]
    rows += [*requests, _check_disk(profile)]
    if all(row["ok"] == "yes" for row in requests):
        for role, server in _SERVER_ROLES.items():
            if role in roles:
                rows += _check_node(role, profile.jobs.spec(role), profile.server(server), wait_min)
    return rows


def _row(what: str, found: str, ok: bool, todo: str = "") -> dict[str, str]:
    return {"what": what, "found": found, "ok": "yes" if ok else "no", "what to do": "" if ok else todo}


def _check_commands() -> dict[str, str]:
    missing = [name for name in _COMMANDS if not shutil.which(name)]
    if missing:
        return _row("Slurm's commands", f"no {', '.join(missing)}", False, "run on a login node of the cluster")
    try:
        known = slurm.partitions()
    except SdgError as error:
        return _row("Slurm answers", str(error), False, "see `scontrol ping`")
    return _row("Slurm answers", f"partitions {', '.join(known)}", True)


def _check_request(role: str, spec: JobSpec) -> dict[str, str]:
    """Check that sbatch would accept the role's jobs: partition, account, nodes, GPUs, memory, time limit."""
    what = (
        f"jobs of {role}: {spec.nodes} × {spec.gpus_per_node} GPUs, {spec.time_limit_min} min, partition "
        f"{spec.partition or '(default)'}, account {spec.account or '(default)'}"
    )
    ignored = overriding_variables(spec)
    env = {name: value for name, value in slurm.clean_environment().items() if name not in ignored}
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "job.sh"
        script.write_text(batch_script(spec, "sdg-check-0000", [0], Path(folder), Path(folder), Path(folder)))
        done = subprocess.run(["sbatch", "--test-only", str(script)], env=env, capture_output=True, text=True)
    message = " ".join(done.stderr.split()).removeprefix("sbatch: ")
    if done.returncode == 0:
        return _row(what, message or "would be accepted", True)
    return _row(what, message, False, "\n  ".join([*refusal_hints(message, spec), "Fix jobs: in the profile."]))


def _check_disk(profile: Profile) -> dict[str, str]:
    """Check the free space for the plan: the profile's own number of seeds over the full set of problems."""
    every = notebooks.discover()
    given = values.values_for(every, every, profile).get("math/03_generate_solutions", {})
    scale = planning.Scale(num_seeds=given.get("NUM_SEEDS", planning.Scale.num_seeds))
    needed_gb = 2 * float(planning.plan(scale).loc["all", "gigabytes"])  # merging a seed temporarily needs it twice
    root = paths.outputs_root()
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    free_gb = shutil.disk_usage(existing).free / 1e9
    return _row(
        f"disk: {needed_gb:,.0f} GB for {scale.problems:,} problems × {scale.num_seeds} seeds",
        f"{free_gb:,.0f} GB free in {root}",
        free_gb > needed_gb,
        "set SDG_OUTPUTS to a larger shared disk, or choose fewer problems or seeds",
    )


def _check_node(role: str, spec: JobSpec, server: ServerSpec, wait_min: float) -> list[dict[str, str]]:
    """Look at one node in a job of a few seconds, with one GPU if the role has any."""
    paths.outputs_root().mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".check-", dir=paths.outputs_root()))
    small = spec.model_copy(
        update={
            "nodes": 1,
            "num_chunks": 1,
            "dependent_jobs": 0,
            "exclusive": False,
            "gpus_per_node": min(1, spec.gpus_per_node),
            "time_limit_min": 10,
            "poll_s": 1.0,
            "stop_before_limit_s": 60,
            "pending_deadline_min": wait_min,
            "max_attempts": 1,
        }
    )
    stage, answer = folder / "check" / role, folder / "answer.json"
    stage.mkdir(parents=True)
    try:
        inspect = partial(inspect_node, answer=answer, server=server, gpus=bool(spec.gpus_per_node))
        run_chunks(inspect, small, stage, lambda num_chunks: [] if answer.exists() else [0])
        report = files.read_json(answer)
        return [
            _row(f"{role}, on {report['host']}: {row['what']}", row["found"], row["ok"], row["todo"])
            for row in report["rows"]
        ]
    except SdgError as error:
        return [_row(f"{role}: a small job on a node", str(error), False, "fix what the error names")]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def inspect_node(chunk: int, num_chunks: int, answer: Path, server: ServerSpec, gpus: bool) -> None:
    """Write what this node has to `answer`; that it can be written there shows that the file system is shared."""
    rows = [
        {"what": "the outputs folder is shared", "found": str(answer.parent), "ok": True, "todo": ""},
        {"what": "Python", "found": platform.python_version(), "ok": True, "todo": ""},
    ]
    if gpus:
        listed = _output_of(["nvidia-smi", "-L"])
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
    from sdg_helpers.serving.sglang.command_lines import python_of

    version = _output_of([python_of(server), "-c", "import importlib.metadata as m; print(m.version('sglang'))"])
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
        rows.append(
            {
                "what": f"model {server.model}",
                "found": "exists" if exists else "no config.json",
                "ok": exists,
                "todo": "write it with notebook 02_shard_checkpoint, or fix the path",
            }
        )
    return rows


def _output_of(command: list[str]) -> str:
    """Return what a command prints; "" when it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
