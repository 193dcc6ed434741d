"""The ledger of a run: what each process has used at each server, in the run's folder `spending`.

It is written whether or not there is a budget, in its own files: a stage's counts go when the stage is reset, but what
it spent is spent.
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdg_helpers import files, processes
from sdg_helpers.budgets.budget import GPU_HOURS, HOURS, TOKENS, TOTAL_TOKENS
from sdg_helpers.cluster import this_job
from sdg_helpers.errors import SdgError

FOLDER = "spending"
_HEARTBEAT_S = 5.0
LIVE_S = 30.0  # an entry that was updated this recently belongs to a process that is still at work
_COUNTS = ("prompt_tokens", "completion_tokens", "reserved_prompt_tokens", "reserved_completion_tokens", "gpus")


@dataclass(frozen=True)
class Spent:
    """What a run has used.

    hours: at work; overlaps count once. live_gpus: GPUs in use now. money: by currency. estimated: replies for which
    the server reported no tokens. exhausted: the budgets (amount, unit) at which a process had to stop.
    """

    prompt_tokens: float = 0
    completion_tokens: float = 0
    hours: float = 0.0
    gpu_hours: float = 0.0
    live_gpus: float = 0.0
    money: Mapping[str, float] | None = None
    estimated: int = 0
    exhausted: frozenset[tuple[float, str]] = frozenset()

    def amount(self, unit: str) -> float:
        """Return how much this is in a budget's unit."""
        plain = {
            TOKENS: self.completion_tokens,
            TOTAL_TOKENS: self.prompt_tokens + self.completion_tokens,
            GPU_HOURS: self.gpu_hours,
            HOURS: self.hours,
        }
        return plain[unit] if unit in plain else (self.money or {}).get(unit.upper(), 0.0)


class Ledger:
    """Reads all entries of a run; a file that has not changed is read once."""

    def __init__(self, run: Path):
        self.run, self.folder = run, run / FOLDER
        self._known: dict[str, tuple[int, dict[str, Any]]] = {}

    def entries(self) -> dict[str, dict[str, Any]]:
        """Return the entries by file name. Raises SdgError for a file that is no entry."""
        found: dict[str, tuple[int, dict[str, Any]]] = {}
        for path in self.folder.glob("*.json"):
            changed, known = path.stat().st_mtime_ns, self._known.get(path.name)
            found[path.name] = known if known and known[0] == changed else (changed, _read(path))
        self._known = found
        return {name: entry for name, (_, entry) in found.items()}

    def spent(self, *, without: str = "", now: float | None = None, reserved: bool = False) -> Spent:
        """Add up the entries. without: the name of one to leave out. reserved: count requests in flight too."""
        now = time.time() if now is None else now
        entries = [entry for name, entry in self.entries().items() if name != without]
        live = [entry for entry in entries if is_live(entry, now)]
        sums: dict[str, float] = defaultdict(float)
        money: dict[str, float] = defaultdict(float)
        for entry in entries:
            prompt, completion = entry["prompt_tokens"], entry["completion_tokens"]
            if reserved and is_live(entry, now):
                prompt += entry["reserved_prompt_tokens"]
                completion += entry["reserved_completion_tokens"]
            sums["prompt"] += prompt
            sums["completion"] += completion
            sums["gpu_s"] += entry["gpus"] * _seconds(entry, now)
            if entry.get("prices"):
                from sdg_helpers.budgets.prices import Prices  # pydantic takes longer to load than `sdg status` has

                prices = Prices(**entry["prices"])
                money[prices.currency.upper()] += prices.cost(prompt, completion)
        return Spent(
            prompt_tokens=sums["prompt"],
            completion_tokens=sums["completion"],
            hours=_union_s(entries, now) / 3600,
            gpu_hours=sums["gpu_s"] / 3600,
            live_gpus=sum(entry["gpus"] for entry in live),
            money=dict(money),
            estimated=sum(entry.get("estimated", 0) for entry in entries),
            exhausted=frozenset((one[0], one[1]) for entry in entries if (one := entry.get("exhausted"))),
        )


def is_live(entry: Mapping[str, Any], now: float) -> bool:
    """Whether an entry's process is still at work: it has reported lately, and if it is on this machine, it exists."""
    if entry.get("ended") or now - entry["updated_at"] >= LIVE_S:
        return False
    elsewhere = entry.get("process_space") != processes.process_space()
    return elsewhere or processes.is_alive(entry.get("pid", 0), entry.get("process_started", ""))


class Entry:
    """The entry of this process, for one server or for the driver; `save` writes it."""

    def __init__(self, run: Path, **known: Any):
        writer = f"{this_job.slurm_id()}-{os.getpid()}".lstrip("-")
        self.name = f"{writer}-{time.time_ns()}.json"
        self._path, self._started = run / FOLDER / self.name, time.time()
        here = {
            "process_space": processes.process_space(),
            "pid": os.getpid(),
            "process_started": processes.start_time(os.getpid()),
        }
        self.values: dict[str, Any] = {**dict.fromkeys(_COUNTS, 0), **here, **known}
        self.saved_at = 0.0

    @property
    def age_s(self) -> float:
        """How long ago it was begun."""
        return time.time() - self._started

    def save(self, ended: bool = False) -> None:
        """Write the entry."""
        self.saved_at = time.time()
        times = {"started_at": self._started, "updated_at": self.saved_at, "ended": ended}
        files.write_json(self._path, {**self.values, **times})


@contextmanager
def at_work(run: Path) -> Iterator[None]:
    """Count the time in this block as time that the run has been at work, even if the process is killed in it."""
    entry, ended = Entry(run, role="driver"), threading.Event()
    entry.save()

    def keep_saving() -> None:
        while not ended.wait(_HEARTBEAT_S):
            with suppress(SdgError):  # a full disk ends the work itself
                entry.save()

    thread = threading.Thread(target=keep_saving, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        entry.save(ended=True)


def _read(path: Path) -> dict[str, Any]:
    entry = files.read_json(path)
    if not isinstance(entry, dict) or not all(
        isinstance(entry.get(name), int | float) for name in (*_COUNTS, "started_at", "updated_at")
    ):
        raise SdgError(
            f"{path}: not an entry of the ledger of what this run spends. Delete it, then run again; what it counted "
            "is then missing from the sum."
        )
    return entry


def _end(entry: Mapping[str, Any], now: float) -> float:
    return now if is_live(entry, now) else entry["updated_at"]


def _seconds(entry: Mapping[str, Any], now: float) -> float:
    return max(0.0, _end(entry, now) - entry["started_at"])


def _union_s(entries: Iterable[Mapping[str, Any]], now: float) -> float:
    """Return how long at least one of the entries was at work."""
    total, covered = 0.0, 0.0
    for start, end in sorted((entry["started_at"], _end(entry, now)) for entry in entries):
        total += max(0.0, end - max(start, covered))
        covered = max(covered, end)
    return total
