"""What is known of the server between requests: whether it can be reached, when to try again, and when to stop."""

from __future__ import annotations

import time

from sdg_helpers.completions.backlog import PendingRequest
from sdg_helpers.completions.pacing import backoff_s
from sdg_helpers.completions.types import ServerGone


class Outages:
    """Trouble that all requests share. While the server cannot be reached, one request at a time, the scout, is sent to
    detect the end of that.

    trouble: why nothing is being sent, in words, else "". pause_until: when something may be sent again (monotonic
    clock).
    """

    def __init__(self, server: str):
        """server: its address, for messages."""
        self.trouble, self.pause_until = "", 0.0
        self._server, self._pause_s, self._unreachable = server, 0.0, False
        self._since: dict[str, float] = {}  # kind of failure -> when it began; cleared by a completion
        self._scout: PendingRequest | None = None

    @property
    def scouting(self) -> bool:
        """Whether a scout is in flight, for which all other requests wait."""
        return self._unreachable and self._scout is not None

    def sent(self, pending: PendingRequest) -> None:
        """Note a request that has been sent."""
        if self._unreachable:
            self._scout = pending

    def returned(self, pending: PendingRequest) -> None:
        """Note the end of an attempt, whatever it brought."""
        if self._scout is pending:
            self._scout = None

    def reached(self) -> None:
        """Note that the server was reached, though it may be full."""
        self._unreachable = False

    def responded(self) -> None:
        """Note that the server responds: requests are sent at full pace again."""
        self._unreachable, self.trouble, self.pause_until, self._pause_s = False, "", 0.0, 0.0

    def completed(self) -> None:
        """Note a completion: failures of every kind begin anew."""
        self._since.clear()

    def begin(self, kind: str) -> bool:
        """Note that the server cannot be reached; return whether this is news."""
        news = not self._unreachable
        if news:
            self._unreachable, self._since[kind] = True, time.monotonic()
        return news

    def pause(self, at_least_s: float, what: str) -> None:
        """Send nothing for a while, longer each time. what: the trouble, as what the server does."""
        self._pause_s = min(10.0, max(0.2, 2 * self._pause_s))
        self.pause_until = time.monotonic() + max(at_least_s, backoff_s(1, self._pause_s))
        self.trouble = f"{self._server} {what}"

    def check(self, kind: str, allowed_s: float, what: str) -> None:
        """Raise ServerGone when this kind of failure has lasted too long without a completion."""
        now = time.monotonic()
        lasted = now - self._since.setdefault(kind, now)
        if lasted > allowed_s:
            raise ServerGone(
                f"{self._server} {what}, for {lasted:.0f} s now. Finished requests are kept: check the server and its "
                "log, then run again to resume."
            )
