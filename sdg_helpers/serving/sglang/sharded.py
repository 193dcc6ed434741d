"""A folder of shards: whether it is the one that a server of some tp_size can load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.errors import SdgError

MANIFEST = "sharded.json"


def check_sharded(folder: Path, tp_size: int) -> dict[str, Any]:
    """The manifest of a sharded checkpoint, if a server of this tp_size can load it.

    Raises SdgError for a folder without manifest, of another tp_size, or with files that are not as they were written.
    """
    folder = Path(folder).expanduser()
    manifest = files.read_json(folder / MANIFEST)
    if manifest is None:
        raise SdgError(
            f"{folder}: expected a sharded checkpoint (a {MANIFEST}), found none. Run stage 02, which "
            "writes it; a sharding that broke off leaves none."
        )
    if manifest["tp_size"] != tp_size:
        raise SdgError(
            f"{folder}: expected shards for tp_size {tp_size}, found them for {manifest['tp_size']}. Set "
            f"tp_size: {manifest['tp_size']}, or shard once more into another folder."
        )
    for name, size in manifest["files"].items():
        found = (folder / name).stat().st_size if (folder / name).is_file() else None
        if found != size:
            raise SdgError(
                f"{folder / name}: expected {size} bytes, as {MANIFEST} says, found "
                f"{'no file' if found is None else found}. Remove {folder} and run stage 02 again."
            )
    return manifest
