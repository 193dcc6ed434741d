"""What is still to be sent: a lazy input, and the requests that wait for another attempt."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Iterable

from sdg_helpers.completions.types import Request

_DIED_WITHIN_S = 5.0  # connections lost this long before the server is found gone were lost with it
_MOST_PARDONS = 10  # … but not for ever: perhaps this request is what kills the server


class Job:
    """A request on its way: how often it was sent, what went wrong, and whether it probes the limit now."""

    __slots__ = ("request", "sent", "failures", "pushbacks", "pardons", "first_pushback", "lost_at", "probe")

    def __init__(self, request: Request):
        self.request, self.probe = request, False
        self.sent = self.failures = self.pushbacks = self.pardons = 0
        self.first_pushback = self.lost_at = 0.0


class Backlog:
    """Those that are due again come first, then new ones. While `most_waiting` wait, no new one is pulled."""

    def __init__(self, requests: Iterable[Request], most_waiting: int):
        self._input, self._exhausted, self._most_waiting = iter(requests), False, most_waiting
        self._heap: list[tuple[float, int, Job]] = []
        self._order = itertools.count()

    @property
    def waiting(self) -> int:
        """Requests that wait for another attempt."""
        return len(self._heap)

    @property
    def crowded(self) -> bool:
        """So many wait that asking for more than the server takes would only add to them."""
        return 2 * len(self._heap) > self._most_waiting

    @property
    def empty(self) -> bool:
        """Nothing waits, and the input has ended."""
        return self._exhausted and not self._heap

    @property
    def next_due(self) -> float:
        """When the first of those that wait falls due (monotonic clock); 0.0 when none waits."""
        return self._heap[0][0] if self._heap else 0.0

    def next(self, now: float) -> Job | None:
        """The next request to send, if there is one now."""
        if self._heap and self._heap[0][0] <= now:
            return heapq.heappop(self._heap)[2]
        if not self._exhausted and len(self._heap) < self._most_waiting:
            for request in self._input:
                return Job(request)
            self._exhausted = True
        return None

    def later(self, job: Job, wait_s: float) -> None:
        """Send it again, so many seconds from now at the earliest."""
        heapq.heappush(self._heap, (time.monotonic() + wait_s, next(self._order), job))

    def pardon(self, now: float) -> None:
        """The server went away: connections lost just before were its fault, not their requests'."""
        for _, _, job in self._heap:
            if now - job.lost_at < _DIED_WITHIN_S and job.failures and job.pardons < _MOST_PARDONS:
                job.failures, job.pardons, job.lost_at = job.failures - 1, job.pardons + 1, 0.0
