"""The script that sbatch is given: a job array whose tasks run sdg_helpers.cluster.worker, one rank a node, and
requeue themselves when their time is up or something under them died."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from sdg_helpers.cluster.exit_codes import RAISED, RETURNED, TERMINATED, TIME_LIMIT
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.paths import PACKAGE

_AGAIN = """\
code=$?
me=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID
case $code in
  {RETURNED} | {RAISED} | {TERMINATED}) again= ;;   # it is over: done, or an error that another try does not mend
  {TIME_LIMIT}) again=limit most={limit} ;;
  *) again=died most={died} ;;
esac
# a job that somebody cancels or that Slurm requeues at this moment is not RUNNING: leave it alone
if [ -n "$again" ] && [ "$(squeue --noheader --jobs=$me --format=%T)" = RUNNING ]; then
  note={folder}/again-$me-$again
  if [ "$(cat "$note" 2>/dev/null | wc -l)" -lt $most ]; then
    echo "$(date +%s) $code" >>"$note"
    scontrol requeue $me && sleep 300
  fi
fi
exit $code"""


def batch_script(
    spec: JobSpec, name: str, chunks: list[int], folder: Path, log_folder: Path, after: str | None = None
) -> str:
    """The text of a submission's script.

    folder: the submission's; after: the id of an array that must have ended before, however it did.
    """
    import submitit

    executor = submitit.SlurmExecutor(folder=folder)
    executor.update_parameters(**_parameters(spec, name, chunks, log_folder, after), **_lines(spec, folder))
    return executor._make_submission_file_text(_command(spec, folder), "")


def decided(spec: JobSpec) -> list[str]:
    """The environment variables by which a person's sbatch defaults would overrule what the profile says."""
    return [f"SBATCH_{key.upper()}" for key in ("account", "partition", "qos") if getattr(spec, key)] + [
        f"SBATCH_{key.upper().replace('-', '_')}" for key in spec.sbatch
    ]


def _parameters(spec: JobSpec, name: str, chunks: list[int], log_folder: Path, after: str | None) -> dict[str, Any]:
    """sbatch's own parameters, in submitit's words."""
    gpus = f"{spec.gpu_type}:{spec.gpus_per_node}" if spec.gpu_type else spec.gpus_per_node
    more = {
        "array": _array(chunks, spec.max_parallel),
        "open-mode": "append",
        "output": str(log_folder).replace("%", "%%") + f"/%4a-{folder_number(name)}.log",
        "requeue" if spec.max_requeues or spec.max_restarts else "no-requeue": True,
        **spec.sbatch,
    }
    if after:
        more["dependency"] = f"afterany:{after}"
    if spec.memory_gb is not None:
        more["mem"] = f"{round(spec.memory_gb * 1024)}M"
    return {
        "job_name": name,
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


def folder_number(name: str) -> str:
    """The number of the submission at the end of a job's name."""
    return name.rpartition("-")[2]


def _array(chunks: list[int], max_parallel: int) -> str:
    cap = f"%{max_parallel}" if max_parallel else ""
    return ",".join(map(str, chunks)) + cap


def _lines(spec: JobSpec, folder: Path) -> dict[str, list[str]]:
    """What runs before and after the work, on the first node."""
    package = shlex.quote(str(PACKAGE.parent))
    setup = [f"export {name}={shlex.quote(value)}" for name, value in spec.environment.items()]
    setup += [*spec.setup, f"export PYTHONPATH={package}${{PYTHONPATH:+:$PYTHONPATH}}", "unset SDG_OWNER_PID"]
    again = _AGAIN.format(
        limit=spec.max_requeues,
        died=spec.max_restarts,
        folder=shlex.quote(str(folder)),
        RETURNED=RETURNED,
        RAISED=RAISED,
        TERMINATED=TERMINATED,
        TIME_LIMIT=TIME_LIMIT,
    )
    return {"setup": setup, "teardown": again.splitlines()}


def _command(spec: JobSpec, folder: Path) -> str:
    """srun and the worker: one rank a node; when a rank fails, or ends first, Slurm ends the others."""
    srun = [
        "srun",
        "--unbuffered",
        "--kill-on-bad-exit=1",
        "--wait=60",
        *(["--label"] if spec.nodes > 1 else []),
        # sbatch's --cpus-per-task does not reach srun by itself since Slurm 22.05
        *([f"--cpus-per-task={spec.cpus_per_task}"] if spec.cpus_per_task else []),
        *_container(spec, folder),
        *spec.srun,
    ]
    python = spec.python or ("python3" if spec.container_image else sys.executable)
    return shlex.join([*srun, python, "-u", "-m", "sdg_helpers.cluster.worker", str(folder)])


def _container(spec: JobSpec, folder: Path) -> list[str]:
    """Flags of the pyxis plugin; what the worker itself needs is mounted under its own name."""
    if not spec.container_image:
        return []
    run = folder.parents[5]  # RUN/track/stage/jobs/submissions/0001/TOKEN
    mounts = [f"{path}:{path}" for path in (PACKAGE.parent, run)] + list(spec.container_mounts)
    return [f"--container-image={spec.container_image}", f"--container-mounts={','.join(mounts)}"]
