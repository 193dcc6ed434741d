"""What becomes of a request whose attempt failed: another attempt later, or the end of it, or of the whole run."""

from __future__ import annotations

import time
from collections.abc import Callable

from sdg_helpers.completions.backlog import Backlog, PendingRequest
from sdg_helpers.completions.failed_attempts import BUSY, FATAL, REJECTED, RETRY, UNREACHABLE, UNUSABLE, FailedAttempt
from sdg_helpers.completions.hints import is_about_length
from sdg_helpers.completions.meter import Meter
from sdg_helpers.completions.outages import Outages
from sdg_helpers.completions.pacing import Pace, backoff_s
from sdg_helpers.completions.types import Failure, Limits, Request, ServerGone
from sdg_helpers.errors import SdgError
from sdg_helpers.formatting import format_duration

_NO_RESPONSE = ("timeout", "disconnected")
_LONG_WAITS = 3  # refusals in a row with a wait beyond the deadline that stop the run
_HOPELESS = 24  # failures before the first completion that stop the run


class Retries:
    """Schedules the next attempt of requests that failed, and gives up those that have had enough."""

    def __init__(
        self,
        server: str,
        limits: Limits,
        backlog: Backlog,
        pace: Pace,
        outages: Outages,
        meter: Meter,
        on_failure: Callable[[Request, Failure], None],
    ):
        """server: its address, for messages. on_failure: called with each request that is given up."""
        self._server, self._limits, self._backlog, self._pace = server, limits, backlog, pace
        self._outages, self._meter, self._on_failure = outages, meter, on_failure
        self._failed_in_a_row = self._long_waits = 0
        self._first_detail = ""  # of the first failure

    def completed(self) -> None:
        """Note a completion: there is hope."""
        self._failed_in_a_row = self._long_waits = 0

    def handle(self, pending: PendingRequest, failure: FailedAttempt, in_flight: int) -> None:
        """Retry a request later, or give it up. Raises SdgError or ServerGone when the run must stop.

        in_flight: how many other requests are.
        """
        if failure.kind == FATAL:
            raise SdgError(failure.detail)
        if failure.kind == UNREACHABLE:
            self._wait_for_server(pending, failure)
        elif failure.kind == REJECTED:
            self._give_up(pending, failure.reason, failure.detail)
        elif failure.kind == BUSY:
            self._push_back(pending, failure, in_flight)
        else:
            self._retry(pending, failure)

    def _retry(self, pending: PendingRequest, failure: FailedAttempt) -> None:
        pending.failures += 1
        if failure.reason not in _NO_RESPONSE:
            self._outages.responded()
        elif failure.reason == "disconnected":
            pending.lost_at = time.monotonic()
        else:
            self._pace.refused(pending.probe)
            self._outages.check(
                RETRY,
                self._limits.outage_deadline_s + 2 * (self._limits.timeout_s or 0.0),
                f"does not answer in time ({failure.detail})",
            )
        retry_after_s = failure.retry_after_s or 0.0
        allowed = self._limits.max_retries
        if failure.kind == UNUSABLE:
            allowed = min(allowed, self._limits.max_regenerations)
        if pending.failures > allowed or retry_after_s > self._limits.pushback_deadline_s:
            self._give_up(pending, failure.reason, failure.detail)
        else:
            self._meter.retried += 1
            self._backlog.schedule(pending, max(retry_after_s, backoff_s(pending.failures)))

    def _push_back(self, pending: PendingRequest, failure: FailedAttempt, in_flight: int) -> None:
        now, asked_s = time.monotonic(), failure.retry_after_s or 0.0
        self._outages.reached()
        if asked_s > self._limits.pushback_deadline_s:
            self._refuse_long_wait(pending, failure)
            return
        self._pace.refused(pending.probe)
        self._meter.pushed_back += 1
        pending.pushbacks += 1
        pending.first_pushback = pending.first_pushback or now
        if not in_flight:
            what = f"has no room for a single request ({failure.detail})"
            self._outages.check(BUSY, self._limits.outage_deadline_s, what)
            self._outages.pause(min(asked_s, 60.0), what)
        wait = max(asked_s, backoff_s(pending.pushbacks, 0.1, 5.0))
        if now + wait > pending.first_pushback + self._limits.pushback_deadline_s:
            self._give_up(pending, "pushed_back", failure.detail)
        else:
            self._backlog.schedule(pending, wait)

    def _refuse_long_wait(self, pending: PendingRequest, failure: FailedAttempt) -> None:
        """A daily limit, for example: stop the run when several requests in a row are told to come back much later."""
        self._long_waits += 1
        if self._long_waits >= _LONG_WAITS:
            raise ServerGone(
                f"{self._server} asks to wait for {format_duration(failure.retry_after_s or 0.0)} ({failure.detail}). "
                "Finished requests are kept: run again then, to resume."
            )
        self._give_up(pending, "pushed_back", failure.detail)

    def _wait_for_server(self, pending: PendingRequest, failure: FailedAttempt) -> None:
        """Begin or continue an outage: it costs requests no attempt."""
        now, what = time.monotonic(), f"is unreachable ({failure.detail})"
        if self._outages.begin(UNREACHABLE):
            self._backlog.pardon_lost(now)
        self._outages.check(UNREACHABLE, self._limits.outage_deadline_s, what)
        if now >= self._outages.pause_until:
            self._outages.pause(0.0, what)
        pending.sent -= 1
        self._backlog.schedule(pending, 0.0)

    def _give_up(self, pending: PendingRequest, reason: str, detail: str) -> None:
        self._meter.failed += 1
        self._on_failure(pending.request, Failure(reason, detail, pending.sent))
        self._failed_in_a_row += 1
        hopeless = self._meter.done == 0 and self._is_same_cause(detail) and self._failed_in_a_row >= _HOPELESS
        if hopeless or self._failed_in_a_row >= self._limits.max_failures_in_a_row:
            raise SdgError(
                f"{self._server}: {self._failed_in_a_row} requests in a row failed, the last with {reason} ({detail}). "
                "Finished requests are kept: fix the cause, then run again to resume."
            )

    def _is_same_cause(self, detail: str) -> bool:
        """Return False when requests are too long, each in its own way: others may be shorter."""
        same, self._first_detail = self._first_detail in ("", detail), self._first_detail or detail
        return same or not is_about_length(detail)
