"""Chat completions through hosted batches: `complete_in_batches` has the contract of `completions.complete`.

    partial/batches/batches.jsonl       what is known of each batch (records.py)
    partial/batches/KEY.requests, .ids  its requests, as they are submitted (input_files.py)
    partial/batches/KEY.results-N       its results, as they came (results.py)

How a request travels: it is written into the file of a batch under an id that is a hash of what it asks; the batch is
uploaded and submitted once (submitting.py), then looked at now and then until it has ended. The results are downloaded
and passed on by id, read as live replies are. Requests that failed for a passing reason, or expired, go into a further
batch, as often as `rounds` allows. After a kill at any instant the same call finds the batches of before in the record.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sdg_helpers import files
from sdg_helpers.batches.anthropic_api import AnthropicBatches
from sdg_helpers.batches.apis import BatchApi, State
from sdg_helpers.batches.calls import Calls
from sdg_helpers.batches.gemini_api import GeminiBatches
from sdg_helpers.batches.input_files import BatchRequests, InputFile, ids_of
from sdg_helpers.batches.openai_api import OpenAIBatches
from sdg_helpers.batches.records import CREATED, CREATING, ENDED, MERGED, OPEN, REFUSED, WRITTEN, Batch, Records
from sdg_helpers.batches.results import ResultReader
from sdg_helpers.batches.submitting import Submitter
from sdg_helpers.completions.meter import Meter, Progress
from sdg_helpers.completions.redaction import Redactor, secrets_in
from sdg_helpers.completions.replies import REJECTED, UNUSABLE, FailedAttempt
from sdg_helpers.completions.request_bodies import BodyWriter
from sdg_helpers.completions.types import Completion, Failure, Limits, Request, Sampling
from sdg_helpers.errors import SdgError
from sdg_helpers.formatting import format_duration
from sdg_helpers.locks import Lock

if TYPE_CHECKING:
    from sdg_helpers.budgets.account import Account
    from sdg_helpers.serving.server import Server

_APIS: dict[str, type[BatchApi]] = {
    "openai": OpenAIBatches,
    "gemini": GeminiBatches,
    "anthropic": AnthropicBatches,
}
_MAX_OPEN = 10  # batches at a time; the next requests are read when one of them has been merged
_HOPELESS = 24  # requests of a batch without one completion that stop the run
_REPORT_S = 1.0


def complete_in_batches(
    requests: Iterable[Request],
    server: Server,
    *,
    folder: Path,
    model: str,
    sampling: Sampling,
    limits: Limits,
    on_completion: Callable[[Request, Completion], None],
    on_failure: Callable[[Request, Failure], None],
    on_progress: Callable[[Progress], None] | None = None,
    allowance: Account | None = None,
) -> Progress:
    """Get one reply or one failure for every request, through the batch API of the server's provider.

    folder: keeps what is known of the batches; give the same one after a kill. Requests that differ in nothing should
    have different seeds. allowance: of the run's budget; when it admits no further request, what was submitted is
    collected before BudgetSpent is raised. Raises SdgError when the provider refuses a batch, and ServerGone when it
    does not answer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with Lock(folder / ".lock", f"the batches in {folder}"):
        run = _Run(server, folder, model, sampling, limits)
        run.allowance = allowance
        run.on_completion, run.on_failure, run.on_progress = on_completion, on_failure, on_progress
        try:
            return run.run(iter(requests))
        finally:
            run.close()


