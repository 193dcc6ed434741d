"""Counts, tokens, rates and latencies of a run, in constant memory."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from dataclasses import dataclass, field

from sdg_helpers.completions.types import Completion

_PER_DECADE = 40  # histogram bins per factor of ten: quantiles are accurate to 3 %
_SHORTEST_S, _DECADES = 1e-4, 10
_RECENT_S = 60.0  # at least, and four times the median latency: replies that take minutes come in waves
_MAX_RECENT_S = 3600.0


@dataclass(frozen=True)
class Progress:
    """The state of a run.

    Rates cover the whole run, recent rates the last minute, or longer where replies take long; latencies are seconds
    from sending to the complete reply;
    trouble: why nothing is being sent (the server is unreachable or full), else ""; servers: with several of them, the
    completions, failed attempts and times left out of each; note: the state of hosted batches, in words; thinking:
    completions by the form in which the server sent their thinking; continued: completions of which an earlier attempt
    had written a part, and kept_tokens, the tokens of those parts.
    """

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
    servers: dict[str, dict[str, int]] = field(default_factory=dict)
    note: str = ""
    thinking: dict[str, int] = field(default_factory=dict)
    latency_mean_s: float = 0.0
    continued: int = 0
    kept_tokens: int = 0


class Meter:
    """Counts what happens; `progress` summarizes it."""

    def __init__(self) -> None:
        self.done = self.failed = self.retried = self.pushed_back = self.prompt_tokens = self.completion_tokens = 0
        self.continued = self.kept_tokens = 0
        self._thinking: Counter[str] = Counter()
        self._seconds = 0.0
        self._start = time.monotonic()
        self._bins = [0] * (_PER_DECADE * _DECADES + 1)
        self._recent: deque[tuple[float, int, int]] = deque([(self._start, 0, 0)])

    def reply(self, reply: Completion) -> None:
        """Count one completion, and the form in which its thinking came."""
        self.completed(reply.prompt_tokens, reply.completion_tokens - reply.kept_tokens, reply.seconds)
        if reply.kept_tokens:
            self.continued += 1
            self.kept_tokens += reply.kept_tokens
        self._thinking[reply.thinking] += 1

    def completed(self, prompt_tokens: int, completion_tokens: int, seconds: float) -> None:
        """Count the tokens and the time of one completion."""
        self.done += 1
        self._seconds += seconds
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        place = int(math.log10(seconds / _SHORTEST_S) * _PER_DECADE) + 1 if seconds > _SHORTEST_S else 0
        self._bins[min(place, len(self._bins) - 1)] += 1

    def latency_s(self, quantile: float) -> float:
        """Return a quantile (0 to 1) of the latencies in seconds; 0.0 before the first completion."""
        seen, wanted = 0, quantile * self.done
        for place, count in enumerate(self._bins):
            seen += count
            if count and seen >= wanted:
                return _SHORTEST_S * 10 ** ((place - 0.5) / _PER_DECADE)
        return 0.0

    def progress(
        self, in_flight: int, waiting: int, limit: int, trouble: str, servers: dict[str, dict[str, int]]
    ) -> Progress:
        """Return the state so far. Call it about once a second."""
        now = time.monotonic()
        elapsed, p50 = now - self._start, self.latency_s(0.5)
        window = min(max(_RECENT_S, 4 * p50), _MAX_RECENT_S)
        while len(self._recent) > 1 and now - self._recent[0][0] > window:
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
            p50,
            self.latency_s(0.9),
            self.latency_s(0.99),
            trouble,
            servers,
            thinking=dict(self._thinking),
            latency_mean_s=self._seconds / max(1, self.done),
            continued=self.continued,
            kept_tokens=self.kept_tokens,
        )


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0
