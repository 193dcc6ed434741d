"""How many requests may be in flight, following what the server takes, and how long to wait after a failure."""

from __future__ import annotations

import random
import time
from email.utils import parsedate_to_datetime

_GENTLE = 0.05  # slots regained for each reply while the server is full: what it costs to notice new room
_BOLD = 2.0  # the same, after regained slots have proved good
_BOTTOM = 0.25  # share of the way from one slot to the next that a reply is worth when there are only a few


class Pace:
    """A limit on the requests in flight, between 1 and `ceiling`.

    Every refusal takes one slot away. Since what the server accepted stays in flight, the limit comes to rest exactly
    on what it can hold. Every reply gives a little of a slot back, and the request that first uses a regained slot is
    a probe: refused, the limit grows more slowly; accepted, faster. So a full server is asked for more now and then
    only, room that comes back is filled in a few round trips, and refusals that have nothing to do with our load (one
    full replica of many behind a balancer) cost little of it.
    """

    def __init__(self, ceiling: int):
        self.ceiling, self.limit = ceiling, float(ceiling)
        self._growth, self._untried = _GENTLE, 0

    def sent(self, in_flight: int) -> bool:
        """Call at every request sent, itself counted in `in_flight`; hand what is returned to `accepted` or `refused`.

        True marks a probe.
        """
        if self._untried and in_flight >= int(self.limit):
            self._untried -= 1
            return True
        return False

    def accepted(self, probe: bool, grow: bool) -> None:
        """The server took it. grow: whether the limit was in use, so that more of it makes sense."""
        if probe:
            self._growth = min(_BOLD, self._growth * 3)
        if grow and self.limit < self.ceiling:
            before = int(self.limit)
            self.limit = min(self.ceiling, self.limit + max(self._growth, _BOTTOM / self.limit))
            self._untried += int(self.limit) - before

    def refused(self, probe: bool) -> None:
        """The server had no room, or did not answer in time."""
        if probe:
            self._growth = max(_GENTLE, self._growth / 2)
        self._untried = max(0, self._untried - 1)
        self.limit = max(1.0, self.limit - 1)


def backoff_s(failures: int, first_s: float = 0.5, longest_s: float = 30.0) -> float:
    """Seconds to wait after so many failures (1, 2, …): doubling, with jitter so that requests do not march in step."""
    return min(longest_s, first_s * 2.0 ** min(failures - 1, 30)) * random.uniform(0.5, 1.5)


def retry_after_s(value: str | None) -> float | None:
    """Seconds from a Retry-After header (a number or an HTTP date); None when absent or unreadable."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if seconds < 1e9 else None  # NaN and infinity are not below it
