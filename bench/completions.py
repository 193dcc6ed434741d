"""How fast the completions engine is beside a bare loop and other libraries: requests a second, CPU and memory.

    python -m bench --only completions              # the whole comparison, as in RESULTS.md
    python -m bench.completions --clients bare stage --latency 0 --concurrencies 64
    python -m bench.completions --before CHECKOUT   # also the engine and the stage of another checkout of this project

The stand-in server has the first core to itself, the client the second. Each client (bench/clients.py) reads prompts
from a JSONL file and writes a JSONL file. Clients take turns, and medians count. Requests a second are by the server's
clock, from the first request to the last reply; CPU time is without that of starting Python and importing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from bench import targets
from bench.peers import PEERS, CannotInstall, python_of
from bench.results import ROOT, Figure, Part, table
from tests.helpers.standin import StandIn

FLOOR, OWN = "bare", ("bare", "bare-uvloop", "ours", "stage")
PROMPT = "Solve the following problem and put the answer in \\boxed{}.\n\nWhat is %d + %d? Explain every step."
WARM_UP = 128  # requests of the run whose CPU time is subtracted
_ROUNDS_OF_SLOTS = 8  # requests for each in flight, at least: what is prepared before the first one is not counted
_GIVE_UP_S = 3600


@dataclass(frozen=True)
class Setting:
    """One place in the comparison. latency_s: how long the server waits before it answers."""

    count: int
    concurrency: int
    latency_s: float
    size: int = 4096

    def __str__(self) -> str:
        return f"{self.concurrency} in flight, {self.latency_s * 1000:.0f} ms"


@dataclass(frozen=True)
class Client:
    """How to start a client. package: the checkout whose engine is measured; share: of the requests it is asked for."""

    name: str
    python: str = sys.executable
    package: Path = ROOT
    share: float = 1.0

    @property
    def label(self) -> str:
        return self.name if self.package == ROOT else f"{self.name} before"

    def run(self, setting: Setting, cores: Sequence[int] = (0, 1)) -> dict[str, float]:
        """Run once against a fresh server; return rps, cpu_s, peak_mb, in_flight (at most) and count."""
        count = max(round(setting.count * self.share), _ROUNDS_OF_SLOTS * setting.concurrency)
        with (
            tempfile.TemporaryDirectory() as folder,
            StandIn(size=setting.size, latency=f"{setting.latency_s:g}", no_track=True) as server,
        ):
            os.sched_setaffinity(server.process.pid, {cores[0]})
            rows = f"{folder}/out.jsonl"
            write_prompts(f"{folder}/in.jsonl", count)
            words = [self.name, "--url", server.base_url, "--input", f"{folder}/in.jsonl", "--output", rows]
            try:
                done = subprocess.run(
                    [self.python, str(ROOT / "bench/clients.py"), *words, "--concurrency", str(setting.concurrency)],
                    env={**os.environ, "PYTHONPATH": str(self.package)},
                    capture_output=True,
                    text=True,
                    timeout=_GIVE_UP_S,
                    preexec_fn=lambda: os.sched_setaffinity(0, {cores[1]}),
                )
            except subprocess.TimeoutExpired:
                raise ClientFailed(f"{self.name}: not done after {_GIVE_UP_S} s") from None
            stats = server.stats()
            if done.returncode or stats["status"].get("200", 0) < count:
                raise ClientFailed(f"{self.name}: {' '.join(done.stderr.split())[-500:] or stats['status']}")
            used = json.loads(Path(rows + ".used").read_text())
        return {
            **used,
            "count": count,
            "rps": count / (stats["last"] - stats["first"]),
            "in_flight": stats["in_flight_max"],
        }


class ClientFailed(Exception):
    """A client ended with an error, or got fewer replies than it was asked for."""


def write_prompts(path: str, count: int) -> None:
    with open(path, "wb") as file:
        file.writelines(orjson.dumps({"id": str(n), "problem": PROMPT % (n, n * 7)}) + b"\n" for n in range(count))


def make_clients(options: argparse.Namespace, notes: list[str]) -> Iterator[Client]:
    """Yield the wanted clients, the floor first; note which peers cannot be installed or do not work, and why."""
    for name in dict.fromkeys([FLOOR, *options.clients]):
        if name not in PEERS:
            yield Client(name)
            continue
        try:
            one = Client(name, str(python_of(name)), share=PEERS[name].share)
            one.run(Setting(WARM_UP, WARM_UP // _ROUNDS_OF_SLOTS, 0.0))
        except (CannotInstall, ClientFailed) as error:
            notes.append(f"Skipped: {name}: {error}")
        else:
            yield one
    if options.before:
        yield from (Client(name, package=options.before.resolve()) for name in ("ours", "stage"))


def compare(clients: Sequence[Client], setting: Setting, rounds: int, start_cpu_s: Mapping[str, float]) -> list[Figure]:
    """Return the figures of all clients, the floor among them, in one setting. start_cpu_s: of a run of WARM_UP."""
    runs: dict[str, list[dict[str, float]]] = {one.label: [] for one in clients}
    for _ in range(rounds):
        for one in clients:
            runs[one.label].append(one.run(setting))
    rps = {label: statistics.median(run["rps"] for run in of) for label, of in runs.items()}
    cpu = {
        label: statistics.median(1000 * (run["cpu_s"] - start_cpu_s[label]) / (run["count"] - WARM_UP) for run in of)
        for label, of in runs.items()
    }
    found = []
    for label, of in runs.items():
        subject, speed, processor = f"{label}, {setting}", None, None
        if label == "stage":
            speed, processor = targets.STAGE_SPEED, targets.STAGE_CPU
        found += [
            Figure(subject, "requests/s", rps[label]),
            Figure(subject, "× floor", rps[label] / rps[FLOOR], speed),
            Figure(subject, "CPU s/1,000", cpu[label]),
            Figure(subject, "CPU × floor", cpu[label] / cpu[FLOOR], processor),
            Figure(subject, "peak MB", max(run["peak_mb"] for run in of)),
        ]
        if setting.latency_s:  # a server that answers at once never sees two requests
            found.append(Figure(subject, "in flight at most", max(run["in_flight"] for run in of)))
    if "stage" in rps and (fastest := max((rps[name] for name in PEERS if name in rps), default=None)):
        target = None if setting.latency_s else targets.FASTEST_PEER
        found.append(Figure(f"stage, {setting}", "× fastest peer", rps["stage"] / fastest, target))
    return found


def measure(quick: bool, options: argparse.Namespace | None = None) -> Part:
    """Compare the clients in every setting."""
    options = options or parse([])
    count, rounds = (options.count // 5, 1) if quick else (options.count, options.rounds)
    part = Part()
    clients = list(make_clients(options, part.notes))
    fewer = "".join(f", {one.label} {one.share:g} of them" for one in clients if one.share < 1)
    part.notes.append(
        f"{count:,} requests{fewer}, at least {_ROUNDS_OF_SLOTS} for each in flight; {options.size:,} characters a "
        f"reply; medians of {rounds}."
    )
    first = Setting(WARM_UP, WARM_UP // _ROUNDS_OF_SLOTS, 0.0, options.size)
    start_cpu_s = {one.label: statistics.median(one.run(first)["cpu_s"] for _ in range(rounds)) for one in clients}
    for latency_s in options.latency:
        for concurrency in options.concurrencies:
            setting = Setting(count, concurrency, latency_s, options.size)
            part.figures += compare(clients, setting, rounds, start_cpu_s)
            print("\n".join(table(part.figures)[-len(clients) :]), flush=True)
    return part


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--count", type=int, default=10_000)
    add("--rounds", type=int, default=3)
    add("--size", type=int, default=4096, help="characters a reply")
    add("--latency", type=float, nargs="+", default=[0.0, 0.05], help="seconds")
    add("--concurrencies", type=int, nargs="+", default=[64, 512])
    add("--clients", nargs="+", choices=[*OWN, *PEERS], default=[*OWN, *PEERS], help="these and the floor")
    add("--before", type=Path, help="also the engine and the stage of this checkout")
    return parser.parse_args(words)


if __name__ == "__main__":
    found = measure(False, parse())
    print("\n".join(["", *found.notes, *table(found.figures)]))
