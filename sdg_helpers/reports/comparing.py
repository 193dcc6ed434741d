"""Two runs side by side: which settings differ, and what that did."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from sdg_helpers.reports.gathering import RunFacts


def changed_settings(one: RunFacts, other: RunFacts) -> list[list[Any]]:
    """Return [stage, parameter, value in one, value in the other] of every parameter that differs, and one row for a
    stage that only one of the runs has finished."""
    rows = []
    for stage in dict.fromkeys((*one.parameters, *other.parameters)):
        if stage not in one.parameters or stage not in other.parameters:
            done = ["finished" if stage in facts.parameters else "not finished" for facts in (one, other)]
            rows.append([stage, "", *done])
            continue
        before, after = (dict(_flat(facts.parameters.get(stage, {}))) for facts in (one, other))
        for key in dict.fromkeys((*before, *after)):
            if before.get(key) != after.get(key):
                rows.append([stage, key, before.get(key, "–"), after.get(key, "–")])
    return rows


def _flat(values: Mapping[str, Any], of: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        found += _flat(value, f"{of}{key}.") if isinstance(value, Mapping) else [(f"{of}{key}", value)]
    return found


def changed_counts(one: RunFacts, other: RunFacts) -> list[list[Any]]:
    """Return [what, in one, in the other, difference] of the funnel, the labels, and the drop reasons of
    stages that both have finished."""
    both = one.parameters.keys() & other.parameters.keys()
    sides = [_counts(one, both), _counts(other, both)]
    names = dict.fromkeys((*sides[0], *sides[1]))
    return [
        [name, *(side.get(name, 0) for side in sides), sides[1].get(name, 0) - sides[0].get(name, 0)] for name in names
    ]


def _counts(facts: RunFacts, stages: Container[str]) -> dict[str, int]:
    counts = dict(facts.funnel)
    counts |= {f"dropped in {stage}: {reason}": rows for stage, reason, rows in facts.dropped if stage in stages}
    counts |= {f"labels: {decision}": rows for decision, rows in facts.labels.get("problems", {}).items()}
    tokens = sum(int(row[2]) for row in facts.cost if row[0] in stages)
    return {**counts, "generated tokens": tokens}
