"""`sdg cluster check`: does a cluster have everything that a profile asks for?

Slurm is asked without submitting anything; then one small job a role looks at a node.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from sdg_helpers import notebooks, paths, planning
from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.batch_script import batch_script, overriding_variables
from sdg_helpers.cluster.cluster_names import cluster_option
from sdg_helpers.cluster.job_failures import refusal_hints
from sdg_helpers.cluster.jobs import Jobs, JobSpec
from sdg_helpers.cluster.node_check import check_node, output_of
from sdg_helpers.cluster.partition_limits import find_partition_misfit
from sdg_helpers.cluster.server_checks import SERVER_ROLES, check_servers, make_row
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.notebooks import values
from sdg_helpers.processes import interrupt_on_signals
from sdg_helpers.profiles import Profile

_COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo")


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
    rows += [_check_cluster(name) for name in sorted({profile.jobs.spec(role).cluster or "" for role in roles} - {""})]
    requests = [_check_request(role, profile.jobs.spec(role)) for role in roles]
    rows += [*requests, *_check_containers(profile, roles), *check_servers(profile, roles)]
    worth_a_job = all(row["ok"] == "yes" for row in rows)
    rows.append(_check_disk(profile))
    if worth_a_job:
        with interrupt_on_signals():  # so that a check that is killed cancels its job
            for role, server in SERVER_ROLES.items():
                if role in roles:
                    rows += check_node(role, profile.jobs.spec(role), profile.server(server), wait_min)
    return rows


def _check_commands() -> dict[str, str]:
    missing = [name for name in _COMMANDS if not shutil.which(name)]
    if missing:
        return make_row("Slurm's commands", f"no {', '.join(missing)}", False, "run on a login node of the cluster")
    try:
        known = slurm.partitions()
    except SdgError as error:
        return make_row("Slurm answers", str(error), False, "see `scontrol ping`")
    return make_row("Slurm answers", f"partitions {', '.join(known)}", True)


def _check_cluster(name: str) -> dict[str, str]:
    """Check that the site has a cluster of this name, whose controller answers."""
    what = f"cluster {name}"
    try:
        if name not in (known := slurm.list_clusters()):
            todo = f"set cluster under jobs: to one of these.{did_you_mean(name, known)}"
            return make_row(what, f"unknown; clusters here: {', '.join(sorted(known))}", False, todo)
        return make_row(what, f"partitions {', '.join(slurm.partitions(name))}", True)
    except SdgError as error:
        todo = f"see `sacctmgr show clusters` and `scontrol --clusters={name} ping`, or remove cluster under jobs:"
        return make_row(what, str(error), False, todo)


def _check_request(role: str, spec: JobSpec) -> dict[str, str]:
    """Check that sbatch would accept the role's jobs: partition, account, nodes, GPUs, memory, time limit."""
    what = (
        f"jobs of {role}: {spec.nodes} × {spec.gpus_per_node} GPUs, {spec.time_limit_min} min, partition "
        f"{spec.partition or '(default)'}, account {spec.account or '(default)'}, cluster {spec.cluster or '(default)'}"
    )
    ignored = overriding_variables(spec)
    env = {name: value for name, value in slurm.clean_environment().items() if name not in ignored}
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "job.sh"
        script.write_text(batch_script(spec, "sdg-check-0000", [0], Path(folder), Path(folder), Path(folder)))
        command = ["sbatch", *cluster_option(spec.cluster), "--test-only", str(script)]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
    message = " ".join(done.stderr.split()).removeprefix("sbatch: ")
    if done.returncode == 0 and not (misfit := find_partition_misfit(spec)):
        return make_row(what, message or "would be accepted", True)
    message = message if done.returncode else misfit
    return make_row(what, message, False, "\n  ".join([*refusal_hints(message, spec), "Fix jobs: in the profile."]))


def _check_containers(profile: Profile, roles: list[str]) -> list[dict[str, str]]:
    """Check that what runs the roles' container images is here: pyxis' option of srun, or apptainer."""
    specs = [spec for role in roles if (spec := profile.jobs.spec(role)).container_image]
    rows = []
    if images := sorted({spec.container_image or "" for spec in specs if spec.container_runtime == "pyxis"}):
        known = "--container-image" in output_of(["srun", "--help"])
        found = f"srun has {'the' if known else 'no'} option --container-image"
        todo = "it comes with the pyxis plugin: ask the cluster's support, or set container_runtime: apptainer"
        rows.append(make_row(f"container {', '.join(images)}", found, known, todo))
    if images := sorted({spec.container_image or "" for spec in specs if spec.container_runtime == "apptainer"}):
        version = output_of(["apptainer", "--version"])
        todo = "install apptainer, load its module before sdg is started, or do without container_image"
        rows.append(make_row(f"container {', '.join(images)}", version or "no apptainer here", bool(version), todo))
    return rows


def _check_disk(profile: Profile) -> dict[str, str]:
    """Check the free space for the plan: the profile's own seeds and problems, by default all of them."""
    every = notebooks.discover()
    given = values.values_for(every, every, profile)
    scale = planning.Scale(
        problems=given.get("math/01_download_problems", {}).get("MAX_PROBLEMS") or planning.Scale.problems,
        num_seeds=given.get("math/03_generate_solutions", {}).get("NUM_SEEDS", planning.Scale.num_seeds),
    )
    needed_gb = 2 * float(planning.plan(scale).loc["all", "gigabytes"])  # merging a seed temporarily needs it twice
    root = paths.outputs_root()
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    free_gb = shutil.disk_usage(existing).free / 1e9
    return make_row(
        f"disk: {needed_gb:,.0f} GB for {scale.problems:,} problems × {scale.num_seeds} seeds",
        f"{free_gb:,.0f} GB free in {root}",
        free_gb > needed_gb,
        "set SDG_OUTPUTS to a larger shared disk, or choose fewer problems or seeds",
    )
