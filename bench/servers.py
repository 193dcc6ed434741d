"""How well servers are used when each owns a share of the problems, and when they take blocks: a simulation.

    python -m bench.servers              # two minutes
    python -m bench.servers --leases     # what taking 30,000 blocks by 64 owners costs, on this disk
    python -m bench.servers --limits     # what GPU-hours go to starts, thrown-away text and tails under time limits

Lengths are log-normal, as those of R1 on hard problems, and cut at max_tokens. A slot writes at a constant speed; a
server's slots are always full while it has requests. Utilisation: tokens written, of those that all servers could have
written from their start to the last row.
"""

from __future__ import annotations

import argparse
import heapq
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.results import Figure, Part
from sdg_helpers.leases import blocks
from sdg_helpers.leases.lease_folder import LeaseFolder

SEEDS, SLOTS, AHEAD, TOKENS_PER_S = 16, 256, 64, 20.0
MEDIAN, SIGMA, MAX_TOKENS = 9000, 0.7, 32768
PROBLEMS_A_SERVER = 1875  # a quarter of 480,000 problems on 64 servers


@dataclass
class Servers:
    """speeds: tokens/s of a slot of each server; starts: when each begins, in seconds."""

    speeds: np.ndarray
    starts: np.ndarray


def scenarios(count: int) -> Iterator[tuple[str, Servers]]:
    """Yield the kinds of servers: name, servers."""
    rng, alike, now = np.random.default_rng(1), np.full(count, TOKENS_PER_S), np.zeros(count)
    yield "all alike", Servers(alike, now)
    yield "speeds differ by 10 % (one sigma)", Servers(alike * np.clip(rng.normal(1, 0.1, count), 0.5, 1.5), now)
    yield "one ten times slower", Servers(np.where(np.arange(count) == 0, TOKENS_PER_S / 10, alike), now)
    yield "half of them start 12 hours later", Servers(alike, np.where(np.arange(count) % 2, 12 * 3600.0, now))