class _Run:
    """One call of complete_in_batches."""

    on_completion: Callable[[Request, Completion], None]
    on_failure: Callable[[Request, Failure], None]
    on_progress: Callable[[Progress], None] | None
    allowance: Account | None

    def __init__(self, server: Server, folder: Path, model: str, sampling: Sampling, limits: Limits):
        assert server.batch is not None
        self._options, self._limits, self._folder = server.batch, limits, folder
        self._http = server.http_client()
        redactor = Redactor([server.api_key, *secrets_in(dict(self._http.headers))])
        calls = Calls(self._http, server.base_url, redactor, limits.outage_deadline_s)
        self._api = _APIS[server.batch.api](calls)
        self._body = BodyWriter(model, sampling, server.request)
        self._calls, self._server = calls, f"{server.batch.api} {server.base_url}"
        fit = server.request.model_dump_json(exclude={"headers", "stream"})
        self._settings = files.content_id(model, repr(asdict(sampling)), fit)
        self._records = Records(folder)
        self._submitter = Submitter(self._api, calls, self._records, limits, self._body.fields)
        self._reader = ResultReader(self._api, redactor, self._body.fields)
        self._meter = Meter()
        self._open: dict[str, tuple[Batch, BatchRequests]] = {}
        self._states: dict[str, State] = {}
        self._held: list[tuple[Request, int]] = []  # for which the budget has no room now, with their rounds
        self._adopted: dict[str, int] = {}  # rounds of the open batches of earlier runs
        self._files: dict[int, InputFile] = {}  # being written, by round

    def close(self) -> None:
        """Close what is open here; batches go on at the provider."""
        for file in self._files.values():
            file.abandon()
        for _, asked in self._open.values():
            asked.close()
        self._records.close()
        self._http.close()

    def run(self, requests: Iterator[Request]) -> Progress:
        """Return when every request has ended."""
        for batch in self._records.open_batches(self._server, self._settings):
            self._open[batch.key] = batch, BatchRequests.load(self._records.path(batch, "ids"), self._folder)
        self._adopted = {key: batch.round for key, (batch, _) in self._open.items()}
        exhausted = False
        while True:
            exhausted = exhausted or self._take_in(requests)
            if exhausted or self._held:
                self._close_files()
            if not self._open and not self._release():
                break
            for key in list(self._open):
                self._advance(*self._open[key])
            if self._open:
                self._wait()
        progress = self._report()
        if self._held and self.allowance:
            raise self.allowance.refusal()
        return progress

    # --- taking requests in

    def _take_in(self, requests: Iterator[Request]) -> bool:
        """Read requests while batches may be opened, and until those of earlier runs are matched; True at the end."""
        while self._has_room() or not all(self._open[key][1].complete for key in self._adopted):
            request = next(requests, None)
            if request is None:
                return True
            self._place(request, 1)
        return False

    def _has_room(self) -> bool:
        return len(self._open) < _MAX_OPEN and not self._held

    def _release(self) -> bool:
        """Try again the requests that the budget had no room for; False when it still has none."""
        held, self._held = self._held, []
        for request, round in held:
            self._place(request, round)
        return len(self._held) < len(held)

    def _place(self, request: Request, round: int) -> None:
        """Find a request in the batches of earlier runs, or write it into a new one."""
        for number in ids_of(request, self._settings):
            if found := self._find(number, round):
                if any(asked.put(position, request) for asked, position in found):
                    if self.allowance:
                        self.allowance.resumed(request)
                    return
                continue
            if number in self._file(round):
                continue
            if self._held or (self.allowance and not self.allowance.admits(request)):
                self._held.append((request, round))
                return
            if not self._file(round).add(number, request):
                self._finish_file(round)
                self._file(round).add(number, request)
            return

    def _find(self, number: int, round: int) -> list[tuple[BatchRequests, int]]:
        """Return the open batches of this round or a later one that hold an id, with its position."""
        places = [(asked, asked.position(number)) for batch, asked in self._open.values() if batch.round >= round]
        return [(asked, position) for asked, position in places if position >= 0]

    def _file(self, round: int) -> InputFile:
        if round not in self._files:
            size = self._options.max_mb * 1e6 if self._options.max_mb else self._api.max_bytes
            self._files[round] = InputFile(
                self._folder,
                secrets.token_hex(8),
                self._api,
                self._body,
                min(self._options.max_requests or self._api.max_requests, self._api.max_requests),
                min(int(size), self._api.max_bytes),
            )
        return self._files[round]

    def _finish_file(self, round: int) -> None:
        file = self._files.pop(round)
        asked = file.close()
        batch = Batch(file.key, WRITTEN, self._server, self._settings, requests=len(file), round=round)
        self._open[file.key] = self._records.save(batch), asked

    def _close_files(self) -> None:
        """Submit what has been read. Requests for a further batch wait until those of all open ones are known."""
        for round in list(self._files):
            if not len(self._files[round]):
                self._files.pop(round).abandon()
            elif round == 1 or not self._open:
                self._finish_file(round)

    # --- following batches

    def _advance(self, batch: Batch, asked: BatchRequests) -> None:
        if any(round < batch.round for round in self._adopted.values()):
            return  # requests that fail in a batch of an earlier run may be in this one already
        if not asked.asked:  # nothing of it is wanted in this call
            self._drop(batch)
            return
        if batch.state in (WRITTEN, CREATING):
            others = any(one.state == CREATED for one, _ in self._open.values())
            batch = self._submitter.advance(batch, others)
        if batch.state == CREATED:
            batch = self._poll(batch)
        self._open[batch.key] = batch, asked
        if batch.state == ENDED:
            self._merge(batch, asked)

    def _poll(self, batch: Batch) -> Batch:
        state = self._states[batch.key] = self._api.poll(batch)
        if not state.ended:
            return batch
        if state.outcome == "failed":
            return self._handle_refusal(batch, state)
        names = []
        for number, path in enumerate(state.results):
            target = self._records.path(batch, f"results-{number}")
            if not target.exists():
                self._calls.download(path, target)
            names.append(target.name)
        return self._records.save(batch, state=ENDED, ended_at=time.time(), outcome=state.outcome, results=tuple(names))

    def _handle_refusal(self, batch: Batch, state: State) -> Batch:
        others = any(one.state == CREATED and one.key != batch.key for one, _ in self._open.values())
        if state.busy:
            return self._submitter.put_back(batch, state.error, others)
        self._records.save(batch, state=REFUSED)
        self._records.discard_files(batch)
        raise SdgError(
            f"{self._calls.base_url}: the provider did not accept a batch of {batch.requests:,} requests: "
            f"{state.error or 'no reason given'}. Nothing of it was processed: fix the cause, then run again."
        )

    # --- passing results on

    def _merge(self, batch: Batch, asked: BatchRequests) -> None:
        done, failed, first = 0, 0, ""  # failed: given up
        paths = [self._folder / name for name in batch.results]
        for request, outcome in self._reader.outcomes(batch, paths, asked):
            if self.allowance:
                self.allowance.ended(request, outcome)
            if isinstance(outcome, Completion):
                done += 1
                self._meter.reply(outcome)
                self.on_completion(request, outcome)
            elif not self._retry(request, outcome, batch):
                failed, first = failed + 1, first or f"{outcome.reason}: {outcome.detail}"
                self._meter.failed += 1
                self.on_failure(request, Failure(outcome.reason, outcome.detail, batch.round))
        self._records.save(batch, state=MERGED)
        self._drop(batch)
        self._records.discard_files(batch)
        if failed >= _HOPELESS and not done and not self._meter.done:
            raise SdgError(
                f"{self._calls.base_url}: all {failed:,} requests of a batch failed, the first with {first}. Finished "
                "rows are kept: fix the cause, then run again to resume."
            )

    def _retry(self, request: Request, failure: FailedAttempt, batch: Batch) -> bool:
        """Put a request without a completion into a further batch, if it may succeed there."""
        more = min(self._options.rounds - 1, self._limits.max_retries)
        if failure.kind == UNUSABLE:
            more = min(more, self._limits.max_regenerations)
        if failure.kind == REJECTED or batch.round > more:
            return False
        self._meter.retried += 1
        self._place(request, batch.round + 1)
        return True

    def _drop(self, batch: Batch) -> None:
        _, asked = self._open.pop(batch.key)
        self._adopted.pop(batch.key, None)
        self._states.pop(batch.key, None)
        asked.close()

    # --- waiting

    def _wait(self) -> None:
        end = time.monotonic() + self._options.poll_s
        while True:
            self._report()
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, _REPORT_S))

    def _report(self) -> Progress:
        in_flight = sum(batch.requests for batch, _ in self._open.values() if batch.state in (CREATING, CREATED))
        waiting = sum(batch.requests for batch, _ in self._open.values() if batch.state == WRITTEN)
        progress = self._meter.progress(in_flight, waiting, in_flight, "", {})
        progress = replace(progress, note=self._note())
        if self.on_progress:
            self.on_progress(progress)
        return progress

    def _note(self) -> str:
        """Return the state of the open batches: "batch of 1,200 requests, 340 done, submitted 2h00m ago"."""
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
