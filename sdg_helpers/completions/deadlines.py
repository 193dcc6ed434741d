"""Limit how long each request may take, with one timer for all of them.

A timer for each request, as aiohttp has, is a twentieth of what sending it costs. As all requests have the same limit,
those that began first end first, so only the oldest one needs a timer.
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class Deadlines:
    """The deadlines of the requests in flight.

    with deadlines.next():
        …  # raises asyncio.TimeoutError after `seconds`
    """

    def __init__(self, seconds: float | None):
        """seconds: None for no limit."""
        self.seconds = seconds
        self._open: dict[Deadline, None] = {}  # the oldest first
        self._timer: asyncio.TimerHandle | None = None

    def next(self) -> Deadline:
        """Return a context for one request of the calling task."""
        return Deadline(self)

    def add(self, deadline: Deadline) -> None:
        """Watch a deadline, which begins now."""
        if self.seconds is not None:
            loop = asyncio.get_running_loop()
            deadline.ends_at = loop.time() + self.seconds
            self._open[deadline] = None
            if self._timer is None:
                self._timer = loop.call_at(deadline.ends_at, self._check)

    def remove(self, deadline: Deadline) -> None:
        """Watch it no longer."""
        self._open.pop(deadline, None)

    def _check(self) -> None:
        """Stop what has reached its deadline, and come back for the next one."""
        loop, self._timer = asyncio.get_running_loop(), None
        while self._open:
            deadline = next(iter(self._open))
            if deadline.ends_at > loop.time():
                self._timer = loop.call_at(deadline.ends_at, self._check)
                return
            del self._open[deadline]
            deadline.expire()


class Deadline:
    """One request's limit, as a context."""

    __slots__ = ("ends_at", "_all", "_task", "_expired")

    def __init__(self, all_of_them: Deadlines):
        self.ends_at, self._all, self._expired = 0.0, all_of_them, False
        self._task: asyncio.Task[object] | None = None

    def expire(self) -> None:
        """Cancel what the request is waiting for."""
        if self._task is not None:
            self._expired = True
            self._task.cancel()

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._all.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._all.remove(self)
        if not self._expired or self._task is None:
            return
        others = self._task.uncancel() if hasattr(self._task, "uncancel") else 0  # cancelled by others, too
        if kind is asyncio.CancelledError and not others:
            raise asyncio.TimeoutError from error
