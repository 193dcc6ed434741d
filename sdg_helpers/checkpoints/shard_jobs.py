"""Stage 02, run: download the checkpoint and shard it, as jobs where the profile says so."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from sdg_helpers import cluster
from sdg_helpers.checkpoints import downloading
from sdg_helpers.checkpoints.downloading import OnProgress, download_checkpoint
from sdg_helpers.checkpoints.sharding import shard_checkpoint
from sdg_helpers.cluster import ranks
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.errors import SdgError
from sdg_helpers.runs.run import Run
from sdg_helpers.serving.server_specs import SglangSpec
from sdg_helpers.serving.sglang.sharded import MANIFEST, check_sharded
from sdg_helpers.stages import Stage


def make_shards(
    run: Run,
    stage: Stage,
    *,
    checkpoint: str,
    tp_size: int,
    revision: str = "main",
    role: str = "solver",
    on_progress: OnProgress | None = None,
) -> dict[str, Any] | None:
    """Write the sharded checkpoint that a role's server loads; return its manifest, or None when none is needed.

    None is needed unless the server's `load_format` is sharded_state. checkpoint: a folder, or a model on the hub,
    which is first downloaded next to the shards. stage: its folder records the jobs.
    on_progress(bytes done, total bytes): called during a download in this process. Does nothing when the shards exist.
    Raises SdgError.
    """
    spec = run.profile.server(role)
    if spec.engine != "sglang" or spec.load_format != "sharded_state":
        return None
    if spec.tp_size != tp_size:
        raise SdgError(
            f"TP_SIZE is {tp_size}, but the profile's {role} has tp_size {spec.tp_size}. Set them to the same value."
        )
    folder = Path(spec.model).expanduser().absolute()
    if not (folder / MANIFEST).exists():
        source = Path(checkpoint).expanduser()
        if not (source / "config.json").exists():
            source = folder.parent / checkpoint.rpartition("/")[2]
            _download(stage.folder, checkpoint, source, revision, run.jobs("download"), on_progress)
        _shard(stage.folder, source, folder, spec, run.servers.absolute(), run.jobs("shard"))
    return check_sharded(folder, tp_size)


def _download(
    stage: Path, repo: str, folder: Path, revision: str, jobs: JobSpec | None, on_progress: OnProgress | None
) -> None:
    if jobs is None:
        download_checkpoint(repo, folder, revision, on_progress)
        return
    beside = stage.with_name(f"{stage.name}-download")  # separate from the jobs that shard
    function = partial(_download_in_job, repo=repo, folder=folder, revision=revision)
    cluster.run_one(function, jobs, beside, (folder / downloading.MANIFEST).exists)


def _download_in_job(number: int, count: int, *, repo: str, folder: Path, revision: str) -> None:
    ranks.idle_unless_first()
    download_checkpoint(repo, folder, revision)


def _shard(stage: Path, source: Path, folder: Path, spec: SglangSpec, logs: Path, jobs: JobSpec | None) -> None:
    if jobs is None:
        shard_checkpoint(source, folder, spec, logs)
        return
    function = partial(_shard_in_job, source=source.absolute(), folder=folder, spec=spec, logs=logs)
    cluster.run_one(function, jobs, stage, (folder / MANIFEST).exists)


def _shard_in_job(number: int, count: int, *, source: Path, folder: Path, spec: SglangSpec, logs: Path) -> None:
    shard_checkpoint(source, folder, spec, logs)