def play(lengths: np.ndarray, servers: Servers, shared: bool) -> float:
    """Return when the last request ends, in seconds. lengths: tokens, of shape (problems, seeds)."""
    count, problems = len(servers.speeds), len(lengths)
    if shared:
        names = blocks.split(np.ones(problems, dtype=bool), SEEDS, count)
        pools = [iter([blocks.items_of(name) for name in names])] * count
    else:
        bounds = [number * problems // count for number in range(count + 1)]
        pools = [iter([range(bounds[number], bounds[number + 1])]) for number in range(count)]
    waiting: list[list[float]] = [[] for _ in range(count)]
    free = [(float(servers.starts[number]), number) for number in range(count) for _ in range(SLOTS)]
    heapq.heapify(free)
    end = 0.0
    while free:
        now, number = heapq.heappop(free)
        mine = waiting[number]
        while len(mine) < AHEAD and (items := next(pools[number], None)) is not None:
            mine[:0] = lengths[items.start : items.stop].ravel()[::-1].tolist()
        if mine:
            now += mine.pop() / servers.speeds[number]
            end = max(end, now)
            heapq.heappush(free, (now, number))
    return end


def utilisation(lengths: np.ndarray, servers: Servers, end: float) -> float:
    return float(lengths.sum() / (SLOTS * (servers.speeds * (end - servers.starts)).sum()))


def simulate(count: int) -> Iterator[tuple[str, str, float, float]]:
    """Yield kind of servers, "shares" or "blocks", hours until the last row, and utilisation. count: of servers."""
    rng = np.random.default_rng(0)
    shape = (count * PROBLEMS_A_SERVER, SEEDS)
    lengths = np.minimum(rng.lognormal(np.log(MEDIAN), SIGMA, shape), MAX_TOKENS)
    for name, servers in scenarios(count):
        for shared in (False, True):
            end = play(lengths, servers, shared)
            yield name, "blocks" if shared else "shares", end / 3600, utilisation(lengths, servers, end)


PLACES, LIMITED_SLOTS, WORK_H = 16, 32, 72  # servers at a time; slots of each (losses do not depend on it); of work
START_S, DRAIN_S = 30 * 60.0, 300.0  # until a server answers; before the limit it sends nothing new
KINDS = ("static", "queue", "text kept")


def play_limits(lengths: np.ndarray, kind: str, chunks: int, limit_s: float) -> dict[str, float]:
    """Return the shares of the slots' time that go to starts, thrown-away text and idle slots.

    lengths: seconds of each reply. static: a job per chunk of the requests, with its own server, which starts again
    after each time limit; queue: jobs take requests from one queue; text kept: and what is cut at the limit continues.
    """
    pools = [deque(part.tolist()) for part in np.array_split(lengths, chunks)] if kind == "static" else []
    shared = None if pools else deque(lengths.tolist())
    places = [_Place(limit_s, kind) for _ in range(min(PLACES, chunks))]
    events: list[tuple[float, int]] = []

    def begin(place: _Place, number: int, now: float) -> None:
        if not place.pool:
            place.pool = (pools.pop(0) if pools else deque()) if shared is None else shared
        if place.pool:
            place.start(now)
            events.extend((place.ready, number) for _ in range(LIMITED_SLOTS))
            heapq.heapify(events)

    for number, place in enumerate(places):
        begin(place, number, 0.0)
    while events:
        now, number = heapq.heappop(events)
        place = places[number]
        end = place.next(now)
        if end is not None:
            heapq.heappush(events, (end, number))
        elif not place.working:
            begin(place, number, place.stop())
    total = sum(place.held for place in places) * LIMITED_SLOTS
    starts, lost = sum(place.starts for place in places), sum(place.lost for place in places)
    shares = {"starts": starts * START_S * LIMITED_SLOTS / total, "text": lost / total}
    return shares | {"idle": 1 - float(lengths.sum()) / total - sum(shares.values())}


class _Place:
    """Where one job after another runs. held: seconds that jobs had it; lost: seconds of slots for text thrown away."""

    def __init__(self, limit_s: float, kind: str):
        self._limit_s, self._keeps = limit_s, kind == "text kept"
        self.pool: deque[float] = deque()
        self.held = self.lost = self.ready = 0.0
        self.starts = self.working = 0

    def start(self, now: float) -> None:
        self.begun, self.ready, self.limit, self.last = now, now + START_S, now + self._limit_s, now + START_S
        self.starts += 1
        self.working, self.cut = LIMITED_SLOTS, []

    def next(self, now: float) -> float | None:
        """Give a free slot its next reply; return when that ends, None when the slot has no more to do."""
        self.last = max(self.last, min(now, self.limit))
        if now >= self.limit - (0 if self._keeps else DRAIN_S) or not self.pool:
            self.working -= 1
            return None
        end = now + self.pool.popleft()
        if end <= self.limit:
            return end
        written = self.limit - now
        self.cut.append(end - self.limit if self._keeps else end - now)
        self.lost += 0 if self._keeps else written
        return self.limit

    def stop(self) -> float:
        """End the job; what was cut is asked for again."""
        self.held += self.last - self.begun
        self.pool.extend(self.cut)
        return self.last


def compare_limits(hours: float, chunks: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each kind of jobs and its shares of the slots' time that write no tokens, for a time limit in hours."""
    rng = np.random.default_rng(0)
    count = int(PLACES * LIMITED_SLOTS * WORK_H * 3600 * TOKENS_PER_S / 11_000)
    lengths = np.minimum(rng.lognormal(np.log(MEDIAN), SIGMA, count), MAX_TOKENS) / TOKENS_PER_S
    for kind in KINDS:
        yield kind, play_limits(lengths, kind, chunks, 3600 * hours)


def measure_leases(owners: int = 64, count: int = 30_000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        leases = LeaseFolder(Path(folder) / "leases")
        start = time.monotonic()
        leases.create(f"{16 * block:08d}-{16 * block + 16:08d}" for block in range(count))
        created = time.monotonic()
        views, done = [LeaseFolder(leases.folder) for _ in range(owners)], 0
        while done < count:
            for number, view in enumerate(views):
                if lease := view.take(f"owner{number}"):
                    done += view.finish(lease)
        a_block = (time.monotonic() - created) / count
        block_s = 16 * SEEDS * MEDIAN / (SLOTS * TOKENS_PER_S)
        print(
            f"{count:,} blocks, {owners} owners: created in {created - start:.1f} s, {a_block * 1000:.2f} ms to take "
            f"and finish one, {a_block / block_s:.4%} of the {block_s:.0f} s in which a server answers it"
        )


def measure(quick: bool) -> Part:
    """Simulate shares beside blocks, and time limits. quick: 8 servers, and 8 and 512 jobs."""
    part = Part(notes=["Simulated: hours and utilisation (%) of servers; under time limits, % of GPU-hours lost."])
    for count in (8,) if quick else (8, 64):
        for name, how, hours, used in simulate(count):
            subject = f"{count} servers, {name}"
            part.figures += [Figure(subject, f"{how}: hours", hours), Figure(subject, f"{how}: %", 100 * used)]
    for hours in (4, 24):
        for chunks in (8, 512) if quick else (8, 16, 64, 512):
            for kind, lost in compare_limits(hours, chunks):
                subject = f"limit of {hours} h, {chunks} jobs"
                part.figures.append(Figure(subject, f"{kind}: % lost", 100 * sum(lost.values())))
    return part


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leases", action="store_true")
    parser.add_argument("--limits", action="store_true")
    options = parser.parse_args()
    if options.limits:
        print("| time limit | jobs | kind | starts | text thrown away | idle | lost |\n|-:|-:|-|-:|-:|-:|-:|")
        for hours in (4, 24):
            for chunks in (8, 16, 64, 512):
                for kind, lost in compare_limits(hours, chunks):
                    cells = " | ".join(f"{share:.1%}" for share in [*lost.values(), sum(lost.values())])
                    print(f"| {hours} h | {chunks} | {kind} | {cells} |", flush=True)
    elif options.leases:
        measure_leases()
    else:
        print("| servers | kind | how | hours | utilisation |\n|-:|-|-|-:|-:|")
        for count in (8, 64):
            for name, how, hours, used in simulate(count):
                print(f"| {count} | {name} | {how} | {hours:.1f} | {used:.1%} |", flush=True)


if __name__ == "__main__":
    main()
