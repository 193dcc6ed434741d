"""Grow a problems file: a longer one may replace it only if it begins with the same rows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path

from sdg_helpers.errors import SdgError
from sdg_helpers.fingerprints import BLOCK, remember_renamed
from sdg_helpers.stages import Work


@contextmanager
def grown_files(work: Work, *names: str) -> Iterator[list[Path]]:
    """Yield the paths to which the files of a stage are to be written; when it grows, they replace the earlier ones in
    the end. Raises SdgError, with the earlier files unchanged, if earlier rows would change."""
    paths = [work.folder / name for name in names]
    if not any("outputs" in state for state in work.growth):
        yield paths
        return
    longer = [path.with_name(f"grown-{path.name}") for path in paths]
    try:
        yield longer
        for old, new in zip(paths, longer, strict=True):
            check_appended(old, new)
        for old, new in zip(paths, longer, strict=True):
            os.replace(new, old)
            remember_renamed(new, old)
    finally:
        for path in longer:
            path.unlink(missing_ok=True)


def check_appended(old: Path, new: Path) -> None:
    """Raise SdgError, naming the first row that differs, unless `new` begins with the rows of `old`."""
    with open(old, "rb", buffering=BLOCK) as before, open(new, "rb", buffering=BLOCK) as after:
        for number, (was, now) in enumerate(zip_longest(before, after), 1):
            if was is None:
                return
            if was != now:
                what = "is missing" if now is None else f"would become {_excerpt(now)}"
                raise SdgError(
                    f"{old}, row {number}: {_excerpt(was)} {what}. A run grows only by problems after those that it "
                    "has; nothing was changed. Restore the source's earlier rows (and add new ones at its end), or use "
                    "another run name."
                )


def _excerpt(line: bytes) -> str:
    text = line.rstrip(b"\n").decode("utf-8", "replace")
    return text if len(text) <= 100 else f"{text[:100]}…"
