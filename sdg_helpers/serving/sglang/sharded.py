"""Check that a folder of shards is complete and fits a server's tp_size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.errors import SdgError

MANIFEST = "sharded.json"


def check_sharded(folder: Path, tp_size: int) -> dict[str, Any]:
    """Return the manifest of a sharded checkpoint that a server of this tp_size can load.

    Raises SdgError for a folder without a manifest, of another tp_size, or with missing or changed files.
    """
    folder = Path(folder).expanduser()
    manifest = files.read_json(folder / MANIFEST)
    if manifest is None:
        raise SdgError(
            f"{folder}: not a complete sharded checkpoint (no {MANIFEST}, which is written last). Run stage 02, which "
            "writes it."
        )
    if manifest["tp_size"] != tp_size:
        raise SdgError(
            f"{folder}: these shards are for tp_size {manifest['tp_size']}, not {tp_size}. Set tp_size: "
            f"{manifest['tp_size']}, or shard again into another folder."
        )
    for name, size in manifest["files"].items():
        found = (folder / name).stat().st_size if (folder / name).is_file() else None
        if found != size:
            raise SdgError(
                f"{folder / name}: {MANIFEST} records {size} bytes, found {'no file' if found is None else found}. "
                f"Remove {folder} and run stage 02 again."
            )
    return manifest
