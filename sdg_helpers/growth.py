"""Growing a stage: more seeds, more problems or a longer limit add to what it has made.

A finished stage that grows is begun again over its own files. Rows that cost a model are kept, tables are computed
again. Its manifest is put aside until the stage is finished again, so that growing can be given up.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdg_helpers import files, manifests
from sdg_helpers.changes import find_changes

_EARLIER = "manifest-before-growth.json"
_SESSION = "session-earlier.json"
_STATE = ("parameters", "inputs", "counts", "outputs", "finished_at")


def add_state(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the growth of a stage with the state in its manifest or begun.json added: a list, oldest first.

    A state has parameters and inputs; if the stage was finished, also counts, outputs and finished_at.
    """
    return [*record.get("growth", ()), {key: record[key] for key in _STATE if key in record}]


def reopen(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Make a finished stage unfinished; begun.json must say how it goes on. A call that was killed can be repeated."""
    save_usage(folder, manifest.get("requests") or {})
    os.replace(folder / "manifest.json", folder / _EARLIER)


def save_usage(folder: Path, requests: Mapping[str, Any]) -> None:
    """Save what a finished stage used as one session of the unfinished one, so that the sum stays right.

    Sessions that its manifest counts already are dropped; those of a growth that was given up are newer, and stay.
    """
    finished_at = (folder / "manifest.json").stat().st_mtime_ns
    for path in (folder / "partial").glob("session-*.json"):
        if path.stat().st_mtime_ns <= finished_at:
            path.unlink()
    if requests:
        session = {**requests, "rows": requests.get("done", 0), "updated_at": 0, "in_flight": 0}
        files.write_json(folder / "partial" / _SESSION, session)


def give_up(folder: Path, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return to the finished state before growing if `wanted` describes it and its files are intact.

    Returns its manifest, or None. What was added so far stays in partial/ and is used if the stage grows again.
    """
    earlier = files.read_json(folder / _EARLIER)
    if earlier is None or find_changes(earlier, wanted, folder, ()) or manifests.find_damage(folder, earlier):
        return None
    (folder / "partial" / _SESSION).unlink(missing_ok=True)
    restore(folder)
    (folder / "begun.json").unlink()
    return manifests.read_manifest(folder)


def restore(folder: Path) -> None:
    """Put the manifest of the state before growing back, if there is one."""
    if (folder / _EARLIER).exists():
        os.replace(folder / _EARLIER, folder / "manifest.json")


def finish(folder: Path) -> None:
    """Forget the manifest of the state before growing: a new one is written."""
    (folder / _EARLIER).unlink(missing_ok=True)


def describe(states: Sequence[Mapping[str, Any]], parameters: Mapping[str, Any]) -> str:
    """Return how a finished stage has grown, such as "grown (num_seeds 2, 4, 8)"; "" if it has not.

    states: its manifest's `growth`; parameters: today's.
    """
    finished = [state for state in states if "outputs" in state]
    if not finished:
        return ""
    values = {key: [state["parameters"].get(key) for state in finished] + [parameters[key]] for key in parameters}
    changed = {key: list(map(str, found)) for key, found in values.items() if any(one != found[0] for one in found)}
    rows = [f"{state['counts']['rows_in']:,}" for state in finished]
    texts = [f"{key} {', '.join(dict.fromkeys(found))}" for key, found in changed.items()]
    return f"grown ({'; '.join(texts)})" if texts else f"grown (from {', '.join(dict.fromkeys(rows))} rows)"
