"""How well servers are used when each owns a share of the problems, and when they take blocks: a simulation.

    python -m bench.servers              # two minutes
    python -m bench.servers --leases     # what taking 30,000 blocks by 64 owners costs, on this disk

Lengths are log-normal, as those of R1 on hard problems, and cut at max_tokens. A slot writes at a constant speed; a
server's slots are always full while it has requests. Utilisation: tokens written, of those that all servers could have
written from their start to the last row.
"""

from __future__ import annotations

import argparse
import heapq
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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


def simulate() -> None:
    print("| servers | kind | shares: hours | utilisation | blocks: hours | utilisation |\n|-:|-|-:|-:|-:|-:|")
    for count in (8, 64):
        rng = np.random.default_rng(0)
        shape = (count * PROBLEMS_A_SERVER, SEEDS)
        lengths = np.minimum(rng.lognormal(np.log(MEDIAN), SIGMA, shape), MAX_TOKENS)
        for name, servers in scenarios(count):
            cells = []
            for shared in (False, True):
                end = play(lengths, servers, shared)
                cells.append(f"{end / 3600:.1f} | {utilisation(lengths, servers, end):.1%}")
            print(f"| {count} | {name} | {' | '.join(cells)} |", flush=True)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leases", action="store_true")
    measure_leases() if parser.parse_args().leases else simulate()


if __name__ == "__main__":
    main()
