"""How long the rest of a stage takes: the work that waits over the sum of the servers' rates, then the tail.

Waiting work goes to whichever server is free: nobody owns it, and in the end servers give back what they have not sent.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Worker:
    """A server's speed and what it holds.

    rows_per_s: now. in_flight: requests that are sent; queued: requests of its blocks that are not. tail_s: what its
    longest requests take. idle_s: for how long it has sent none. loading_for_s: for how long it has been loading its
    model, None when it does not.
    """

    rows_per_s: float
    in_flight: int = 0
    queued: int = 0
    tail_s: float = 0.0
    idle_s: float = 0.0
    loading_for_s: float | None = None


def own_time_left(worker: Worker) -> float | None:
    """Return the seconds until a server has done what it holds; None while its rate is not known."""
    if not worker.in_flight and not worker.queued:
        return 0.0
    if worker.rows_per_s <= 0:
        return None
    return worker.queued / worker.rows_per_s + (worker.tail_s if worker.queued else _rest_of_tail(worker))


def time_left(rows: float, workers: Iterable[Worker], load_s: float | None) -> float | None:
    """Return the seconds until `rows`, those in flight included, are done; None while no rate is known.

    load_s: what loading the model usually takes: a server that loads now is counted from then on, with the median rate.
    """
    every = list(workers)
    at_work = [worker for worker in every if worker.rows_per_s > 0]
    if not at_work:
        return None
    starts = [(0.0, worker.rows_per_s) for worker in at_work]
    if load_s is not None:
        usual = statistics.median(worker.rows_per_s for worker in at_work)
        loading_for_s = [worker.loading_for_s for worker in every if worker.loading_for_s is not None]
        starts += [(max(0.0, load_s - loading_s), usual) for loading_s in loading_for_s]
    waiting = rows - sum(worker.in_flight for worker in at_work)
    if waiting <= 0 or all(worker.idle_s > worker.tail_s for worker in at_work):
        return max(map(_rest_of_tail, at_work))
    tails = sorted(worker.tail_s for worker in at_work)
    sent, shared = _time_to_send(waiting, starts), waiting - sum(worker.queued for worker in every)
    if shared <= 0:
        return max(sent + tails[(len(tails) - 1) // 2], *map(_rest_of_tail, at_work))
    # A slow server sends little once no block is free: the others then get what it has not sent.
    return max(sent + tails[(len(tails) - 1) // 2], _time_to_send(shared, starts) + tails[-1])


def _rest_of_tail(worker: Worker) -> float:
    """Return what the requests in flight still take: the longest of them, from when the last one was sent on."""
    return max(worker.tail_s - worker.idle_s, 0.05 * worker.tail_s) if worker.in_flight else 0.0


def _time_to_send(rows: float, starts: Sequence[tuple[float, float]]) -> float:
    """Return when so many rows have been worked off by servers that start at a time and have a rate."""
    rate, now = 0.0, 0.0
    for start, more in sorted(starts):
        if rate and rows <= rate * (start - now):
            break
        rows, now, rate = rows - rate * (start - now), start, rate + more
    return now + rows / rate
