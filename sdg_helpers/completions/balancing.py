"""Spread requests over several servers that serve the same model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from sdg_helpers.completions.failed_attempts import BUSY, FATAL, RETRY, UNREACHABLE, FailedAttempt
from sdg_helpers.completions.pacing import Pace
from sdg_helpers.completions.transport import Transport
from sdg_helpers.completions.types import Completion, Request

_FAILURES_IN_A_ROW = 3  # after which a server is left out for a while
_FIRST_REST_S, _LONGEST_REST_S = 1.0, 60.0
_FATAL_REST_S = 600.0  # a key that ran out may be renewed
_BURDEN = 4  # a failure counts as so many requests in flight, or a server that fails at once would attract requests
_HOPE = (BUSY, UNREACHABLE, FATAL)  # the outcome of several servers is the best of theirs


@dataclass
class _Replica:
    """One of the servers. rest_until: when it may be tried again (monotonic clock)."""

    transport: Transport
    weight: float
    pace: Pace
    in_flight: int = 0
    failures_in_a_row: int = 0
    rest_s: float = 0.0
    rest_until: float = 0.0
    busy: FailedAttempt = field(default_factory=lambda: FailedAttempt(BUSY, "pushed_back", "the server is full"))
    counts: dict[str, int] = field(default_factory=lambda: {"done": 0, "failed": 0, "left_out": 0})

    @property
    def load(self) -> float:
        return (self.in_flight + 1 + _BURDEN * self.failures_in_a_row) / self.weight

    def rest(self, seconds: float = 0.0) -> None:
        """Leave this server out for a while, longer each time; at least for these seconds."""
        self.rest_s = min(_LONGEST_REST_S, max(_FIRST_REST_S, 2 * self.rest_s))
        self.rest_until = time.monotonic() + max(self.rest_s, seconds)
        self.counts["left_out"] += 1


class Balancer:
    """Sends each request to the least loaded server; has a Transport's interface.

    A server that cannot be reached or keeps failing is left out and tried again now and then. A request that one server
    had no room for, or that did not reach it, goes to the next one at once.
    """

    def __init__(self, transports: Sequence[Transport], weights: Sequence[float], ceiling: int):
        self._replicas = [
            _Replica(transport, weight, Pace(ceiling)) for transport, weight in zip(transports, weights, strict=True)
        ]
        self.base_url = ", ".join(transport.base_url for transport in transports)

    async def __aenter__(self) -> Balancer:
        self._stack = AsyncExitStack()
        for replica in self._replicas:
            await self._stack.enter_async_context(replica.transport)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def attempt(self, request: Request) -> Completion | FailedAttempt:
        """Send a request once; to several servers only as long as none has accepted it."""
        tried: list[_Replica] = []
        outcome: FailedAttempt | None = None
        while (replica := self._choose(tried)) is not None:
            tried.append(replica)
            latest = await self._attempt(replica, request)
            if isinstance(latest, Completion) or latest.kind not in (BUSY, UNREACHABLE, FATAL):
                return latest
            if outcome is None or _HOPE.index(latest.kind) < _HOPE.index(outcome.kind):
                outcome = latest
        return outcome or self._replicas[0].busy

    def counts(self) -> dict[str, dict[str, int]]:
        """Return completions, failed attempts and times left out, by server."""
        return {replica.transport.base_url: dict(replica.counts) for replica in self._replicas}

    def _choose(self, tried: list[_Replica]) -> _Replica | None:
        """Return the least loaded server that has not been tried; one that is left out only when all of them are."""
        now = time.monotonic()
        awake = [replica for replica in self._replicas if replica.rest_until <= now]
        if not awake:
            return None if tried else min(self._replicas, key=lambda replica: replica.rest_until)
        free = [one for one in awake if one not in tried and one.in_flight < int(one.pace.limit)]
        return min(free, key=lambda replica: replica.load, default=None)

    async def _attempt(self, replica: _Replica, request: Request) -> Completion | FailedAttempt:
        replica.in_flight += 1
        probe = replica.pace.sent(replica.in_flight)
        if replica.rest_s:  # it has just been left out: until it answers, others wait
            replica.rest_until = time.monotonic() + replica.rest_s
        try:
            outcome = await replica.transport.attempt(request)
        finally:
            replica.in_flight -= 1
        if isinstance(outcome, Completion) or outcome.kind not in (RETRY, BUSY, UNREACHABLE, FATAL):
            replica.counts["done" if isinstance(outcome, Completion) else "failed"] += 1
            replica.failures_in_a_row, replica.rest_s, replica.rest_until = 0, 0.0, 0.0
            replica.pace.accepted(probe, grow=2 * (replica.in_flight + 1) >= replica.pace.limit)
            return outcome
        replica.counts["failed"] += 1
        if outcome.kind == BUSY:
            replica.pace.refused(probe)
            replica.busy = outcome
            return outcome
        replica.failures_in_a_row += 1
        if outcome.kind == FATAL:
            replica.rest(_FATAL_REST_S)
        elif outcome.kind == UNREACHABLE or replica.failures_in_a_row >= _FAILURES_IN_A_ROW:
            replica.rest()
        return outcome
