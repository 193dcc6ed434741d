"""Heartbeats: each owner of leases counts in the name of a file, and observers time the count with their own clock.

Clocks of other machines and times of files are never read. A beat is a rename, which a full disk does not prevent.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

BEAT_S = 30.0
EXPIRY_S = 600.0  # a file system may hang for minutes, and its listings may be a minute old


class Heartbeat(threading.Thread):
    """Beats for one owner until it is stopped; calls on_beat(expired owners) after each beat, from its thread."""

    def __init__(self, folder: Path, owner: str, on_beat: Callable[[], None], beat_s: float = BEAT_S):
        """folder: of the beats."""
        super().__init__(name="heartbeat", daemon=True)
        self._folder, self._owner, self._on_beat, self._beat_s = folder, owner, on_beat, beat_s
        self._count, self._stopped = 0, threading.Event()

    def run(self) -> None:
        """Beat now and then."""
        while True:
            self._beat()
            with suppress(OSError):  # a hanging or full file system: others have patience
                self._on_beat()
            if self._stopped.wait(self._beat_s):
                break
        with suppress(OSError):
            os.unlink(self._path())

    def stop(self) -> None:
        """Beat no more."""
        self._stopped.set()

    def _beat(self) -> None:
        before = self._path()
        self._count += 1
        try:
            os.rename(before, self._path())
        except FileNotFoundError:  # the first beat, or the folder was replaced
            with suppress(OSError):
                self._path().touch()
        except OSError:
            self._count -= 1

    def _path(self) -> Path:
        return self._folder / f"{self._owner}.{self._count}"


class Observer:
    """Tells which owners have not beaten for `expiry_s`, by this process's monotonic clock."""

    def __init__(self, folder: Path, expiry_s: float = EXPIRY_S, clock: Callable[[], float] = time.monotonic):
        """folder: of the beats."""
        self._folder, self._expiry_s, self._clock = folder, expiry_s, clock
        self._seen: dict[str, tuple[int, float]] = {}  # owner -> its count, and when we first saw that
        self._looked_at = clock()

    def look(self, owners: Iterable[str]) -> set[str]:
        """Return which of the owners have expired. Call it far more often than expiry_s."""
        now, counts = self._clock(), self._counts()
        if now - self._looked_at > self._expiry_s / 4:  # we were suspended ourselves: begin again
            self._seen.clear()
        self._looked_at = now
        seen = {owner: self._seen.get(owner, (-1, now)) for owner in owners}
        self._seen = {
            owner: known if known[0] == counts.get(owner, 0) else (counts.get(owner, 0), now)
            for owner, known in seen.items()
        }
        return {owner for owner, (_, since) in self._seen.items() if now - since > self._expiry_s}

    def _counts(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        with suppress(FileNotFoundError):
            for name in os.listdir(self._folder):
                owner, _, count = name.rpartition(".")
                if count.isdigit():
                    counts[owner] = max(counts.get(owner, 0), int(count))
        return counts
