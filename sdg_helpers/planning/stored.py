"""The plan that a run was begun with, kept in its folder, and what has been spent of it."""

from __future__ import annotations

from pathlib import Path

from sdg_helpers import files
from sdg_helpers.budgets.budget import GPU_HOURS, HOURS, TOKENS, TOTAL_TOKENS, format_amount
from sdg_helpers.budgets.ledger import Ledger
from sdg_helpers.errors import SdgError
from sdg_helpers.planning.estimate import Range

_FILE = "plan.json"


def save_plan(run: Path, found: dict[str, Range], currency: str) -> None:
    """Keep a plan's totals, by the units of budgets, as the plan of a run, which need not have begun.

    found: from `ranges`, without gpu_hours if no GPUs are known. currency: of its money, "" without prices.
    """
    amounts = {TOKENS: found["tokens"], HOURS: found["hours"]}
    amounts[TOTAL_TOKENS] = Range(*(sum(pair) for pair in zip(found["tokens"], found["prompt_tokens"], strict=True)))
    if "gpu_hours" in found:
        amounts[GPU_HOURS] = found["gpu_hours"]
    if currency:
        amounts[currency] = found["money"]
    files.write_json(run / _FILE, {unit: amount._asdict() for unit, amount in amounts.items() if amount.value})


def planned_lines(run: Path) -> list[str]:
    """Return the line of `sdg status` about the plan: what is planned, and how much of it is spent; [] without one."""
    path = run / _FILE
    content = files.read_json(path)
    if content is None:
        return []
    try:
        planned = {str(unit): float(amount["value"]) for unit, amount in content.items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise SdgError(f"{path}: not a plan. Make it again with `sdg plan … --for {run.name}`, or delete it.") from None
    spent = Ledger(run).spent()
    parts = [
        f"{format_amount(amount, unit)} ({spent.amount(unit) / amount:.0%} spent)"
        for unit, amount in planned.items()
        if amount
    ]
    return [f"planned: {', '.join(parts)}"]
