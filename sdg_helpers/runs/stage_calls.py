"""Call a stage's function here, or in a job where the profile says so."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from sdg_helpers.errors import SdgError
from sdg_helpers.stages import Stage, Unfinished, only_if_finished

if TYPE_CHECKING:
    from sdg_helpers.cluster.jobs import JobSpec

Manifest = dict[str, Any]
_OFFLINE = (
    "If the nodes have no internet, set `jobs: download: {where: local}` in the profile: downloads then run where the "
    "driver runs. Start that one on the login node, without --submit, up to the last notebook that downloads."
)


def call_stage(role: str, jobs: JobSpec | None, stage: Stage, work: Callable[[], Manifest]) -> Manifest:
    """Return the manifest that `work` makes: in this process without `jobs`, else in a job of this role.

    work: calls the function that writes the stage. A finished stage needs no job. Raises SdgError.
    """
    if jobs is None:
        return work()
    from sdg_helpers import cluster

    try:
        cluster.run_one(partial(_call_in_job, work=work), jobs, stage.folder, partial(_is_finished, work))
    except SdgError as error:
        if role != "download":
            raise
        raise SdgError(f"{error}\n{_OFFLINE}") from None
    return work()  # reads the manifest


def _is_finished(work: Callable[[], Manifest]) -> bool:
    """Return whether a call would only return the manifest. Raises SdgError for changed settings."""
    try:
        with only_if_finished():
            work()
    except Unfinished:
        return False
    return True


def _call_in_job(number: int, count: int, *, work: Callable[[], Manifest]) -> None:
    from sdg_helpers.cluster import ranks

    ranks.idle_unless_first()
    work()
