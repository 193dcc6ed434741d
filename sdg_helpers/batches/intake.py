"""Take requests into batches: find each in a batch of an earlier run, or write it into a new one."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sdg_helpers.batches.apis import BatchApi
from sdg_helpers.batches.input_files import InputFile, ids_of
from sdg_helpers.batches.open_batches import OpenBatches
from sdg_helpers.batches.records import WRITTEN, Batch, Records
from sdg_helpers.batches.settings import BatchSettings
from sdg_helpers.completions.request_bodies import BodyWriter
from sdg_helpers.completions.types import Request

if TYPE_CHECKING:
    from sdg_helpers.budgets.account import Account

_MAX_OPEN = 10  # batches at a time; the next requests are read when one of them has been merged


@dataclass
class Intake:
    """Takes requests in. server, settings: of the new batches (see Batch); allowance: of the run's budget."""

    records: Records
    batches: OpenBatches
    api: BatchApi
    body: BodyWriter
    options: BatchSettings
    server: str
    settings: str
    allowance: Account | None
    _files: dict[int, InputFile] = field(default_factory=dict)  # being written, by round
    _held: list[tuple[Request, int]] = field(default_factory=list)  # without room in the budget now; their rounds

    @property
    def holds_back(self) -> bool:
        """Whether the budget has no room for some requests."""
        return bool(self._held)

    def take(self, requests: Iterator[Request]) -> bool:
        """Read requests while batches may be opened, and until those of earlier runs are matched; True at the end."""
        while self._has_room() or not self.batches.are_matched():
            request = next(requests, None)
            if request is None:
                return True
            self.place(request, 1)
        return False

    def place(self, request: Request, round: int, admitted: bool = False) -> None:
        """Find a request in the batches of earlier runs, or write it into a new one.

        admitted: the budget counts it as in flight already.
        """
        for number in ids_of(request, self.settings):
            if found := self.batches.find(number, round):
                if any(asked.put(position, request) for asked, position in found):
                    if self.allowance and not admitted:
                        self.allowance.resumed(request)
                    return
                continue
            if number in self._file(round):
                continue
            if not admitted and (self._held or (self.allowance and not self.allowance.admits(request))):
                self._held.append((request, round))
                return
            if not self._file(round).add(number, request):
                self._finish_file(round)
                self._file(round).add(number, request)
            return

    def retry_held(self) -> bool:
        """Try again the requests that the budget had no room for; False when it still has none."""
        held, self._held = self._held, []
        for request, round in held:
            self.place(request, round)
        return len(self._held) < len(held)

    def finish_files(self) -> None:
        """Make batches of what has been read. Requests for a further round wait until no batch is open."""
        for round in list(self._files):
            if not len(self._files[round]):
                self._files.pop(round).abandon()
            elif round == 1 or not len(self.batches):
                self._finish_file(round)

    def close(self) -> None:
        """Delete the files that are not finished."""
        for file in self._files.values():
            file.abandon()

    def _has_room(self) -> bool:
        return len(self.batches) < _MAX_OPEN and not self._held

    def _file(self, round: int) -> InputFile:
        if round not in self._files:
            size = self.options.max_mb * 1e6 if self.options.max_mb else self.api.max_bytes
            self._files[round] = InputFile(
                self.records.folder,
                secrets.token_hex(8),
                self.api,
                self.body,
                min(self.options.max_requests or self.api.max_requests, self.api.max_requests),
                min(int(size), self.api.max_bytes),
            )
        return self._files[round]

    def _finish_file(self, round: int) -> None:
        file = self._files.pop(round)
        asked = file.close()
        batch = Batch(file.key, WRITTEN, self.server, self.settings, requests=len(file), round=round)
        self.batches.put(self.records.save(batch), asked)
