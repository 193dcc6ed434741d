"""The facts of a report, read from a run's manifests and history."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdg_helpers import runs
from sdg_helpers.budgets.budget import GPU_HOURS, HOURS, TOKENS, format_amount
from sdg_helpers.budgets.ledger import Ledger
from sdg_helpers.formatting import format_duration, format_size
from sdg_helpers.planning.measuring import measure_run
from sdg_helpers.planning.stored import planned_lines
from sdg_helpers.runs import history, status
from sdg_helpers.sft.filters import REASONS

_STEPS = (  # (stage, what its rows are); the first stages of a track that exist make the funnel
    ("problems", "problems"),
    ("clean", "questions without benchmark questions"),
    ("solutions", "solutions"),
    ("filtered", "solutions with a program"),
)
_VERDICTS = ("rejudged", "voted", "checked", "judged")


@dataclass
class RunFacts:
    """What a report says of one run and track. Tables are lists of rows, each a list of texts and numbers."""

    name: str
    track: str
    about: dict[str, Any]
    parameters: dict[str, dict[str, Any]]  # by stage
    stages: list[list[Any]]
    funnel: list[tuple[str, int]]
    dropped: list[tuple[str, str, int]]  # (stage, reason, rows)
    cost: list[list[Any]]
    spent: str = ""  # by the whole run, on all tracks; and what was planned
    labels: dict[str, Any] = field(default_factory=dict)
    expected_wrong: str = ""


def gather(folder: Path, track_name: str) -> RunFacts:
    """Read the facts of one track of a run. What is unfinished is left out of the tables and named in `stages`."""
    track = runs.Track(folder / track_name, track_name)
    manifests = {name: found for name in track.stages if (found := track.stage(name).manifest)}
    content = history.read(folder) or {}
    session = (content.get("sessions") or [{}])[-1]
    solved = manifests.get("solutions", {})
    about = {
        "profile": content.get("profile"),
        "model": solved.get("parameters", {}).get("model"),
        "prompt": solved.get("parameters", {}).get("prompt_name"),
        "judge": manifests.get("judged", {}).get("parameters", {}).get("model"),
        "begun": content.get("begun_at"),
        "finished": max((one.get("finished_at", "") for one in manifests.values()), default=None),
        "forked from": content.get("forked_from", {}).get("run"),
        "commit": session.get("git_commit"),
        "versions": ", ".join(f"{name} {version}" for name, version in session.get("versions", {}).items()),
    }
    exported = manifests.get("sft", {})
    return RunFacts(
        folder.name,
        track_name,
        {key: value for key, value in about.items() if value},
        {name: found.get("parameters", {}) for name, found in manifests.items()},
        [[one.stage, one.state, one.detail] for one in status.run_status(folder) if one.track == track_name],
        _funnel(manifests),
        [
            (name, reason, count)
            for name, found in manifests.items()
            for reason, count in found["counts"]["dropped"].items()
        ],
        _cost(folder, track_name),
        _spent_text(folder),
        manifests.get("relabeled", {}),
        _wrong_text(exported),
    )


def _funnel(manifests: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, int]]:
    """Return (what, rows) from problems to exported rows."""
    steps = [(what, int(manifests[name]["counts"]["rows_out"])) for name, what in _STEPS if name in manifests]
    verdicts = next((manifests[name].get("verdicts") for name in _VERDICTS if name in manifests), None)
    if verdicts:
        steps.append(("right solutions", int(verdicts.get("right", 0))))
    if "sft" in manifests:
        steps.append(("exported rows", int(manifests["sft"]["counts"]["rows_out"])))
    return steps


def _cost(folder: Path, track: str) -> list[list[Any]]:
    """Return [stage, requests, generated tokens, time, server-hours, GPU-hours, size on disk]; "" or NaN if unknown."""
    return [
        [
            one.Index,
            int(one.requests),
            int(one.tokens),
            "" if math.isnan(one.hours) else format_duration(3600 * one.hours),
            one.server_hours,
            one.gpu_hours,
            "" if math.isnan(one.megabytes) else format_size(int(1e6 * one.megabytes)),
        ]
        for one in measure_run(folder, track).itertuples()
    ]


def _spent_text(folder: Path) -> str:
    """Return what all sessions of the run have used, beside its plan if it has one."""
    spent = Ledger(folder).spent()
    units = [TOKENS, HOURS, *([GPU_HOURS] if spent.gpu_hours else []), *(spent.money or {})]
    used = ", ".join(format_amount(spent.amount(unit), unit) for unit in units)
    return "; ".join([f"Spent by the whole run: {used}", *planned_lines(folder)])


def _wrong_text(exported: Mapping[str, Any]) -> str:
    wrong = exported.get("expected_wrong")
    if not isinstance(wrong, dict):
        return ""
    rows = exported["counts"]["rows_out"]
    between = f"{wrong['low']:.1f} to {wrong['high']:.1f}"
    return f"{wrong['rows']:.1f} of {rows:,} exported rows are expected to be wrong ({between})"


def order_of(reason: str) -> int:
    """Return the place of a drop reason in the order in which filters apply."""
    return REASONS.index(reason) if reason in REASONS else len(REASONS)
