"""Drop a stage's results and all that was made from them."""
from __future__ import annotations

import shutil
from pathlib import Path

from .. import files
from ..errors import SdgError, did_you_mean
from . import STAGES, StageInfo


def downstream(track: str, stage: str) -> list[StageInfo]:
    """The stage and all that is made from it, in order."""
    dropped: list[StageInfo] = []
    for info in STAGES[track]:
        if info.name == stage or {one.name for one in dropped} & set(info.needs):
            dropped.append(info)
    return dropped


def find_stage(text: str) -> tuple[str, StageInfo]:
    """(track, stage) for "math/solutions", or for "solutions" where only one track has it."""
    known = {f"{track}/{info.name}": (track, info) for track, infos in STAGES.items() for info in infos}
    found = [key for key in known if text in (key, key.split("/")[1])]
    if len(found) != 1:
        raise SdgError(f"stage {text!r}: expected one of {', '.join(known)}.{did_you_mean(text, known)}")
    return known[found[0]]


def reset_stages(folder: Path, track: str, infos: list[StageInfo]) -> None:
    """Remove these stages' results, manifests first; raises SdgError while one of them is at work."""
    for info in reversed(infos):
        stage = folder / track / info.name
        if stage.is_dir():
            with files.Lock(stage / ".lock", f"stage {track}/{info.name} of {folder.name}"):
                (stage / "manifest.json").unlink(missing_ok=True)
                shutil.rmtree(stage)
        (folder / "notebooks" / f"{info.notebook}.json").unlink(missing_ok=True)


def megabytes(folder: Path) -> float:
    """What the files of a folder take, in MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
