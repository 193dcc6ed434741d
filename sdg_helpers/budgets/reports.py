"""What a run has spent and what is left, in words: for the live line, `sdg status`, and the message at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdg_helpers.budgets.budget import (
    HOURS,
    Budget,
    format_amount,
    format_bare,
    parse_budget,
    read_budget,
    unit_problem,
)
from sdg_helpers.budgets.ledger import Ledger, Spent
from sdg_helpers.errors import SdgError

if TYPE_CHECKING:
    from sdg_helpers.profiles import Profile

_MORE = 1.1  # suggest a budget with some room


def check_budget(text: str, run: Path, profile: Profile) -> Budget:
    """Read the budget of a run and return it.

    Raises SdgError for one that cannot be read, that the profile's servers cannot be counted in, or that is spent.
    """
    budget = parse_budget(text)
    check_unit(budget, profile)
    spent = Ledger(run).spent().amount(budget.unit)
    if spent >= budget.amount:
        raise SdgError(
            f"--budget {text!r}: run {run.name!r} has already spent {format_amount(spent, budget.unit)}. A budget "
            "counts from the beginning of the run: give a larger one, or `--budget none` to lift it."
        )
    return budget


def check_unit(budget: Budget, profile: Profile) -> None:
    """Raise SdgError when the use of one of the profile's servers cannot be counted in the budget's unit."""
    for role in profile.servers.model_fields_set:
        if (spec := getattr(profile.servers, role)) is None:
            continue
        if problem := unit_problem(budget, role, spec.gpus, spec.prices):
            raise SdgError(f"--budget {budget.text!r}, {profile.path}: {problem}")


def spending_text(ledger: Ledger) -> str:
    """Return what is spent for the live line: "1.2M of 2M tokens"; without a budget, the money if there are prices."""
    budget, spent = read_budget(ledger.run), ledger.spent()
    if budget is not None:
        amount = format_bare(spent.amount(budget.unit), budget.unit)
        return f"{amount} of {format_amount(budget.amount, budget.unit)}"
    return _money(spent)


def status_lines(run: Path) -> list[str]:
    """Return the lines of `sdg status` about spending; [] for a run that has asked no server."""
    budget, spent = read_budget(run), Ledger(run).spent()
    parts = [
        f"{format_bare(spent.completion_tokens, 'tokens')} generated tokens",
        f"{format_bare(spent.prompt_tokens, 'tokens')} of prompts",
        *([f"{spent.gpu_hours:,.1f} gpu-hours"] if spent.gpu_hours else []),
        *([_money(spent)] if spent.money else []),
        f"{format_amount(spent.hours, HOURS)} at work",
        *([f"{spent.estimated:,} replies without a token count estimated"] if spent.estimated else []),
    ]
    lines = [f"spent: {', '.join(parts)}"] if spent.prompt_tokens or spent.completion_tokens else []
    if budget is not None:
        amount = spent.amount(budget.unit)
        left = max(0.0, budget.amount - amount)
        lines.append(
            f"budget: {format_amount(budget.amount, budget.unit)}, of which {amount / budget.amount:.1%} are spent, "
            f"{format_amount(left, budget.unit)} left"
        )
    return lines


def _money(spent: Spent) -> str:
    return ", ".join(format_amount(amount, currency) for currency, amount in (spent.money or {}).items())


def rest_of(run: Path, stage: Any) -> tuple[str, str]:
    """Return what is left of an unfinished stage, as a sentence, and a budget that would do for it ("" if unknown).

    stage: its row of `run_status`. The rest is estimated by what the run has spent on the rows so far.
    """
    budget, done, total = read_budget(run), stage.counts.get("done", 0), stage.counts.get("total")
    if budget is None or not total:
        return f"{stage.track}/{stage.stage} is unfinished.", ""
    text = f"Left in {stage.track}/{stage.stage}: {total - done:,} of {total:,} rows"
    if not done:
        return f"{text}.", ""
    spent = Ledger(run).spent().amount(budget.unit)
    rest = spent / done * (total - done)
    enough = _round_up(_MORE * (spent + rest))
    unit = "h" if budget.unit == HOURS else f" {budget.unit}"
    return f"{text}, about {format_amount(rest, budget.unit)} more at this rate.", f"{enough:.3g}{unit}"


def _round_up(amount: float) -> float:
    """Round up to two significant digits."""
    from math import ceil, floor, log10

    size = 10 ** (floor(log10(amount)) - 1) if amount > 0 else 1
    return ceil(amount / size) * size
