"""How fast a stage's sessions worked over time, in a record of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Point = tuple[float, int, int]  # (seconds since the epoch, requests in flight, tokens generated so far)
_MOST = 120  # points of a session
_BUCKETS = 120  # of all sessions together
_STARTS = 200


class Timeline:
    """The points of one session: the more of them, the farther apart."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self._every_s = 0.0

    def add(self, now: float, in_flight: int, tokens: int, last: bool = False) -> None:
        """Record a point, unless the one before is recent. last: record it in any case."""
        if self.points and not last and now - self.points[-1][0] < self._every_s:
            return
        self.points.append((round(now, 1), in_flight, tokens))
        if len(self.points) > _MOST:
            self.points = self.points[::2]  # the first stays
            self._every_s = 2 * (self.points[-1][0] - self.points[0][0]) / _MOST


def merge(sessions: Iterable[Sequence[Sequence[float]]]) -> dict[str, Any]:
    """Return what all sessions did together, {} without two points of one of them.

    begun_at: seconds since the epoch; step_s: length of a bucket; tokens_per_s and in_flight: a mean per bucket;
    starts: when sessions began, in seconds after begun_at, the first 200 of them.
    """
    lists = sorted((list(points) for points in sessions if len(points) > 1), key=lambda points: points[0][0])
    if not lists:
        return {}
    begun, ended = lists[0][0][0], max(points[-1][0] for points in lists)
    step = max((ended - begun) / _BUCKETS, 0.1)
    size = min(_BUCKETS, int((ended - begun) / step) + 1)
    tokens, flying = [0.0] * size, [0.0] * size
    for points in lists:
        for (start, busy, before), (end, _, after) in zip(points, points[1:], strict=False):
            _spread(tokens, (start - begun) / step, (end - begun) / step, after - before)
            _spread(flying, (start - begun) / step, (end - begun) / step, busy * (end - start))
    return {
        "begun_at": begun,
        "step_s": round(step, 3),
        "tokens_per_s": [round(value / step, 2) for value in tokens],
        "in_flight": [round(value / step, 2) for value in flying],
        "starts": [round(points[0][0] - begun, 1) for points in lists[:_STARTS]],
    }


def _spread(buckets: list[float], start: float, end: float, amount: float) -> None:
    """Add an amount evenly to the buckets between two places."""
    if end <= start or amount <= 0:
        return
    first = min(int(start), len(buckets) - 1)
    for place in range(first, len(buckets)):
        overlap = min(end, place + 1) - max(start, place)
        if overlap <= 0:
            break
        buckets[place] += amount * overlap / (end - start)
