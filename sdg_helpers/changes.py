"""What differs between how a stage was begun and how it is opened now, and which differences only add to it."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdg_helpers import manifests
from sdg_helpers.fingerprints import has_hash, same_content, same_hash


@dataclass(frozen=True)
class Change:
    """A parameter or input that differs. line: how, for people; grows: whether it only adds to what there is; shrinks:
    whether it would have grown the other way round."""

    name: str
    line: str
    grows: bool
    shrinks: bool = False


def find_changes(
    known: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path, may_grow: Container[str]
) -> list[Change]:
    """Compare two records of a stage, each with `parameters` and `inputs`.

    may_grow: parameters that may become larger, and inputs of which the stage itself checks what has changed. An input
    also grows when the stage that writes it has grown from the version that was read.
    """
    changes = [
        Change(
            name,
            f"{name}: was {was!r}, now {now!r}",
            name in may_grow and is_larger(was, now),
            name in may_grow and is_larger(now, was),
        )
        for name, was, now in _parameters(known.get("parameters", {}), wanted["parameters"])
    ]
    for name in sorted({*known.get("inputs", {}), *wanted["inputs"]}):
        before, after = (side.get("inputs", {}).get(name) or {} for side in (known, wanted))
        if not before or not after or not same_content(before, after, _path(folder, after)):
            line = (
                f"input {name}: its content has changed ({before.get('bytes')} bytes then, {after.get('bytes')} now, "
                f"{after.get('path') or before.get('path')})"
            )
            changes.append(Change(name, line, name in may_grow or (bool(after) and _grew(folder, before, after))))
    return changes


def is_larger(before: Any, after: Any) -> bool:
    """Return whether a number has become larger; None is no limit."""
    numbers = all(
        one is None or (isinstance(one, (int, float)) and not isinstance(one, bool)) for one in (before, after)
    )
    return numbers and before is not None and (after is None or after > before)


def _grew(folder: Path, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether the stage that writes an input has grown since it was read. before: {} for an input that is new."""
    path = _path(folder, after)
    return any(_is_state(state.get(path.name, {}), before) for state in manifests.earlier_outputs(path))


def _is_state(state: Mapping[str, Any], read: Mapping[str, Any]) -> bool:
    """Whether an earlier state of a file is the one that was read. Nothing is known of a file that did not exist."""
    same = same_hash(state, read)
    return not (has_hash(state) or has_hash(read)) if same is None else same


def _path(folder: Path, known: Mapping[str, Any]) -> Path:
    return Path(os.path.normpath(folder / known["path"]))


def _parameters(before: Mapping[str, Any], after: Mapping[str, Any], of: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (name, before, after) of what differs; in a nested mapping only what differs ("filters.deduplicate")."""
    for key in sorted({*before, *after}):
        was, now = before.get(key), after.get(key)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from _parameters(was, now, f"{of}{key}.")
        elif was != now:
            yield f"{of}{key}", was, now
