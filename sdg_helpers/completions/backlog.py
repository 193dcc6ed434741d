"""Requests still to be sent: a lazy input, and those that wait for a retry."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Iterable

from sdg_helpers.completions.types import Request

_DIED_WITHIN_S = 5.0  # a connection lost this shortly before an outage is blamed on the outage
_ASK_AGAIN_S = 0.2  # after which an input that had nothing to send is asked again
_MAX_PARDONS = 10  # … up to a limit: this request may be what kills the server


class PendingRequest:
    """A request with its history: how often it was sent and failed, and whether it now probes the limit."""

    __slots__ = ("request", "sent", "failures", "pushbacks", "pardons", "first_pushback", "lost_at", "probe")

    def __init__(self, request: Request):
        self.request, self.probe = request, False
        self.sent = self.failures = self.pushbacks = self.pardons = 0
        self.first_pushback = self.lost_at = 0.0


class Backlog:
    """Hands out due retries first, then new input. While `max_waiting` requests wait, no new input is pulled.

    An input that yields None has nothing to send now, and is asked again.
    """

    def __init__(self, requests: Iterable[Request | None], max_waiting: int):
        self._input, self._exhausted, self._max_waiting = iter(requests), False, max_waiting
        self._ask_at = 0.0  # when the input is to be asked again (monotonic clock)
        self._heap: list[tuple[float, int, PendingRequest]] = []
        self._order = itertools.count()

    @property
    def waiting(self) -> int:
        """How many requests wait for a retry."""
        return len(self._heap)

    @property
    def crowded(self) -> bool:
        """Whether so many requests wait that probing for more capacity would only add to them."""
        return 2 * len(self._heap) > self._max_waiting

    @property
    def empty(self) -> bool:
        """Whether nothing waits and the input is exhausted."""
        return self._exhausted and not self._heap

    @property
    def next_due(self) -> float:
        """When there may be something to send (monotonic clock); 0.0 when that is not known."""
        times = [self._heap[0][0]] if self._heap else []
        return min([*times, *([self._ask_at] if self._ask_at else [])], default=0.0)

    def next(self, now: float) -> PendingRequest | None:
        """Return the next request to send, or None if nothing may be sent now."""
        if self._heap and self._heap[0][0] <= now:
            return heapq.heappop(self._heap)[2]
        if self._exhausted or len(self._heap) >= self._max_waiting:
            self._ask_at = 0.0
        elif self._ask_at <= now:
            self._ask_at = 0.0
            for request in self._input:
                if request is not None:
                    return PendingRequest(request)
                self._ask_at = now + _ASK_AGAIN_S
                return None
            self._exhausted = True
        return None

    def put_back(self, pending: PendingRequest) -> None:
        """Return a request that may not be sent yet; it is the next one again."""
        heapq.heappush(self._heap, (0.0, -next(self._order), pending))

    def schedule(self, pending: PendingRequest, wait_s: float) -> None:
        """Retry a request after at least this many seconds."""
        heapq.heappush(self._heap, (time.monotonic() + wait_s, next(self._order), pending))

    def pardon_lost(self, now: float) -> None:
        """Forgive the connections lost just before an outage: the server failed, not their requests."""
        for _, _, pending in self._heap:
            if now - pending.lost_at < _DIED_WITHIN_S and pending.failures and pending.pardons < _MAX_PARDONS:
                pending.failures, pending.pardons, pending.lost_at = pending.failures - 1, pending.pardons + 1, 0.0
