"""Choose the problems of a preview from the whole source: its first rows are often the easiest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from sdg_helpers import files
from sdg_helpers.problems.download import download_problems
from sdg_helpers.problems.problem_file import read_problems
from sdg_helpers.problems.sources import source_file
from sdg_helpers.profiles import Profile, load_profile
from sdg_helpers.stages import Stage

_FROM_HUB = 1000  # problems of a dataset on the hub to draw from; of a file all are


class Sample(NamedTuple):
    """A file with the drawn problems; of: how many the source has, None when it was not read to the end."""

    path: Path
    size: int
    of: int | None


def draw_sample(folder: Path, parameters: Mapping[str, Any], count: int) -> Sample:
    """Write `count` problems to sample.jsonl, always the same ones, spread evenly over the lengths of the problems.

    Longer problems have longer solutions, so that this says more of the whole than as many random ones.
    parameters: of notebook Math 01. Raises SdgError as that notebook does.
    """
    limit, local = parameters["MAX_PROBLEMS"] or None, is_local(parameters["SOURCE"])
    most = limit if local else min(limit or _FROM_HUB, _FROM_HUB)
    stage = Stage(folder / "preview" / "source", "source")
    manifest = download_problems(
        stage,
        source=parameters["SOURCE"],
        columns=parameters["COLUMNS"],
        revision=parameters["REVISION"] or None,
        splits=parameters["SPLITS"],
        drop_types=parameters["DROP_TYPES"],
        max_problems=most,
        max_bad_rows=parameters["MAX_BAD_ROWS"],
    )
    found = manifest["counts"]["rows_out"]
    lengths = [len(row["problem"]) for row in read_problems(stage.folder / "problems.jsonl")]
    chosen = spread_evenly(lengths, count)
    path = folder / "preview" / "sample.jsonl"
    rows = (row for number, row in enumerate(read_problems(stage.folder / "problems.jsonl")) if number in chosen)
    with files.atomic_writer(path) as out:
        out.writelines(files.dumps(row) for row in rows)
    known = local or found < _FROM_HUB or (limit is not None and limit <= _FROM_HUB)
    return Sample(path, len(chosen), found if known else limit)


def spread_evenly(lengths: Sequence[int], count: int) -> set[int]:
    """Return the positions of `count` values, the middle ones of as many equal parts of all in their order."""
    order, count = np.argsort(np.array(lengths), kind="stable"), min(count, len(lengths))
    return {int(order[(2 * part + 1) * len(lengths) // (2 * count)]) for part in range(count)}


def is_local(source: str) -> bool:
    """Return whether a SOURCE is read from this machine."""
    return source == "demo" or source_file(source) is not None


def preview_profile(profile: Profile, folder: Path) -> Profile:
    """Return the profile to preview with: on a cluster, one with a single job per stage, which is written to folder."""
    jobs = {role: profile.jobs.spec(role) for role in ("generate", "judge")}
    if all(spec.where == "local" for spec in jobs.values()):
        return profile
    content = profile.model_dump(exclude_unset=True, mode="json", exclude={"extends"})
    for role in jobs:
        content.setdefault("jobs", {}).setdefault(role, {}).update(servers=1)
    path = folder / "preview" / "profile.yaml"
    with files.atomic_writer(path) as out:
        out.write(yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())
    return load_profile(path)
