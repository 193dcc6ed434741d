"""Many requests through one server: who is sent next, what is tried again, when to wait and when to give up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from sdg_helpers.completions.backlog import Backlog, Job
from sdg_helpers.completions.meter import Meter, Progress
from sdg_helpers.completions.pacing import Pace, backoff_s
from sdg_helpers.completions.replies import AGAIN, BUSY, HOPELESS, STOP, UNREACHABLE, Trouble
from sdg_helpers.completions.transport import Transport
from sdg_helpers.completions.types import Completion, Failure, Limits, Request, ServerGone
from sdg_helpers.errors import SdgError

_NO_SIGN_OF_LIFE = ("timeout", "disconnected")


class Dispatcher:
    """One run: a fixed set of workers over a lazy input and a heap of requests that wait for another attempt.

    A waiting request holds no slot, so that slow or failing ones do not keep others from being sent; while many wait,
    no new input is pulled. All methods run in the loop's thread, and the callbacks are called from it.
    """

    def __init__(
        self,
        requests: Iterable[Request],
        transport: Transport,
        limits: Limits,
        on_completion: Callable[[Request, Completion], None],
        on_failure: Callable[[Request, Failure], None],
        on_progress: Callable[[Progress], None] | None,
    ):
        self._backlog = Backlog(requests, max(1000, 2 * limits.concurrency))
        self._transport, self._limits = transport, limits
        self._on_completion, self._on_failure, self._on_progress = on_completion, on_failure, on_progress
        self._pace, self._meter = Pace(limits.concurrency), Meter()
        self._idle: list[asyncio.Future[Job]] = []
        self._in_flight = self._failed_in_a_row = 0
        self._timer: asyncio.TimerHandle | None = None
        self._since: dict[str, float] = {}  # kind of trouble -> when it began; emptied by a completion
        self._trouble, self._pause_until, self._pause_s = "", 0.0, 0.0
        self._outage = False
        self._scout: Job | None = None  # the one request that finds out whether the server is back
        self._stopped, self._error, self._ended = False, None, asyncio.Event()

    async def run(self) -> Progress:
        """Everything, to the end; raises what stopped it."""
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
        if self._error is not None:
            raise self._error
        progress = self._progress()
        if self._on_progress:
            self._on_progress(progress)
        return progress

    def stop(self, error: BaseException | None = None) -> None:
        """End the run now; requests in flight are dropped and no callback is called any more."""
        if not self._stopped:
            self._stopped, self._error = True, error
            self._ended.set()

    async def _worker(self) -> None:
        try:
            job = self._take()
            while True:
                if job is None:
                    self._idle.append(place := self._loop.create_future())
                    self._rest()
                    job = await place
                self._settle(job, await self._transport.attempt(job.request))
                job = self._take()  # first this worker's own slot, then what a growing limit allows
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
        return self._meter.progress(self._in_flight, self._backlog.waiting, int(self._pace.limit), self._trouble)

    # --- what is sent next

    def _take(self) -> Job | None:
        """The next request to send, counted as in flight; None when there is none, or it is not the time."""
        if self._stopped or self._in_flight >= int(self._pace.limit):
            return None
        now = time.monotonic()
        if now < self._pause_until or (self._outage and self._scout is not None):
            return None
        job = self._backlog.next(now)
        if job is not None:
            self._in_flight += 1
            job.sent += 1
            job.probe = self._pace.sent(self._in_flight)
            if self._outage:
                self._scout = job
        return job

    def _pump(self) -> None:
        """Give work to idle workers, as far as the limit allows."""
        while self._idle and (job := self._take()) is not None:
            self._idle.pop().set_result(job)
        if self._idle:
            self._rest()

    def _rest(self) -> None:
        """Some worker has nothing to do: end the run if nobody has, else wake up when something falls due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._backlog.empty:
            if not self._in_flight:
                self.stop()
        elif self._in_flight < int(self._pace.limit) and not (self._outage and self._scout):
            wait = max(self._backlog.next_due, self._pause_until) - time.monotonic()
            self._timer = self._loop.call_later(max(wait, 0.0) + 0.002, self._wake)

    def _wake(self) -> None:
        self._timer = None
        try:
            self._pump()
        except BaseException as error:  # the input may raise
            self.stop(error)

    # --- what came back

    def _settle(self, job: Job, outcome: Completion | Trouble) -> None:
        self._in_flight -= 1
        if self._stopped:
            return
        if self._scout is job:
            self._scout = None
        if type(outcome) is Completion:
            self._answered(job)
            self._since.clear()
            self._failed_in_a_row = 0
            self._meter.completed(outcome.prompt_tokens, outcome.completion_tokens, outcome.seconds)
            self._on_completion(job.request, outcome)
        else:
            self._handle(job, outcome)

    def _answered(self, job: Job) -> None:
        """The server took this request and answered it, one way or the other."""
        used = 2 * (self._in_flight + 1) >= self._pace.limit
        self._pace.accepted(job.probe, grow=used and not self._backlog.crowded)
        self._back()

    def _back(self) -> None:
        self._outage, self._trouble, self._pause_until, self._pause_s = False, "", 0.0, 0.0

    def _pause(self, at_least_s: float, trouble: str) -> None:
        """Send nothing for a while, longer each time."""
        self._pause_s = min(10.0, max(0.2, 2 * self._pause_s))
        self._pause_until = time.monotonic() + max(at_least_s, backoff_s(1, self._pause_s))
        self._trouble = f"{self._transport.base_url} {trouble}"

    def _handle(self, job: Job, trouble: Trouble) -> None:
        if trouble.kind == STOP:
            raise SdgError(trouble.detail)
        if trouble.kind == UNREACHABLE:
            self._unreachable(job, trouble)
        elif trouble.kind == HOPELESS:
            self._answered(job)
            self._give_up(job, trouble.reason, trouble.detail)
        elif trouble.kind == BUSY:
            self._pushed_back(job, trouble)
        else:
            self._try_again(job, trouble)

    def _try_again(self, job: Job, trouble: Trouble) -> None:
        job.failures += 1
        if trouble.reason not in _NO_SIGN_OF_LIFE:
            self._back()
        elif trouble.reason == "disconnected":
            job.lost_at = time.monotonic()
        else:
            self._pace.refused(job.probe)
            self._check(
                AGAIN,
                self._limits.outage_deadline_s + 2 * (self._limits.timeout_s or 0.0),
                f"answers nothing in time ({trouble.detail})",
            )
        told_s = trouble.retry_after_s or 0.0
        if job.failures > self._limits.max_retries or told_s > self._limits.pushback_deadline_s:
            self._give_up(job, trouble.reason, trouble.detail)
        else:
            self._meter.retried += 1
            self._backlog.later(job, max(told_s, backoff_s(job.failures)))

    def _pushed_back(self, job: Job, trouble: Trouble) -> None:
        now, self._outage = time.monotonic(), False
        self._pace.refused(job.probe)
        self._meter.pushed_back += 1
        job.pushbacks += 1
        job.first_pushback = job.first_pushback or now
        if not self._in_flight:
            what = f"has no room for a single request ({trouble.detail})"
            self._check(BUSY, self._limits.outage_deadline_s, what)
            self._pause(min(trouble.retry_after_s or 0.0, 60.0), what)
        wait = max(trouble.retry_after_s or 0.0, backoff_s(job.pushbacks, 0.1, 5.0))
        if now + wait > job.first_pushback + self._limits.pushback_deadline_s:
            self._give_up(job, "pushed_back", trouble.detail)
        else:
            self._backlog.later(job, wait)

    def _unreachable(self, job: Job, trouble: Trouble) -> None:
        """Nobody there: this costs the request nothing; one scout at a time finds out when the server is back."""
        now, what = time.monotonic(), f"is unreachable ({trouble.detail})"
        if not self._outage:
            self._outage, self._since[UNREACHABLE] = True, now
            self._backlog.pardon(now)
        self._check(UNREACHABLE, self._limits.outage_deadline_s, what)
        if now >= self._pause_until:
            self._pause(0.0, what)
        job.sent -= 1
        self._backlog.later(job, 0.0)

    def _give_up(self, job: Job, reason: str, detail: str) -> None:
        self._meter.failed += 1
        self._on_failure(job.request, Failure(reason, detail, job.sent))
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= self._limits.max_failures_in_a_row:
            raise SdgError(
                f"{self._transport.base_url}: {self._failed_in_a_row} requests in a row failed, the last of "
                f"them with {reason} ({detail}). Nothing that was answered is lost: mend the cause, then "
                "run again and it goes on from there."
            )

    def _check(self, kind: str, allowed_s: float, what: str) -> None:
        """Stop when this kind of trouble has lasted too long without one completion."""
        now = time.monotonic()
        lasted = now - self._since.setdefault(kind, now)
        if lasted > allowed_s:
            raise ServerGone(
                f"{self._transport.base_url} {what}, for {lasted:.0f} s now. Nothing is lost: see whether "
                "the server is alive (its log), then run again and it goes on where it stopped."
            )
