"""Stages outside a run."""

from pathlib import Path

from sdg_helpers.stages import Stage


def stage_at(folder):
    """The stage of this folder, named as the folder is."""
    return Stage(folder, Path(folder).name)


def assert_named_once(track):
    """Every stage of a finished track has the same name in its manifest, in its folder and in runs/tracks.py."""
    names = {name: track.stage(name).require()["stage"] for name in track.stages}
    assert names == {name: name for name in track.stages} == {name: getattr(track, name).name for name in names}
