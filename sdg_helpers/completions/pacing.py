"""How many requests may be in flight, adapting to what the server accepts, and how long to wait before a retry."""

from __future__ import annotations

import random
import time
from email.utils import parsedate_to_datetime

_SLOW_GROWTH = 0.05  # slots regained per reply while the server is full: the price of noticing new capacity
_FAST_GROWTH = 2.0  # slots regained per reply after regained slots were accepted
_MIN_SHARE = 0.25  # of a slot, regained per round trip when the limit is only a few slots


class Pace:
    """A limit on the requests in flight, between 1 and `ceiling`.

    Every refusal removes one slot. Since accepted requests stay in flight, the limit settles exactly at the server's
    capacity. Every reply restores a fraction of a slot, and the request that first uses a regained slot is a probe: if
    it is refused, the limit grows more slowly, if accepted, faster. So a full server is probed only now and then, new
    capacity is filled within a few round trips, and refusals that are unrelated to our load (one full replica of many
    behind a load balancer) cost little of it.
    """

    def __init__(self, ceiling: int):
        self.ceiling, self.limit = ceiling, float(ceiling)
        self._growth, self._untried = _SLOW_GROWTH, 0

    def sent(self, in_flight: int) -> bool:
        """Call for every request sent, which `in_flight` includes. Return whether it is a probe."""
        if self._untried and in_flight >= int(self.limit):
            self._untried -= 1
            return True
        return False

    def accepted(self, probe: bool, grow: bool) -> None:
        """The server accepted a request. grow: whether the limit was in use, so that raising it makes sense."""
        if probe:
            self._growth = min(_FAST_GROWTH, self._growth * 3)
        if grow and self.limit < self.ceiling:
            before = int(self.limit)
            self.limit = min(self.ceiling, self.limit + max(self._growth, _MIN_SHARE / self.limit))
            self._untried += int(self.limit) - before

    def refused(self, probe: bool) -> None:
        """The server was full, or did not answer in time."""
        if probe:
            self._growth = max(_SLOW_GROWTH, self._growth / 2)
        self._untried = max(0, self._untried - 1)
        self.limit = max(1.0, self.limit - 1)


def backoff_s(failures: int, first_s: float = 0.5, longest_s: float = 30.0) -> float:
    """Return the seconds to wait after this many failures (1, 2, …): doubling, with jitter to spread the retries."""
    return min(longest_s, first_s * 2.0 ** min(failures - 1, 30)) * random.uniform(0.5, 1.5)


def retry_after_s(value: str | None) -> float | None:
    """Return the seconds in a Retry-After header (a number or an HTTP date); None when absent or invalid."""
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
