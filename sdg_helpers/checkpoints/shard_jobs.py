"""Stage 02, run: download the models and shard the checkpoint, as jobs where the profile says so."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

from sdg_helpers import cluster, files
from sdg_helpers.checkpoints import downloading
from sdg_helpers.checkpoints.downloading import OnProgress, download_checkpoint
from sdg_helpers.checkpoints.sharding import shard_checkpoint
from sdg_helpers.cluster import ranks
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.errors import SdgError
from sdg_helpers.profiles import Servers
from sdg_helpers.runs.run import Run
from sdg_helpers.serving.server_specs import SglangSpec
from sdg_helpers.serving.sglang.sharded import MANIFEST, check_sharded
from sdg_helpers.stages import Stage

_REPO = re.compile(r"[\w.-]+/[\w.-]+")  # owner/name on the hub


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
            beside = _beside(stage, "download")  # separate from the jobs that shard
            _download(beside, checkpoint, source, revision, run.jobs("download"), on_progress)
        _shard(stage.folder, source, folder, spec, run.servers.absolute(), run.jobs("shard"))
    return check_sharded(folder, tp_size)


def download_models(run: Run, stage: Stage, *, on_progress: OnProgress | None = None) -> dict[str, int]:
    """Download what the profile's SGLang servers load as it is, and is not there yet; return each folder's bytes.

    A server whose `model` is a folder and whose `served_model_name` is a model on the hub gets that one. Raises
    SdgError.
    """
    sizes = {}
    for role in Servers.model_fields:
        spec = getattr(run.profile.servers, role)
        if spec is None or spec.engine != "sglang" or spec.load_format == "sharded_state":
            continue
        folder = Path(spec.model).expanduser()
        if not spec.model.startswith(("/", "~", ".")) or not _REPO.fullmatch(spec.served_model):
            continue
        if not _is_there(folder):
            beside = _beside(stage, f"download-{role}")
            _download(beside, spec.served_model, folder.absolute(), "main", run.jobs("download"), on_progress)
        sizes[str(folder)] = files.folder_bytes(folder)
    return sizes


def _is_there(folder: Path) -> bool:
    """Whether a model was downloaded into the folder, by us or by hand."""
    begun = (folder / downloading.LOCK).exists()
    return (folder / downloading.MANIFEST).exists() or (not begun and (folder / "config.json").exists())


def _beside(stage: Stage, what: str) -> Path:
    return stage.folder.with_name(f"{stage.folder.name}-{what}")


def _download(
    beside: Path, repo: str, folder: Path, revision: str, jobs: JobSpec | None, on_progress: OnProgress | None
) -> None:
    if jobs is None:
        download_checkpoint(repo, folder, revision, on_progress)
        return
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
