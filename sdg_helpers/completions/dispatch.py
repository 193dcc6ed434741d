"""Decide which request is sent next and when, and pass on what comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from sdg_helpers.completions.backlog import Backlog, PendingRequest
from sdg_helpers.completions.balancing import Balancer
from sdg_helpers.completions.failed_attempts import REJECTED, FailedAttempt
from sdg_helpers.completions.meter import Meter, Progress
from sdg_helpers.completions.outages import Outages
from sdg_helpers.completions.pacing import Pace
from sdg_helpers.completions.retrying import Retries
from sdg_helpers.completions.transport import Transport
from sdg_helpers.completions.types import Allowance, Completion, Failure, Limits, Request


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
        self._on_completion, self._on_progress = on_completion, on_progress
        self._on_tick, self._ticking = on_tick, False
        self._pace, self._meter = Pace(limits.concurrency), Meter()
        self._idle: list[asyncio.Future[PendingRequest]] = []
        self._outages, server = Outages(transport.base_url), transport.base_url
        self._retries = Retries(server, limits, self._backlog, self._pace, self._outages, self._meter, on_failure)
        self._in_flight = 0
        self._timer: asyncio.TimerHandle | None = None
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
                    if self._stopped:
                        return
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
        waiting, limit, trouble = self._backlog.waiting, int(self._pace.limit), self._outages.trouble
        return self._meter.progress(self._in_flight, waiting, limit, trouble, self._transport.counts())

    # --- sending

    def _take(self) -> PendingRequest | None:
        """Return the next request to send, counted as in flight; None when nothing is left, or none may be sent now."""
        if self._stopped or self._in_flight >= int(self._pace.limit):
            return None
        now = time.monotonic()
        if now < self._outages.pause_until or self._outages.scouting:
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
            self._outages.sent(pending)
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
        elif self._in_flight < int(self._pace.limit) and not self._outages.scouting:
            wait = max(self._backlog.next_due, self._outages.pause_until) - time.monotonic()
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
        self._outages.returned(pending)
        if isinstance(outcome, Completion):
            self._note_response(pending)
            self._outages.completed()
            self._retries.completed()
            self._meter.reply(outcome)
            self._on_completion(pending.request, outcome)
        else:
            if outcome.kind == REJECTED:
                self._note_response(pending)
            self._retries.handle(pending, outcome, self._in_flight)
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
        self._outages.responded()
