"""What a run of many requests has done so far: counts, tokens, rates and latencies, in memory that does not grow."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass

_PER_DECADE = 40  # histogram bins for each factor of ten: quantiles are right within 3 %
_SHORTEST_S, _DECADES = 1e-4, 10
_RECENT_S = 60.0


@dataclass(frozen=True)
class Progress:
    """Where a run stands. Rates are over the whole run, recent rates over the last minute; latencies are seconds from
    sending to the whole reply. `trouble` is a sentence while the server is away, else empty."""

    done: int
    failed: int
    retried: int
    pushed_back: int
    in_flight: int
    waiting: int
    limit: int
    prompt_tokens: int
    completion_tokens: int
    elapsed_s: float
    requests_per_s: float
    tokens_per_s: float
    recent_requests_per_s: float
    recent_tokens_per_s: float
    latency_p50_s: float
    latency_p90_s: float
    latency_p99_s: float
    trouble: str


class Meter:
    """Counts what happens; `progress` sums it up."""

    def __init__(self) -> None:
        self.done = self.failed = self.retried = self.pushed_back = self.prompt_tokens = self.completion_tokens = 0
        self._start = time.monotonic()
        self._bins = [0] * (_PER_DECADE * _DECADES + 1)
        self._recent: deque[tuple[float, int, int]] = deque([(self._start, 0, 0)])

    def completed(self, prompt_tokens: int, completion_tokens: int, seconds: float) -> None:
        """One more completion."""
        self.done += 1
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        place = int(math.log10(seconds / _SHORTEST_S) * _PER_DECADE) + 1 if seconds > _SHORTEST_S else 0
        self._bins[min(place, len(self._bins) - 1)] += 1

    def latency_s(self, quantile: float) -> float:
        """The latency that this share of the completions did not exceed, in seconds; 0.0 when there are none."""
        seen, wanted = 0, quantile * self.done
        for place, count in enumerate(self._bins):
            seen += count
            if count and seen >= wanted:
                return _SHORTEST_S * 10 ** ((place - 0.5) / _PER_DECADE)
        return 0.0

    def progress(self, in_flight: int, waiting: int, limit: int, trouble: str) -> Progress:
        """Everything so far; call it about once a second."""
        now = time.monotonic()
        elapsed = now - self._start
        while len(self._recent) > 1 and now - self._recent[0][0] > _RECENT_S:
            self._recent.popleft()
        since, done, tokens = self._recent[0]
        self._recent.append((now, self.done, self.completion_tokens))
        return Progress(
            self.done,
            self.failed,
            self.retried,
            self.pushed_back,
            in_flight,
            waiting,
            limit,
            self.prompt_tokens,
            self.completion_tokens,
            elapsed,
            _rate(self.done, elapsed),
            _rate(self.completion_tokens, elapsed),
            _rate(self.done - done, now - since),
            _rate(self.completion_tokens - tokens, now - since),
            self.latency_s(0.5),
            self.latency_s(0.9),
            self.latency_s(0.99),
            trouble,
        )


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0
