"""The batch script that sbatch gets: a job array that runs `cluster.worker` on every node and requeues itself.

A task of the array requeues itself at its time limit, and when something that its work depends on crashed.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from sdg_helpers.cluster import preflight, this_job
from sdg_helpers.cluster.cluster_names import JOB_CLUSTER, split_cluster
from sdg_helpers.cluster.exit_codes import RAISED, RETURNED, TERMINATED, TIME_LIMIT
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.paths import PACKAGE

_HEALTHY_S = 3600  # after running this long, a job has all its restarts again
_REQUEUE = """\
code=$?
me=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID
case $code in
  {RETURNED} | {RAISED} | {TERMINATED}) again= ;;   # the end: finished, or an error that a retry cannot fix
  {TIME_LIMIT}) again=limit most={max_requeues} ;;
  *) again=died most={max_restarts} ;;
esac
# a job that is being cancelled or requeued by Slurm at this moment is not RUNNING: leave it alone
if [ -n "$again" ] && [ "$(squeue --noheader --jobs=$me --format=%T)" = RUNNING ]; then
  note={folder}/again-$me-$again
  if [ $SECONDS -ge {healthy_s} ]; then rm -f "$note"; fi   # it has run for long: its restarts count anew
  if [ "$(cat "$note" 2>/dev/null | wc -l)" -lt $most ]; then
    echo "$(date +%s) $code" >>"$note"
    scontrol requeue $me && sleep 300
  fi
fi
exit $code"""


def batch_script(
    spec: JobSpec, name: str, numbers: list[int], run: Path, folder: Path, log_folder: Path, after: str | None = None
) -> str:
    """Return the text of a submission's script.

    run: the run's folder, which containers mount. folder: the submission's. after: the id of an array that must end
    first, successfully or not.
    """
    import submitit

    executor = submitit.SlurmExecutor(folder=folder)
    executor.update_parameters(
        **_sbatch_parameters(spec, name, numbers, log_folder, after), **_shell_lines(spec, folder)
    )
    return executor._make_submission_file_text(_command(spec, run, folder), "")


def overriding_variables(spec: JobSpec) -> list[str]:
    """Return the environment variables (a user's defaults for sbatch) that would override what the profile sets."""
    names = [key for key in ("account", "partition", "qos", "reservation") if getattr(spec, key)] + list(spec.sbatch)
    return [f"SBATCH_{name.upper().replace('-', '_')}" for name in names]


def _sbatch_parameters(
    spec: JobSpec, name: str, numbers: list[int], log_folder: Path, after: str | None
) -> dict[str, Any]:
    """Return the options of sbatch under the names that submitit gives them."""
    gpus = f"{spec.gpu_type}:{spec.gpus_per_node}" if spec.gpu_type else spec.gpus_per_node
    more = {
        "array": ",".join(map(str, numbers)),
        "open-mode": "append",
        "output": str(log_folder).replace("%", "%%") + f"/%4a-{_submission_number(name)}.log",
        "requeue" if spec.max_requeues or spec.max_restarts else "no-requeue": True,
        **spec.sbatch,
    }
    if spec.reservation:
        more["reservation"] = spec.reservation
    if after:
        more["dependency"] = f"afterany:{split_cluster(after)[0]}"
    if spec.memory_gb is not None:
        more["mem"] = f"{round(spec.memory_gb * 1024)}M"
    return {
        "job_name": split_cluster(name)[0],
        "account": spec.account,
        "partition": spec.partition,
        "qos": spec.qos,
        "time": spec.time_limit_min,
        "nodes": spec.nodes,
        "ntasks_per_node": 1,
        "gpus_per_node": gpus if spec.gpus_per_node else None,
        "cpus_per_task": spec.cpus_per_task,
        "exclusive": spec.exclusive or None,
        "signal_delay_s": spec.stop_before_limit_s,
        "wckey": None,
        "stderr_to_stdout": True,
        "use_srun": False,
        "additional_parameters": more,
    }


def _submission_number(name: str) -> str:
    """Return a submission's number, which ends its job name."""
    return split_cluster(name)[0].rpartition("-")[2]


def _shell_lines(spec: JobSpec, folder: Path) -> dict[str, list[str]]:
    """Return the lines of shell that run before and after the work, on the first node."""
    package = shlex.quote(str(PACKAGE.parent))
    setup = [f"export {name}={shlex.quote(value)}" for name, value in spec.environment.items()]
    setup += [f"export {this_job.STOP_BEFORE_LIMIT}={spec.stop_before_limit_s} {JOB_CLUSTER}={spec.cluster or ''}"]
    if spec.cluster:  # here, Slurm's commands without a cluster are to ask this one
        setup += ["unset SLURM_CLUSTERS"]
    if spec.gpus_per_node:
        setup += [f"export {preflight.GPUS}={spec.gpus_per_node} {preflight.GPU_MEMORY}={spec.gpu_memory_gb:g}"]
    setup += [*spec.setup, f"export PYTHONPATH={package}${{PYTHONPATH:+:$PYTHONPATH}}", "unset SDG_OWNER_PID"]
    requeue = _REQUEUE.format(
        max_requeues=spec.max_requeues,
        max_restarts=spec.max_restarts,
        folder=shlex.quote(str(folder)),
        healthy_s=_HEALTHY_S,
        RETURNED=RETURNED,
        RAISED=RAISED,
        TERMINATED=TERMINATED,
        TIME_LIMIT=TIME_LIMIT,
    )
    return {"setup": setup, "teardown": requeue.splitlines()}


def _command(spec: JobSpec, run: Path, folder: Path) -> str:
    """Return the command that runs the worker, one rank a node; Slurm ends all ranks when one fails or exits."""
    srun = [
        "srun",
        "--unbuffered",
        "--kill-on-bad-exit=1",
        "--wait=60",
        *(["--label"] if spec.nodes > 1 else []),
        # since Slurm 22.05, srun ignores sbatch's --cpus-per-task
        *([f"--cpus-per-task={spec.cpus_per_task}"] if spec.cpus_per_task else []),
        *(_pyxis_options(spec, run) if spec.container_runtime == "pyxis" else []),
        *spec.srun,
        *(_apptainer_command(spec, run) if spec.container_runtime == "apptainer" else []),
    ]
    python = spec.python or ("python3" if spec.container_image else sys.executable)
    return shlex.join([*srun, python, "-u", "-m", "sdg_helpers.cluster.worker", str(folder)])


def _pyxis_options(spec: JobSpec, run: Path) -> list[str]:
    """Return srun's options for the pyxis plugin."""
    if not spec.container_image:
        return []
    return [f"--container-image={spec.container_image}", f"--container-mounts={','.join(_mounts(spec, run))}"]


def _apptainer_command(spec: JobSpec, run: Path) -> list[str]:
    """Return the words that run what follows them in an image of apptainer."""
    if not spec.container_image:
        return []
    gpus = ["--nv"] if spec.gpus_per_node else []
    return ["apptainer", "exec", *gpus, "--bind", ",".join(_mounts(spec, run)), spec.container_image]


def _mounts(spec: JobSpec, run: Path) -> list[str]:
    """Return what a container mounts: the package and the run's folder, under their paths, and the profile's own."""
    return [f"{path}:{path}" for path in (PACKAGE.parent, run)] + list(spec.container_mounts)
