"""Take a batch to the provider exactly once, whatever breaks in between.

Before a batch is submitted, the record says so. When the confirmation is lost, or this process dies before it is
written down, the batch is looked for at the provider, several times, before it is submitted again.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from sdg_helpers.batches.apis import BatchApi, Undecided
from sdg_helpers.batches.calls import Calls, FailedCall
from sdg_helpers.batches.records import CREATED, CREATING, REFUSED, WRITTEN, Batch, Records
from sdg_helpers.completions.failed_attempts import BUSY
from sdg_helpers.completions.hints import suggest_fit
from sdg_helpers.completions.types import Limits, ServerGone
from sdg_helpers.formatting import format_duration

_LOOKS = 3  # for a batch whose creation was not confirmed: the provider may list it late

_LONGEST_WAIT_S = 600.0  # between two attempts to submit a batch that the provider had no room for


@dataclass
class Submitter:
    """Submits batches. fields: the names under which sampling settings are sent."""

    api: BatchApi
    calls: Calls
    records: Records
    limits: Limits
    fields: list[str]
    _looks: Counter[str] = field(default_factory=Counter)
    _trouble_since: dict[str, float] = field(default_factory=dict)
    _full_since: dict[str, float] = field(default_factory=dict)
    _not_before: float = 0.0

    def advance(self, batch: Batch, others_at_work: bool) -> Batch:
        """Do what can be done now to submit a batch; return it as it is then.

        others_at_work: whether other batches are being processed, whose end makes room.
        """
        if time.monotonic() < self._not_before:
            return batch
        try:
            if batch.state == CREATING and (batch := self._look_for(batch)).state == CREATED:
                return batch
            if batch.state == CREATING and self._looks[batch.key] < _LOOKS:
                return batch
            if not batch.file_id:
                batch = self.records.save(batch, file_id=self.api.upload(batch, self.records.path(batch, "requests")))
            batch = self.records.save(batch, state=CREATING, mark=self.api.mark(), created_at=time.time())
            self._looks[batch.key] = 0
            batch_id = self.api.create(batch, self.records.path(batch, "requests"))
            self._trouble_since.pop(batch.key, None)
            return self.records.save(batch, state=CREATED, batch_id=batch_id)
        except FailedCall as failed:
            return self._handle(batch, failed, others_at_work)

    def put_back(self, batch: Batch, why: str, others_at_work: bool) -> Batch:
        """Submit a batch again later that the provider had no room for."""
        self._wait_for_room(batch, why, 0.0, others_at_work)
        return self.records.save(batch, state=WRITTEN, batch_id="", mark="")

    def _look_for(self, batch: Batch) -> Batch:
        try:
            found = self.api.find(batch)
        except Undecided:
            return batch
        if found:
            return self.records.save(batch, state=CREATED, batch_id=found)
        self._looks[batch.key] += 1
        return batch

    def _handle(self, batch: Batch, failed: FailedCall, others_at_work: bool) -> Batch:
        if not failed.passing:
            self.records.save(batch, state=REFUSED)
            self.records.discard_files(batch)
            raise self.calls.error(failed, suggest_fit(failed.failure.detail, self.fields)) from None
        if failed.unclear:
            self._check_outage(batch, failed)
            return batch
        if failed.failure.kind == BUSY:
            self._wait_for_room(batch, failed.failure.detail, failed.failure.retry_after_s or 0.0, others_at_work)
        else:
            self._check_outage(batch, failed)
        return self.records.save(batch, state=WRITTEN)

    def _check_outage(self, batch: Batch, failed: FailedCall) -> None:
        now = time.monotonic()
        if now - self._trouble_since.setdefault(batch.key, now) > self.limits.outage_deadline_s:
            raise self.calls.gone(failed) from None

    def _wait_for_room(self, batch: Batch, why: str, wait_s: float, others_at_work: bool) -> None:
        """Submit nothing for a while, longer each time, until other batches have ended or the deadline is over."""
        now = time.monotonic()
        waited = now - self._full_since.setdefault(batch.key, now)
        if not others_at_work and max(waited, wait_s) > self.limits.pushback_deadline_s:
            raise ServerGone(
                f"{self.calls.base_url}: no room for a batch of {batch.requests:,} requests for "
                f"{format_duration(max(waited, wait_s))} ({why}). Set `batch: {{max_requests: …}}` in the profile to "
                "less, or run again later; finished rows are kept."
            )
        self._not_before = now + max(wait_s, min(waited, _LONGEST_WAIT_S))
