"""Stages outside a run."""

from pathlib import Path

from sdg_helpers import files
from sdg_helpers.stages import Stage


def stage_at(folder):
    """The stage of this folder, named as the folder is."""
    return Stage(folder, Path(folder).name)


def write_manifest(folder, **more):
    """Make a folder a complete stage whose files a test has written itself."""
    files.write_json(folder / "manifest.json", {"counts": {"rows_in": 0, "rows_out": 0, "dropped": {}}, **more})


def assert_named_once(track):
    """Every stage of a finished track has the same name in its manifest, in its folder and in runs/tracks.py."""
    names = {name: track.stage(name).require()["stage"] for name in track.stages}
    assert names == {name: name for name in track.stages} == {name: getattr(track, name).name for name in names}
