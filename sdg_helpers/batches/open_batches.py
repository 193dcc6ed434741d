"""The batches of a run that have not been merged: their requests, and what the provider says of them."""

from __future__ import annotations

import time

from sdg_helpers.batches.apis import State
from sdg_helpers.batches.input_files import BatchRequests
from sdg_helpers.batches.records import CREATED, CREATING, OPEN, WRITTEN, Batch, Records
from sdg_helpers.formatting import format_duration


class OpenBatches:
    """The open batches by key, oldest first, each with the requests of it that this run asks for."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[Batch, BatchRequests]] = {}
        self._states: dict[str, State] = {}
        self._adopted: dict[str, int] = {}  # rounds of the batches of earlier runs

    def __len__(self) -> int:
        return len(self._open)

    def adopt(self, records: Records, server: str, settings: str) -> None:
        """Take over the batches of earlier runs. Raises SdgError when some are at another server."""
        for batch in records.open_batches(server, settings):
            self._open[batch.key] = batch, BatchRequests.load(records.path(batch, "ids"), records.folder)
        self._adopted = {key: batch.round for key, (batch, _) in self._open.items()}

    def as_list(self) -> list[tuple[Batch, BatchRequests]]:
        """Return the batches as they are now."""
        return list(self._open.values())

    def put(self, batch: Batch, asked: BatchRequests) -> None:
        """Add a batch, or replace what is known of it."""
        self._open[batch.key] = batch, asked

    def note_state(self, batch: Batch, state: State) -> State:
        """Keep what the provider says of a batch, for the progress, and return it."""
        self._states[batch.key] = state
        return state

    def forget(self, batch: Batch) -> None:
        """Remove a batch; its stored requests remain."""
        del self._open[batch.key]
        self._adopted.pop(batch.key, None)
        self._states.pop(batch.key, None)

    def find(self, number: int, round: int) -> list[tuple[BatchRequests, int]]:
        """Return the batches of this round or a later one that hold an id, with its position."""
        places = [(asked, asked.position(number)) for batch, asked in self._open.values() if batch.round >= round]
        return [(asked, position) for asked, position in places if position >= 0]

    def are_matched(self) -> bool:
        """Return whether this run asks for all requests of the batches of earlier runs."""
        return all(self._open[key][1].complete for key in self._adopted)

    def must_wait(self, batch: Batch) -> bool:
        """Return whether an earlier run has an open batch of an earlier round: its failures may be in this batch."""
        return any(round < batch.round for round in self._adopted.values())

    def are_others_at_work(self, batch: Batch) -> bool:
        """Return whether the provider is processing another batch."""
        return any(one.state == CREATED and one.key != batch.key for one, _ in self._open.values())

    def count_requests(self) -> tuple[int, int]:
        """Return how many requests are at the provider, and how many are not yet submitted."""
        batches = [batch for batch, _ in self._open.values()]
        submitted = sum(batch.requests for batch in batches if batch.state in (CREATING, CREATED))
        return submitted, sum(batch.requests for batch in batches if batch.state == WRITTEN)

    def describe(self) -> str:
        """Return their state in words: "batch of 1,200 requests, 340 done, submitted 2h00m ago"; "" without any."""
        batches = [batch for batch, _ in self._open.values() if batch.state in OPEN]
        if not batches:
            return ""
        count, total = len(batches), sum(batch.requests for batch in batches)
        what = f"batch of {total:,} requests" if count == 1 else f"{count} batches of {total:,} requests"
        done = sum(state.done for state in self._states.values())
        begun = [batch.created_at for batch in batches if batch.state == CREATED]
        if not begun:
            return f"{what}, not yet submitted"
        ago = format_duration(max(0.0, time.time() - min(begun)))
        return f"{what}, {done:,} done, {'the first ' if count > 1 else ''}submitted {ago} ago"

    def close(self) -> None:
        """Delete the stored requests; the batches go on at the provider."""
        for _, asked in self._open.values():
            asked.close()
