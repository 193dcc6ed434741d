"""One process's account at one model server: it counts what is used, and refuses requests beyond the run's budget."""

from __future__ import annotations

import time
from math import ceil
from pathlib import Path

from sdg_helpers.budgets.budget import (
    GPU_HOURS,
    TIME_UNITS,
    TOKENS,
    TOTAL_TOKENS,
    Budget,
    BudgetSpent,
    format_amount,
    read_budget,
    unit_problem,
)
from sdg_helpers.budgets.forecast import CHARACTERS_PER_TOKEN, Forecast, characters
from sdg_helpers.budgets.ledger import Entry, Ledger, Spent
from sdg_helpers.budgets.prices import Prices
from sdg_helpers.completions.failed_attempts import FailedAttempt
from sdg_helpers.completions.types import Completion, Request
from sdg_helpers.errors import SdgError

_SAVE_EVERY_S = 2.0  # a killed process loses at most this much of its counts
_LOOK_EVERY_S = 1.0  # at the budget and at what other processes have used
_LOOKING_SHARE = 50  # of the time, at most 1/50 is spent on looking, however many entries there are


class Account:
    """What one process uses at one server of a run. An Allowance of `completions.complete`."""

    def __init__(self, run: Path, role: str, gpus: int = 0, prices: Prices | None = None):
        """gpus: of the server. Raises BudgetSpent when there is nothing left for it, before it is started."""
        self.run, self.role, self.gpus, self.prices = run, role, gpus, prices
        self._ledger = Ledger(run)
        self._entry = Entry(run, role=role, gpus=gpus, prices=prices.model_dump() if prices else None)
        self._budget, self._look_at = read_budget(run), 0.0
        self._others = Spent()  # in a unit of time: of all processes, this one included
        self._forecast = Forecast(None)
        if self._budget:
            self._check_unit(self._budget)
            check_left(run)
        self._entry.save()

    def begin(self, max_tokens: int | None) -> None:
        """Begin a call of `complete`, whose replies have at most so many tokens."""
        self._forecast, self._look_at = Forecast(max_tokens), 0.0
        self._entry.values.setdefault("start_s", self._entry.age_s)  # until the server answered
        self._look()
        self._entry.save()

    def end(self) -> None:
        """End it: nothing is in flight any more."""
        self._forecast = Forecast(None)
        self._save(ended=True)

    def tick(self) -> None:
        """Save the entry if it is due. Called about once a second."""
        if time.time() - self._entry.saved_at >= _SAVE_EVERY_S:
            self._save()

    def admits(self, request: Request) -> bool:
        """Whether the request may be sent, which then counts as in flight. See `completions.types.Allowance`."""
        if time.monotonic() >= self._look_at:
            self._look()
        if self._budget is not None and self._total(self._budget, request) > self._budget.amount:
            return False
        self._forecast.sent(request)
        return True

    def resumed(self, request: Request) -> None:
        """Count a request as in flight that was sent before this process began."""
        self._forecast.sent(request)

    def ended(self, request: Request, outcome: Completion | FailedAttempt) -> None:
        """Count what an attempt has used, also one that failed after the model had written.

        A server that reports no tokens does not work for nothing: they are then estimated from the text.
        """
        used, prompt, completion = self._entry.values, outcome.prompt_tokens, outcome.completion_tokens
        if isinstance(outcome, Completion) and not completion:
            used["estimated"] = used.get("estimated", 0) + 1
            completion = ceil(len(outcome.text) / CHARACTERS_PER_TOKEN)
            prompt = prompt or ceil(characters(request) / CHARACTERS_PER_TOKEN)
        seconds = outcome.seconds if isinstance(outcome, Completion) else None
        self._forecast.ended(request, prompt, completion, seconds)
        used["prompt_tokens"] += prompt
        used["completion_tokens"] += completion

    def refusal(self) -> SdgError:
        """Return the error to stop with when nothing is in flight and no request is admitted."""
        assert self._budget is not None
        self._entry.values["exhausted"] = [self._budget.amount, self._budget.unit]
        self._save(ended=True)
        return BudgetSpent(spent_text(self.run, self._budget))

    def _look(self) -> None:
        """Read the budget again, and what the other processes have used."""
        start = time.monotonic()
        self._budget = read_budget(self.run)
        if self._budget is not None:
            self._check_unit(self._budget)
            mine = "" if self._budget.unit in TIME_UNITS else self._entry.name
            self._others = self._ledger.spent(without=mine, reserved=True)
        now = time.monotonic()
        self._look_at = now + max(_LOOK_EVERY_S, _LOOKING_SHARE * (now - start))

    def _total(self, budget: Budget, request: Request) -> float:
        """Return what the run will have used when those in flight and this request have ended."""
        if budget.unit in TIME_UNITS:
            gpus = self._others.live_gpus if budget.unit == GPU_HOURS else 1.0
            return self._others.amount(budget.unit) + gpus * self._forecast.seconds / 3600
        expected, used = self._forecast.expected(request), self._entry.values
        prompt = used["prompt_tokens"] + expected.prompt
        completion = used["completion_tokens"] + expected.completion
        return self._others.amount(budget.unit) + self._cost(budget, prompt, completion)

    def _cost(self, budget: Budget, prompt: float, completion: float) -> float:
        if budget.unit == TOKENS:
            return completion
        if budget.unit == TOTAL_TOKENS:
            return prompt + completion
        return self.prices.cost(prompt, completion) if self.prices else 0.0

    def _save(self, ended: bool = False) -> None:
        expected = self._forecast.expected()
        self._entry.values |= {
            "reserved_prompt_tokens": expected.prompt,
            "reserved_completion_tokens": expected.completion,
        }
        self._entry.save(ended)

    def _check_unit(self, budget: Budget) -> None:
        """Raise SdgError when this server's use cannot be counted in the budget's unit."""
        if problem := unit_problem(budget, self.role, self.gpus, self.prices):
            raise SdgError(f"{self.run.name}: the budget is {budget.text!r}, but {problem}")


def is_spent(run: Path, budget: Budget) -> bool:
    """Whether the budget is used up, or a process found no room for another request."""
    spent = Ledger(run).spent()
    return spent.amount(budget.unit) >= budget.amount or (budget.amount, budget.unit) in spent.exhausted


def check_left(run: Path) -> None:
    """Raise BudgetSpent when the run has a budget and it is spent."""
    if (budget := read_budget(run)) and is_spent(run, budget):
        raise BudgetSpent(spent_text(run, budget))


def spent_text(run: Path, budget: Budget) -> str:
    """Return how much of a budget is spent, as a sentence."""
    amount = Ledger(run).spent().amount(budget.unit)
    return (
        f"the budget of {format_amount(budget.amount, budget.unit)} has no room for another request: "
        f"{format_amount(amount, budget.unit)} are spent ({amount / budget.amount:.1%})."
    )
