"""A budget such as "2e9 tokens", "500 EUR", "2000 gpu-hours" or "8h": read it, and keep it in the run's folder."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.formatting import format_duration, format_number

if TYPE_CHECKING:
    from sdg_helpers.budgets.prices import Prices

TOKENS, TOTAL_TOKENS, GPU_HOURS, HOURS = "tokens", "total tokens", "gpu-hours", "hours"
TIME_UNITS = (GPU_HOURS, HOURS)
_EXAMPLES = '"2e9 tokens", "500 EUR", "2000 gpu-hours" or "8h"'
_NAMES = {
    "token": TOKENS,
    "tokens": TOKENS,
    "generated tokens": TOKENS,
    "total tokens": TOTAL_TOKENS,
    "gpu hour": GPU_HOURS,
    "gpu hours": GPU_HOURS,
    "gpu h": GPU_HOURS,
    "gpuh": GPU_HOURS,
}
_SIGNS = {"$": "USD", "€": "EUR", "£": "GBP"}
_SUFFIXES = {"k": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12}
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d[\d_]*)(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+"
_AMOUNT = re.compile(rf"({_NUMBER})(?![\d.,])\s*(?:([kMGBT])(?=\s|[$€£]|$))?\s*(.*)", re.DOTALL)
_DURATION = re.compile(
    r"(?:([\d.]+) ?d(?:ays?)?)? ?(?:([\d.]+) ?h(?:ours?)?)? ?"
    r"(?:([\d.]+) ?m(?:in(?:utes?)?)?)? ?(?:([\d.]+) ?s(?:econds?)?)?",
    re.IGNORECASE,
)
_CURRENCY = re.compile(r"[A-Za-z]{2,12}")


class BudgetSpent(SdgError):
    """The run's budget has no room for another request. Finished work is kept."""


@dataclass(frozen=True)
class Budget:
    """A limit on what a run may spend. unit: one of this module's constants, or a currency; text: as it was given."""

    amount: float
    unit: str
    text: str

    @property
    def is_money(self) -> bool:
        """Whether the unit is a currency."""
        return self.unit not in (TOKENS, TOTAL_TOKENS, *TIME_UNITS)


def parse_budget(text: str) -> Budget:
    """Read a budget. A unit that is not known here is taken for a currency. Raises SdgError for anything else."""
    stripped = " ".join(text.split())
    if (seconds := _read_duration(stripped)) is not None:
        return _checked(seconds / 3600, HOURS, stripped)
    if stripped[:1] in _SIGNS:  # $500
        stripped = f"{stripped[1:]} {stripped[0]}"
    found = _AMOUNT.fullmatch(stripped)
    if not found:
        raise SdgError(f"--budget {text!r}: cannot read an amount and a unit. Write for example {_EXAMPLES}.")
    number, suffix, unit = found.groups()
    if not unit:
        raise SdgError(f"--budget {text!r}: the unit is missing. Write for example {_EXAMPLES}.")
    amount = float(number.replace(",", "").replace("_", "")) * _SUFFIXES.get(suffix, 1.0)
    return _checked(amount, _read_unit(unit, text), stripped)


def _read_duration(text: str) -> float | None:
    """Return the seconds of "8h", "1h30m" or "2 days"; None for any other text."""
    found = _DURATION.fullmatch(" ".join(text.split()))
    if not found or not any(found.groups()):
        return None
    try:
        numbers = [float(group or 0) for group in found.groups()]
    except ValueError:  # 1.2.3h
        return None
    return sum(number * seconds for number, seconds in zip(numbers, (86400, 3600, 60, 1), strict=True))


def _read_unit(unit: str, text: str) -> str:
    plain = re.sub(r"[-_ ]+", " ", unit).strip().lower()
    if plain in _NAMES:
        return _NAMES[plain]
    if unit in _SIGNS:
        return _SIGNS[unit]
    if not _CURRENCY.fullmatch(unit):
        raise SdgError(
            f"--budget {text!r}: unknown unit {unit!r}. Units: tokens (generated), total tokens (with the prompts'), "
            "gpu-hours, a duration such as 8h, or the currency of the profile's prices."
        )
    return unit


def _checked(amount: float, unit: str, text: str) -> Budget:
    if not 0 < amount < math.inf:
        raise SdgError(f"--budget {text!r}: the amount must be greater than 0. Write for example {_EXAMPLES}.")
    return Budget(amount, unit, text)


def set_budget(run: Path, budget: Budget | None) -> None:
    """Set the run's budget; None lifts it. It holds until it is set again, also for jobs that are running."""
    path = run / "budget.json"
    if budget is None:
        path.unlink(missing_ok=True)
    else:
        files.write_json(path, {"amount": budget.amount, "unit": budget.unit, "text": budget.text})


def read_budget(run: Path) -> Budget | None:
    """Return the run's budget, None without one."""
    path = run / "budget.json"
    content = files.read_json(path)
    if content is None:
        return None
    try:
        return Budget(float(content["amount"]), str(content["unit"]), str(content["text"]))
    except (KeyError, TypeError, ValueError):
        raise SdgError(
            f"{path}: not the record of a budget. Set the budget again with `sdg run … --budget`, or delete this file."
        ) from None


def format_amount(amount: float, unit: str) -> str:
    """Format an amount in a budget's unit: "1.24M tokens", "3.20 EUR", "2h05m"."""
    if unit == HOURS:
        return format_duration(3600 * amount)
    return f"{format_bare(amount, unit)} {unit}"


def format_bare(amount: float, unit: str) -> str:
    """Format an amount without its unit; a duration keeps its letters."""
    if unit == HOURS:
        return format_duration(3600 * amount)
    if unit in (TOKENS, TOTAL_TOKENS):
        for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
            if amount >= size:
                return f"{amount / (1e3 if letter == 'k' else size):.4g}{letter}"
        return f"{amount:,.0f}"
    return (
        format_number(amount)
        if unit == GPU_HOURS
        else (f"{amount:,.2f}" if amount >= 1 or not amount else f"{amount:.3g}")
    )


def unit_problem(budget: Budget, role: str, gpus: int, prices: Prices | None) -> str:
    """Return why a server's use cannot be counted in a budget's unit, and what to do; "" when it can."""
    if budget.unit == GPU_HOURS and not gpus:
        return (
            f"the {role} of this profile runs on no GPU that is known here (engine sglang has). Give the budget in "
            "tokens, as a duration, or as money."
        )
    if budget.is_money and prices is None:
        return (
            f"the {role} of this profile has no prices, so {budget.unit!r} cannot be counted. Add `prices: "
            "{input_per_million: …, output_per_million: …, currency: …}` to it, or give the budget in tokens, "
            "gpu-hours or as a duration such as 8h."
        )
    if budget.is_money and prices is not None and prices.currency.upper() != budget.unit.upper():
        return f"the prices of the {role} are in {prices.currency}. Give the budget in {prices.currency}."
    return ""
