"""The requests of leased blocks, as the input of `completions.complete`; a thread takes the leases ahead of need.

Everything that touches the shared folder runs in two threads of the feed (one beats, one takes and finishes blocks), so
a file system that hangs delays neither the requests in flight nor the heartbeat of the other.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

from sdg_helpers.completions.types import Request
from sdg_helpers.leases.heartbeats import BEAT_S, EXPIRY_S, Heartbeat, Observer
from sdg_helpers.leases.lease_folder import Lease, LeaseFolder, job_of

_LOOK_S = 1.0  # between two looks for a free block when there was none
_LINGER_S = 30.0  # without a block, for what others give back: each second half of what they have not sent


def _key(request: Request) -> tuple[int, int]:
    return request.key[:2]


class _Held:
    """A block in hand: its requests that have not ended, by key. Postponed ones are not among the open ones."""

    def __init__(self, lease: Lease, requests: Sequence[Request]):
        self.lease = lease
        self.waiting = deque(requests)
        self.open = set(map(_key, requests))
        self.postponed: set[tuple[int, int]] = set()
        self.count = len(requests)
        self.moving = False  # the lease is being renamed

    @property
    def unsent(self) -> bool:
        """Whether nothing has been sent."""
        return len(self.waiting) == self.count

    def unsent_half(self) -> int | None:
        """Return from which item on to give the block back: the later half of the items of which nothing was sent."""
        first = self.waiting[0].key[0] if self.waiting else 0
        unsent = sorted({request.key[0] for request in self.waiting} - {first})
        return unsent[len(unsent) // 2] if unsent else None

    def cut(self, item: int) -> None:
        """Forget the requests from this item on."""
        self.open = {key for key in self.open if key[0] < item}
        self.waiting = deque(request for request in self.waiting if request.key[0] < item)


class Feed:
    """An iterator of requests, and of None while there is nothing to send but may be later.

    It ends when no block in hand has an open request and nothing can be taken, or when `drain` is called. Blocks with
    postponed requests stay in hand until these have ended. When nothing is free, it gives back what it has not sent, so
    that the other servers, if they are faster, do not wait for it.
    """

    def __init__(
        self,
        leases: LeaseFolder,
        owner: str,
        requests_of: Callable[[Lease], Sequence[Request]],
        sync: Callable[[], None],
        *,
        ahead: int = 1,
        wait_for_others: bool = True,
        beat_s: float = BEAT_S,
        expiry_s: float = EXPIRY_S,
    ):
        """requests_of: the requests that a block still needs; called in a thread. Their keys are tuples that begin with
        the item and the seed. sync: puts on disk what the callbacks have written. ahead: requests to have ready.
        wait_for_others: stay while blocks are in hand, as other owners may die, and for a while when they are done, as
        others may give some back; False: end when nothing is free.
        """
        self._leases, self._owner, self._requests_of, self._sync = leases, owner, requests_of, sync
        self._job = job_of(owner)
        self._ahead, self._wait_for_others, self._beat_s = ahead, wait_for_others, beat_s
        self._expiry_s, self._looked_at = expiry_s, time.monotonic()
        self._observer = Observer(leases.folder / "beats", expiry_s)
        self._held: list[_Held] = []
        self._ended: list[_Held] = []  # all requests have ended; not yet finished
        self._expired: list[Lease] = []
        self._idle_since: float | None = None  # since when there has been nothing to take and nothing in hand
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._over = self._draining = self._closed = False
        self._error: BaseException | None = None
        self._given_at = time.monotonic()
        self._heartbeat = Heartbeat(leases.folder / "beats", owner, self._on_beat, beat_s)
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def __enter__(self) -> Feed:
        self._on_beat()  # what has expired may be all that there is
        self._heartbeat.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish what has ended, and give the other blocks back."""
        self._closed = True
        self._wake.set()
        self._thread.join()
        self._heartbeat.stop()
        if self._error is not None and kind is None:
            raise self._error

    def __iter__(self) -> Iterator[Request | None]:
        return self

    def __next__(self) -> Request | None:
        if self._error is not None:
            raise self._error
        with self._lock:
            request = None if self._draining or self._may_be_expired() else self._next_waiting()
            if request is None and (self._over or self._draining):
                raise StopIteration
        if request is not None:
            self._given_at = time.monotonic()
        if request is None or self._ready() < self._ahead:
            self._wake.set()
        return request

    def report(self) -> dict[str, Any]:
        """Return how much is in hand, for the session's record: blocks, their requests that have not ended (open_rows),
        and for how long no request was given out (idle_s)."""
        held = list(self._held)
        idle_s = round(time.monotonic() - self._given_at, 1)
        return {"blocks": len(held), "open_rows": sum(len(one.open) for one in held), "idle_s": idle_s}

    def _may_be_expired(self) -> bool:
        """Whether we were suspended, or could not beat, for so long that others may have taken our blocks: we send
        nothing until the next look at our leases."""
        return time.monotonic() - self._looked_at > self._expiry_s / 2

    def drain(self) -> None:
        """Send nothing more: what is in flight may end, and blocks that are not done are given back."""
        self._draining = True

    def ended(self, request: Request) -> None:
        """Note that a request has completed, and its row is written, or has failed for good."""
        with self._lock:
            for held in self._held:
                held.open.discard(_key(request))
                held.postponed.discard(_key(request))
            self._sort_out()

    def postpone(self, request: Request) -> None:
        """Note that a request will be sent again by the caller, after the end of this iterator."""
        with self._lock:
            for held in self._held:
                if _key(request) in held.open:
                    held.open.discard(_key(request))
                    held.postponed.add(_key(request))

    def _sort_out(self) -> None:
        """Move the blocks without open requests to those that have ended."""
        if ended := [held for held in self._held if not (held.open or held.postponed)]:
            self._held = [held for held in self._held if held.open or held.postponed]
            self._ended += ended
            self._wake.set()

    def _lose(self, held: _Held) -> None:
        """Send no more of a block that others have taken from us; what is in flight may end."""
        with self._lock:
            held.open -= set(map(_key, held.waiting))
            held.waiting.clear()
            self._sort_out()

    def _next_waiting(self) -> Request | None:
        for held in self._held:
            if held.waiting:
                return held.waiting.popleft()
        return None

    def _ready(self) -> int:
        return sum(len(held.waiting) for held in self._held)

    # --- in the thread that beats

    def _on_beat(self) -> None:
        """Look for leases that others took from us, for owners that have died, and for a request to drain."""
        taken = self._leases.taken()
        for held in list(self._held):
            lease = held.lease
            if not self._leases.holds(lease) and not held.moving and held.lease is lease:
                self._lose(held)
        dead = self._observer.look({lease.owner for lease in taken} - {self._owner})
        self._expired = [  # of the same job: it was started again, and its former processes are dead
            lease
            for lease in taken
            if lease.owner != self._owner and (lease.owner in dead or (self._job and job_of(lease.owner) == self._job))
        ]
        if self._leases.is_draining(self._job):
            self.drain()
        self._looked_at = time.monotonic()

    # --- in the thread that takes and finishes

    def _run(self) -> None:
        try:
            while not self._closed:
                self._wake.clear()
                self._finish()
                took = False
                if not (self._draining or self._over) and self._ready() < self._ahead:
                    took = self._take()
                if not took and not self._closed and not self._wake.wait(_LOOK_S):
                    self._share()
            self._finish()
            for held in [*self._held]:
                self._leases.give_back(held.lease)
        except BaseException as error:
            self._error = error

    def _take(self) -> bool:
        """Take a block, free or expired; return whether there was one. Without any, and none in hand, it is over."""
        if self._leases.is_draining(self._job):
            self.drain()
            return False
        lease = self._leases.take(self._owner) or self._steal() or self._adopt()
        if lease is None:
            self._over = not self._has_prospects()
            return False
        self._idle_since = None
        held = _Held(lease, self._requests_of(lease))
        with self._lock:
            (self._held if held.open else self._ended).append(held)
        return True

    def _has_prospects(self) -> bool:
        """Return whether to stay without a free block: until ours are done, and a while for what others give back."""
        if not self._wait_for_others:
            return False
        if self._ended or any(held.open for held in self._held):
            return True
        now = time.monotonic()
        self._idle_since = self._idle_since or now
        return now - self._idle_since < _LINGER_S and any(one.owner != self._owner for one in self._leases.taken())

    def _share(self) -> None:
        """Let others have what we have not sent yet, when no block is free: a slow server would keep it for long."""
        if not self._ready() or self._leases.has_free():
            return
        self._ahead = 1  # from now on, we keep no store
        with self._lock:
            unsent = [held for held in self._held if held.unsent]
            surplus = unsent[len(unsent) // 2 :]
            self._held = [held for held in self._held if held not in surplus]
        for held in surplus:
            self._leases.return_unsent(held.lease)
        for held in [] if surplus else list(self._held):
            self._split(held)

    def _split(self, held: _Held) -> None:
        """Give back the second half of what is unsent of a block."""
        with self._lock:
            if (item := held.unsent_half()) is None:
                return
            held.cut(item)
        held.moving = True
        held.lease = self._leases.split(held.lease, item) or held.lease
        held.moving = False

    def _steal(self) -> Lease | None:
        while self._expired:
            if lease := self._leases.steal(self._expired.pop(), self._owner):
                return lease
        return None

    def _adopt(self) -> Lease | None:
        """Return a lease of ours that we do not know of: the file system had told us that we did not get it."""
        known = {held.lease.block for held in [*self._held, *self._ended]}
        for lease in self._leases.taken():
            if lease.owner == self._owner and lease.block not in known and (own := self._leases.adopt(lease)):
                return own
        return None

    def _finish(self) -> None:
        """Move the blocks whose requests have all ended to done/, once their rows are on disk."""
        with self._lock:
            ended, self._ended = self._ended, []
        if ended:
            self._sync()
        for held in ended:
            self._leases.finish(held.lease)
