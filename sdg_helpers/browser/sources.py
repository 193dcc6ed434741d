"""The files of a track that the browser shows, as far as the run has written them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdg_helpers import runs
from sdg_helpers.errors import SdgError
from sdg_helpers.runs.run import Track
from sdg_helpers.solutions.seed_files import files_by_seed

_PROBLEMS = ("clean", "problems")  # the stages whose problems are solved, the last one first
_LABELS = ("relabeled", "voted")
_STORES = ("judged", "rejudged")


@dataclass(frozen=True)
class Sources:
    """The files of one track. solutions: (seed, path), merged files before those that are still written to."""

    track: Track
    problems: Path
    solutions: tuple[tuple[int, Path], ...]
    verdicts: Path | None
    labels: Path | None
    stores: tuple[Path, ...]
    failures: Path

    @property
    def exported(self) -> bool:
        """Whether the export has finished, so that it is known why a solution was dropped."""
        return (self.track.folder / "sft" / "manifest.json").exists()

    def state(self) -> list[list[Any]]:
        """Return [path in the run, size in bytes, time of change in ns] of every file; it changes when one does."""
        found = [path for _, path in self.solutions]
        found += [self.problems, *filter(None, (self.verdicts, self.labels)), *self.stores, self.failures]
        found += [self.track.folder / name / "manifest.json" for name in ("solutions", "sft")]
        run = self.track.folder.parent
        statuses = [(path, path.stat()) for path in found if path.exists()]
        return [[path.relative_to(run).as_posix(), status.st_size, status.st_mtime_ns] for path, status in statuses]


def find_sources(track: Track) -> Sources:
    """Return the files of a track. Raises SdgError when it has no problems yet."""
    problems = _first(track, _PROBLEMS, "problems.jsonl")
    if problems is None:
        raise SdgError(
            f"{track.folder}: there are no problems to show yet. Run the track's first notebook: "
            f"sdg run {track.name} --run {track.folder.parent.name} --to 01"
        )
    solutions = files_by_seed(track.folder / "solutions")
    stores = [track.folder / name / "comparisons.jsonl" for name in _STORES]
    return Sources(
        track,
        problems,
        tuple((seed, path) for seed, paths in solutions.items() for path in paths),
        track.verdicts(),
        _first(track, _LABELS, "labels.parquet"),
        tuple(path for path in stores if path.exists()),
        track.folder / "solutions" / "failures.jsonl",
    )


def begun_track(run: Path, name: str | None = None) -> Track:
    """Return a track of a run: the one of this name, or the first that has begun. Raises SdgError for none."""
    begun = [track for track in runs.STAGES if (run / track / "problems").is_dir()]
    if name is None and begun:
        name = begun[0]
    if name not in begun:
        wanted = f"no track {name!r}" if name else "no track yet"
        raise SdgError(
            f"run {run.name!r} has {wanted}. It has: {', '.join(begun) or 'none; start one with `sdg run`'}."
        )
    return Track(run / name, name)


def _first(track: Track, stages: tuple[str, ...], name: str) -> Path | None:
    paths = (track.folder / stage / name for stage in stages if stage in track.stages)
    return next((path for path in paths if path.exists()), None)
