"""Decide which request is sent next, what is retried, when to wait, and when to give up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from sdg_helpers.completions.backlog import Backlog, PendingRequest
from sdg_helpers.completions.balancing import Balancer
from sdg_helpers.completions.failed_attempts import BUSY, FATAL, REJECTED, RETRY, UNREACHABLE, UNUSABLE, FailedAttempt
from sdg_helpers.completions.hints import is_about_length
from sdg_helpers.completions.meter import Meter, Progress
from sdg_helpers.completions.pacing import Pace, backoff_s
from sdg_helpers.completions.transport import Transport
from sdg_helpers.completions.types import Allowance, Completion, Failure, Limits, Request, ServerGone
from sdg_helpers.errors import SdgError
from sdg_helpers.formatting import format_duration

_NO_RESPONSE = ("timeout", "disconnected")
_LONG_WAITS = 3  # refusals in a row with a wait beyond the deadline that stop the run
_HOPELESS = 24  # failures before the first completion that stop the run


class Dispatcher:
    """One run: a fixed set of workers over a lazy input and a heap of requests that wait for a retry.

    A waiting request holds no slot, so slow or failing requests do not block others; while many wait, no new input is
    pulled. All methods run in the loop's thread, and the callbacks are called from it.
    """

    def __init__(
        self,
        requests: Iterable[Request | None],
        transport: Transport | Balancer,
        limits: Limits,
        on_completion: Callable[[Request, Completion], None],
        on_failure: Callable[[Request, Failure], None],
        on_progress: Callable[[Progress], None] | None,
        allowance: Allowance | None = None,
        on_tick: Callable[[], None] | None = None,
    ):
        self._allowance = allowance
        self._held = self._refused = False  # the allowance admits no request now, and with nothing in flight
        self._backlog = Backlog(requests, max(1000, 2 * limits.concurrency))
        self._transport, self._limits = transport, limits
        self._on_completion, self._on_failure, self._on_progress = on_completion, on_failure, on_progress
        self._on_tick, self._ticking = on_tick, False
        self._pace, self._meter = Pace(limits.concurrency), Meter()
        self._idle: list[asyncio.Future[PendingRequest]] = []
        self._in_flight = self._failed_in_a_row = self._long_waits = 0
        self._first_detail = ""  # of the first failure
        self._timer: asyncio.TimerHandle | None = None
        self._since: dict[str, float] = {}  # kind of failure -> when it began; cleared by a completion
        self._trouble, self._pause_until, self._pause_s = "", 0.0, 0.0
        self._outage = False
        self._scout: PendingRequest | None = None  # the one request in flight during an outage, to detect its end
        self._stopped, self._ended = False, asyncio.Event()
        self._error: BaseException | None = None

    async def run(self) -> Progress:
        """Run to the end. Raises the error that stopped the run, if any."""
        self._loop = asyncio.get_running_loop()
        async with self._transport:
            workers = [asyncio.create_task(self._worker()) for _ in range(self._limits.concurrency)]
            ticker = asyncio.create_task(self._ticker())
            try:
                await self._ended.wait()
            finally:
                for task in (ticker, *workers):
                    task.cancel()
                if self._timer:
                    self._timer.cancel()
                await asyncio.gather(ticker, *workers, return_exceptions=True)
        progress = self._progress()
        if self._on_progress and (self._error is None or self._refused):
            self._on_progress(progress)
        if self._error is not None:
            raise self._error
        return progress

    def stop(self, error: BaseException | None = None) -> None:
        """Stop the run now: drop requests in flight and call no more callbacks."""
        if not self._stopped:
            self._stopped, self._error = True, error
            self._ended.set()

    async def _worker(self) -> None:
        try:
            pending = self._take()
            while True:
                if pending is None:
                    self._idle.append(place := self._loop.create_future())
                    self._schedule_wake()
                    pending = await place
                self._settle(pending, await self._transport.attempt(pending.request))
                pending = self._take()  # refill this worker's slot first, then what a growing limit allows
                if self._idle:
                    self._pump()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.stop(error)

    async def _ticker(self) -> None:
        while self._on_progress:
            await asyncio.sleep(1.0)
            try:
                self._on_progress(self._progress())
            except BaseException as error:
                self.stop(error)

    def _progress(self) -> Progress:
        return self._meter.progress(
            self._in_flight, self._backlog.waiting, int(self._pace.limit), self._trouble, self._transport.counts()
        )

    # --- sending

    def _take(self) -> PendingRequest | None:
        """Return the next request to send, counted as in flight; None when there is none, or none may be sent now."""
        if self._stopped or self._in_flight >= int(self._pace.limit):
            return None
        now = time.monotonic()
        if now < self._pause_until or (self._outage and self._scout is not None):
            return None
        pending = self._backlog.next(now)
        self._held = pending is not None and self._allowance is not None and not self._allowance.admits(pending.request)
        if pending is not None and self._held:
            self._backlog.put_back(pending)
            return None
        if pending is not None:
            self._in_flight += 1
            pending.sent += 1
            pending.probe = self._pace.sent(self._in_flight)
            if self._outage:
                self._scout = pending
        return pending

    def _pump(self) -> None:
        """Give requests to idle workers, as far as the limit allows."""
        while self._idle and (pending := self._take()) is not None:
            self._idle.pop().set_result(pending)
        if self._idle:
            self._schedule_wake()

    def _schedule_wake(self) -> None:
        """Called when a worker is idle: end the run if all are, else set a timer for the next due request."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._backlog.empty:
            if not self._in_flight:
                self.stop()
        elif self._held and self._allowance is not None:
            if not self._in_flight:
                self._refused = True
                self.stop(self._allowance.refusal())
        elif self._in_flight < int(self._pace.limit) and not (self._outage and self._scout):
            wait = max(self._backlog.next_due, self._pause_until) - time.monotonic()
            self._timer = self._loop.call_later(max(wait, 0.0) + 0.002, self._wake)

    def _wake(self) -> None:
        self._timer = None
        try:
            self._pump()
        except BaseException as error:  # the input may raise
            self.stop(error)

    # --- handling replies

    def _settle(self, pending: PendingRequest, outcome: Completion | FailedAttempt) -> None:
        self._in_flight -= 1
        if self._allowance is not None:
            self._allowance.ended(pending.request, outcome)
        if self._stopped:
            return
        if self._scout is pending:
            self._scout = None
        if isinstance(outcome, Completion):
            self._note_response(pending)
            self._since.clear()
            self._failed_in_a_row = self._long_waits = 0
            self._meter.reply(outcome)
            self._on_completion(pending.request, outcome)
        else:
            self._handle(pending, outcome)
        if self._on_tick is not None and not self._ticking:
            self._ticking = True
            self._loop.call_soon(self._tick)

    def _tick(self) -> None:
        self._ticking = False
        try:
            if self._on_tick is not None:
                self._on_tick()
        except BaseException as error:  # a full disk
            self.stop(error)

    def _note_response(self, pending: PendingRequest) -> None:
        """Note that the server accepted this request and responded, successfully or not."""
        used = 2 * (self._in_flight + 1) >= self._pace.limit
        self._pace.accepted(pending.probe, grow=used and not self._backlog.crowded)
        self._end_outage()

    def _end_outage(self) -> None:
        """The server responds: send at full pace again."""
        self._outage, self._trouble, self._pause_until, self._pause_s = False, "", 0.0, 0.0

    def _pause(self, at_least_s: float, trouble: str) -> None:
        """Send nothing for a while, longer each time."""
        self._pause_s = min(10.0, max(0.2, 2 * self._pause_s))
        self._pause_until = time.monotonic() + max(at_least_s, backoff_s(1, self._pause_s))
        self._trouble = f"{self._transport.base_url} {trouble}"

    def _handle(self, pending: PendingRequest, failure: FailedAttempt) -> None:
        if failure.kind == FATAL:
            raise SdgError(failure.detail)
        if failure.kind == UNREACHABLE:
            self._handle_unreachable(pending, failure)
        elif failure.kind == REJECTED:
            self._note_response(pending)
            self._give_up(pending, failure.reason, failure.detail)
        elif failure.kind == BUSY:
            self._handle_pushback(pending, failure)
        else:
            self._retry(pending, failure)

    def _retry(self, pending: PendingRequest, failure: FailedAttempt) -> None:
        pending.failures += 1
        if failure.reason not in _NO_RESPONSE:
            self._end_outage()
        elif failure.reason == "disconnected":
            pending.lost_at = time.monotonic()
        else:
            self._pace.refused(pending.probe)
            self._check_outage(
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

    def _handle_pushback(self, pending: PendingRequest, failure: FailedAttempt) -> None:
        now, self._outage = time.monotonic(), False
        if (failure.retry_after_s or 0.0) > self._limits.pushback_deadline_s:
            self._handle_long_wait(pending, failure)
            return
        self._pace.refused(pending.probe)
        self._meter.pushed_back += 1
        pending.pushbacks += 1
        pending.first_pushback = pending.first_pushback or now
        if not self._in_flight:
            what = f"has no room for a single request ({failure.detail})"
            self._check_outage(BUSY, self._limits.outage_deadline_s, what)
            self._pause(min(failure.retry_after_s or 0.0, 60.0), what)
        wait = max(failure.retry_after_s or 0.0, backoff_s(pending.pushbacks, 0.1, 5.0))
        if now + wait > pending.first_pushback + self._limits.pushback_deadline_s:
            self._give_up(pending, "pushed_back", failure.detail)
        else:
            self._backlog.schedule(pending, wait)

    def _handle_long_wait(self, pending: PendingRequest, failure: FailedAttempt) -> None:
        """A daily limit, for example: stop the run when several requests in a row are told to come back much later."""
        self._long_waits += 1
        if self._long_waits >= _LONG_WAITS:
            raise ServerGone(
                f"{self._transport.base_url} asks to wait for {format_duration(failure.retry_after_s or 0.0)} "
                f"({failure.detail}). Finished requests are kept: run again then, to resume."
            )
        self._give_up(pending, "pushed_back", failure.detail)

    def _handle_unreachable(self, pending: PendingRequest, failure: FailedAttempt) -> None:
        """Begin or continue an outage: it costs requests no attempt, and one scout at a time detects its end."""
        now, what = time.monotonic(), f"is unreachable ({failure.detail})"
        if not self._outage:
            self._outage, self._since[UNREACHABLE] = True, now
            self._backlog.pardon_lost(now)
        self._check_outage(UNREACHABLE, self._limits.outage_deadline_s, what)
        if now >= self._pause_until:
            self._pause(0.0, what)
        pending.sent -= 1
        self._backlog.schedule(pending, 0.0)

    def _give_up(self, pending: PendingRequest, reason: str, detail: str) -> None:
        self._meter.failed += 1
        self._on_failure(pending.request, Failure(reason, detail, pending.sent))
        self._failed_in_a_row += 1
        hopeless = self._meter.done == 0 and self._is_same_cause(detail) and self._failed_in_a_row >= _HOPELESS
        if hopeless or self._failed_in_a_row >= self._limits.max_failures_in_a_row:
            raise SdgError(
                f"{self._transport.base_url}: {self._failed_in_a_row} requests in a row failed, the last with {reason} "
                f"({detail}). Finished requests are kept: fix the cause, then run again to resume."
            )

    def _is_same_cause(self, detail: str) -> bool:
        """Return False when requests are too long, each in its own way: others may be shorter."""
        same, self._first_detail = self._first_detail in ("", detail), self._first_detail or detail
        return same or not is_about_length(detail)

    def _check_outage(self, kind: str, allowed_s: float, what: str) -> None:
        """Stop the run when this kind of failure has lasted too long without a completion."""
        now = time.monotonic()
        lasted = now - self._since.setdefault(kind, now)
        if lasted > allowed_s:
            raise ServerGone(
                f"{self._transport.base_url} {what}, for {lasted:.0f} s now. Finished requests are kept: check the "
                "server and its log, then run again to resume."
            )
