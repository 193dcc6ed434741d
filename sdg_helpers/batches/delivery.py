"""Pass the results of a batch on, as replies or failures; what may succeed later goes into a further batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdg_helpers.batches.input_files import BatchRequests
from sdg_helpers.batches.intake import Intake
from sdg_helpers.batches.records import Batch, Records
from sdg_helpers.batches.results import ResultReader
from sdg_helpers.completions.failed_attempts import REJECTED, UNUSABLE, FailedAttempt
from sdg_helpers.completions.meter import Meter
from sdg_helpers.completions.types import Completion, Failure, Limits, Request

if TYPE_CHECKING:
    from sdg_helpers.budgets.account import Account

_HOPELESS = 24  # requests of a batch without one completion that stop the run


@dataclass(frozen=True)
class Callbacks:
    """Called once per request, with its completion or its failure."""

    on_completion: Callable[[Request, Completion], None]
    on_failure: Callable[[Request, Failure], None]


@dataclass
class Delivery:
    """Delivers results. rounds: the most batches that one request may be in; allowance: of the run's budget."""

    reader: ResultReader
    records: Records
    intake: Intake
    meter: Meter
    callbacks: Callbacks
    limits: Limits
    rounds: int
    allowance: Account | None

    def deliver(self, batch: Batch, asked: BatchRequests) -> str:
        """Pass on the outcome of every request; return why the run is hopeless, "" while it is not."""
        done, failed, first = 0, 0, ""  # failed: given up
        paths = [self.records.folder / name for name in batch.results]
        for request, outcome in self.reader.outcomes(batch, paths, asked):
            if self.allowance:
                self.allowance.ended(request, outcome)
            if isinstance(outcome, Completion):
                done += 1
                self.meter.reply(outcome)
                self.callbacks.on_completion(request, outcome)
            elif not self._retry(request, outcome, batch):
                failed, first = failed + 1, first or f"{outcome.reason}: {outcome.detail}"
                self.meter.failed += 1
                self.callbacks.on_failure(request, Failure(outcome.reason, outcome.detail, batch.round))
        hopeless = failed >= _HOPELESS and not done and not self.meter.done
        return f"all {failed:,} requests of a batch failed, the first with {first}" if hopeless else ""

    def _retry(self, request: Request, failure: FailedAttempt, batch: Batch) -> bool:
        """Put a request without a completion into a further batch, if it may succeed there."""
        more = min(self.rounds - 1, self.limits.max_retries)
        if failure.kind == UNUSABLE:
            more = min(more, self.limits.max_regenerations)
        if failure.kind == REJECTED or batch.round > more:
            return False
        self.meter.retried += 1
        self.intake.place(request, batch.round + 1)
        return True
