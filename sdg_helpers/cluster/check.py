"""Is everything there before 16 GPUs are asked for? Slurm is asked without submitting; one small job a role looks at a
node."""

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

from sdg_helpers import files, paths, planning
from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.batch_script import batch_script, decided
from sdg_helpers.cluster.driver import run_chunks
from sdg_helpers.cluster.job_causes import refused
from sdg_helpers.cluster.jobs import Jobs, JobSpec
from sdg_helpers.errors import SdgError
from sdg_helpers.notebooks import values
from sdg_helpers.profiles import Profile
from sdg_helpers.serving.server_specs import ServerSpec

_SERVED_BY = {"generate": "solver", "judge": "judge"}


def check_cluster(profile: Profile, wait_min: float = 10) -> list[dict[str, str]]:
    """Rows of what, found, ok ("yes" or "no") and what to do. wait_min: how long the small jobs may wait to begin.

    Raises SdgError when the profile has no role on Slurm.
    """
    roles = [role for role in Jobs.model_fields if role != "all" and profile.jobs.spec(role).where == "slurm"]
    if not roles:
        raise SdgError(
            f"{profile.path}: expected a role with `where: slurm` under jobs, found none. See "
            "notebooks/profiles/slurm.yaml."
        )
    rows = [_commands()]
    if rows[0]["ok"] == "no":
        return rows
    accepted = [_accepted(role, profile.jobs.spec(role)) for role in roles]
    rows += [*accepted, _disk(profile)]
    if all(row["ok"] == "yes" for row in accepted):
        for role, server in _SERVED_BY.items():
            if role in roles:
                rows += _on_a_node(role, profile.jobs.spec(role), profile.server(server), wait_min)
    return rows


def _row(what: str, found: str, ok: bool, todo: str = "") -> dict[str, str]:
    return {"what": what, "found": found, "ok": "yes" if ok else "no", "what to do": "" if ok else todo}


def _commands() -> dict[str, str]:
    lacking = [name for name in ("sbatch", "squeue", "scancel", "scontrol", "sinfo") if not shutil.which(name)]
    if lacking:
        return _row("Slurm's commands", f"no {', '.join(lacking)}", False, "run on a login node of the cluster")
    try:
        known = slurm.partitions()
    except SdgError as error:
        return _row("Slurm answers", str(error), False, "see `scontrol ping`")
    return _row("Slurm answers", f"partitions {', '.join(known)}", True)


def _accepted(role: str, spec: JobSpec) -> dict[str, str]:
    """Whether sbatch would take the role's jobs as they are: partition, account, nodes, GPUs, memory, time."""
    asked = (
        f"{spec.nodes} × {spec.gpus_per_node} GPUs, {spec.time_limit_min} min, partition "
        f"{spec.partition or '(default)'}, account {spec.account or '(default)'}"
    )
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "job.sh"
        script.write_text(batch_script(spec, "sdg-check-0000", [0], Path(folder) / "a/b/c/d/e/f", Path(folder)))
        clean = {name: value for name, value in slurm.environment().items() if name not in decided(spec)}
        done = subprocess.run(["sbatch", "--test-only", str(script)], env=clean, capture_output=True, text=True)
    said = " ".join(done.stderr.split()).removeprefix("sbatch: ")
    if done.returncode == 0:
        return _row(f"jobs of {role}: {asked}", said or "would be taken", True)
    return _row(
        f"jobs of {role}: {asked}", said, False, str(refused(slurm.SubmissionRefused(said), spec)).partition("\n  ")[2]
    )


def _disk(profile: Profile) -> dict[str, str]:
    """Room for the plan: what the profile's own parameters say of seeds and tokens, over the full set of problems."""
    from sdg_helpers import notebooks

    every = notebooks.discover()
    given = values.values_for(every, every, profile).get("math/03_generate_solutions", {})
    scale = planning.Scale(num_seeds=given.get("NUM_SEEDS", planning.Scale.num_seeds))
    needed = 2 * float(planning.plan(scale).loc["all", "gigabytes"])  # merging a seed needs it twice for a while
    free = shutil.disk_usage(_existing(paths.outputs_root())).free / 1e9
    what = f"disk: {needed:,.0f} GB for {scale.problems:,} problems × {scale.num_seeds} seeds"
    return _row(
        what,
        f"{free:,.0f} GB free in {paths.outputs_root()}",
        free > needed,
        "set SDG_OUTPUTS to a roomier shared disk, or ask for fewer problems or seeds",
    )


def _existing(path: Path) -> Path:
    return next(one for one in (path, *path.parents) if one.exists())


def _on_a_node(role: str, spec: JobSpec, server: ServerSpec, wait_min: float) -> list[dict[str, str]]:
    """Look at one node by a job of some seconds, with one GPU if the role has any."""
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
        looking = partial(
            look, answer=answer, server=server.model_dump(exclude_unset=True), gpus=bool(spec.gpus_per_node)
        )
        run_chunks(looking, small, stage, lambda num_chunks: [] if answer.exists() else [0])
        return [
            _row(f"{role}, on {found['host']}: {one['what']}", one["found"], one["ok"], one["todo"])
            for found in [files.read_json(answer)]
            for one in found["rows"]
        ]
    except SdgError as error:
        return [_row(f"{role}: a small job on a node", str(error), False, "mend what it says")]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def look(chunk: int, num_chunks: int, answer: Path, server: dict[str, Any], gpus: bool) -> None:
    """Runs on a node: what is there. That it can write its answer shows that the file system is shared."""
    rows = [
        {"what": "the outputs folder is shared", "found": str(answer.parent), "ok": True, "todo": ""},
        {"what": "Python", "found": platform.python_version(), "ok": True, "todo": ""},
    ]
    if gpus:
        seen = _said(["nvidia-smi", "-L"])
        listed = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        rows.append(
            {
                "what": "a GPU",
                "found": seen.splitlines()[0] if seen else f"devices {listed or 'none'}",
                "ok": bool(seen or listed),
                "todo": "see gpus_per_node, and the nodes' drivers",
            }
        )
    if server["engine"] == "sglang":
        rows += _sglang(server)
    files.write_json(answer, {"host": socket.gethostname(), "rows": rows})


def _sglang(server: dict[str, Any]) -> list[dict[str, Any]]:
    from sdg_helpers.serving.sglang.command_lines import python_of

    spec = ServerSpec(**server)
    version = _said([python_of(spec), "-c", "import importlib.metadata as m; print(m.version('sglang'))"])
    rows = [
        {
            "what": f"SGLang in {python_of(spec)}",
            "found": version or "not installed",
            "ok": bool(version),
            "todo": "install sglang there, or set python of the server",
        }
    ]
    if spec.model.startswith(("/", "~", ".")):
        there = (Path(spec.model).expanduser() / "config.json").exists()
        rows.append(
            {
                "what": f"model {spec.model}",
                "found": "there" if there else "no config.json",
                "ok": there,
                "todo": "make it with 02_shard_checkpoint, or mend the path",
            }
        )
    return rows


def _said(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
