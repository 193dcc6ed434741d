"""Chat completions through hosted batches: `complete_in_batches` has the contract of `completions.complete`.

    partial/batches/batches.jsonl       what is known of each batch (records.py)
    partial/batches/KEY.requests, .ids  its requests, as they are submitted (input_files.py)
    partial/batches/KEY.results-N       its results, as they came (results.py)

How a request travels: it is written into the file of a batch under an id that is a hash of what it asks (intake.py);
the batch is uploaded and submitted once (submitting.py), then looked at now and then until it has ended. The results
are downloaded and passed on by id, read as live replies are (delivery.py). Requests that failed for a passing reason,
or expired, go into a further batch, as often as `rounds` allows. After a kill at any instant the same call finds the
batches of before in the record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sdg_helpers import files
from sdg_helpers.batches.anthropic_api import AnthropicBatches
from sdg_helpers.batches.apis import BatchApi, State
from sdg_helpers.batches.calls import Calls
from sdg_helpers.batches.delivery import Callbacks, Delivery
from sdg_helpers.batches.gemini_api import GeminiBatches
from sdg_helpers.batches.input_files import BatchRequests
from sdg_helpers.batches.intake import Intake
from sdg_helpers.batches.open_batches import OpenBatches
from sdg_helpers.batches.openai_api import OpenAIBatches
from sdg_helpers.batches.records import CREATED, CREATING, ENDED, MERGED, REFUSED, WRITTEN, Batch, Records
from sdg_helpers.batches.results import ResultReader
from sdg_helpers.batches.submitting import Submitter
from sdg_helpers.completions.meter import Meter, Progress
from sdg_helpers.completions.redaction import Redactor, secrets_in
from sdg_helpers.completions.request_bodies import BodyWriter
from sdg_helpers.completions.types import Completion, Failure, Limits, Request, Sampling
from sdg_helpers.errors import SdgError
from sdg_helpers.locks import Lock

if TYPE_CHECKING:
    from sdg_helpers.budgets.account import Account
    from sdg_helpers.serving.server import Server

_APIS: dict[str, type[BatchApi]] = {
    "openai": OpenAIBatches,
    "gemini": GeminiBatches,
    "anthropic": AnthropicBatches,
}
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
        callbacks = Callbacks(on_completion, on_failure)
        run = _Run(server, folder, model, sampling, limits, callbacks, on_progress, allowance)
        try:
            return run.run(iter(requests))
        finally:
            run.close()


class _Run:
    """One call of complete_in_batches."""

    def __init__(
        self,
        server: Server,
        folder: Path,
        model: str,
        sampling: Sampling,
        limits: Limits,
        callbacks: Callbacks,
        on_progress: Callable[[Progress], None] | None,
        allowance: Account | None,
    ):
        assert server.batch is not None
        self._options, self._on_progress, self._allowance = server.batch, on_progress, allowance
        self._http = server.http_client()
        redactor = Redactor([server.api_key, *secrets_in(dict(self._http.headers))])
        self._calls = Calls(self._http, server.base_url, redactor, limits.outage_deadline_s)
        self._api = _APIS[server.batch.api](self._calls)
        body = BodyWriter(model, sampling, server.request)
        self._server = f"{server.batch.api} {server.base_url}"
        fit = server.request.model_dump_json(exclude={"headers", "stream"})
        self._settings = files.content_id(model, repr(asdict(sampling)), fit)
        self._records, self._batches, self._meter = Records(folder), OpenBatches(), Meter()
        self._submitter = Submitter(self._api, self._calls, self._records, limits, body.fields)
        self._intake = Intake(
            self._records, self._batches, self._api, body, self._options, self._server, self._settings, allowance
        )
        self._delivery = Delivery(
            ResultReader(self._api, redactor, body.fields),
            self._records,
            self._intake,
            self._meter,
            callbacks,
            limits,
            self._options.rounds,
            allowance,
        )

    def close(self) -> None:
        """Close what is open here; batches go on at the provider."""
        self._intake.close()
        self._batches.close()
        self._records.close()
        self._http.close()

    def run(self, requests: Iterator[Request]) -> Progress:
        """Return when every request has ended."""
        self._batches.adopt(self._records, self._server, self._settings)
        exhausted = False
        while True:
            exhausted = exhausted or self._intake.take(requests)
            if exhausted or self._intake.holds_back:
                self._intake.finish_files()
            if not len(self._batches) and not self._intake.retry_held():
                break
            for batch, asked in self._batches.as_list():
                self._advance(batch, asked)
            if len(self._batches):
                self._wait()
        progress = self._report()
        if self._intake.holds_back and self._allowance:
            raise self._allowance.refusal()
        return progress

    # --- following batches

    def _advance(self, batch: Batch, asked: BatchRequests) -> None:
        if self._batches.must_wait(batch):
            return
        if not asked.asked:  # nothing of it is wanted in this call
            self._batches.forget(batch)
            asked.close()
            return
        if batch.state == WRITTEN and not asked.complete:
            self._rewrite(batch, asked)
            return
        if batch.state in (WRITTEN, CREATING):
            batch = self._submitter.advance(batch, self._batches.are_others_at_work(batch))
        if batch.state == CREATED:
            batch = self._poll(batch)
        self._batches.put(batch, asked)
        if batch.state == ENDED:
            self._merge(batch, asked)

    def _rewrite(self, batch: Batch, asked: BatchRequests) -> None:
        """Put what is still wanted of a batch into a new one. The rest was answered by the live API, for example."""
        self._records.save(batch, state=REFUSED)
        self._batches.forget(batch)
        for position in range(len(asked.ids)):
            if request := asked.get(position):
                self._intake.place(request, batch.round, admitted=True)
        asked.close()
        self._records.discard_files(batch)

    def _poll(self, batch: Batch) -> Batch:
        state = self._batches.note_state(batch, self._api.poll(batch))
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
        if state.busy:
            return self._submitter.put_back(batch, state.error, self._batches.are_others_at_work(batch))
        self._records.save(batch, state=REFUSED)
        self._records.discard_files(batch)
        raise SdgError(
            f"{self._calls.base_url}: the provider did not accept a batch of {batch.requests:,} requests: "
            f"{state.error or 'no reason given'}. Nothing of it was processed: fix the cause, then run again."
        )

    def _merge(self, batch: Batch, asked: BatchRequests) -> None:
        hopeless = self._delivery.deliver(batch, asked)
        self._records.save(batch, state=MERGED)
        self._batches.forget(batch)
        asked.close()
        self._records.discard_files(batch)
        if hopeless:
            raise SdgError(
                f"{self._calls.base_url}: {hopeless}. Finished rows are kept: fix the cause, then run again to resume."
            )

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
        submitted, waiting = self._batches.count_requests()
        progress = self._meter.progress(submitted, waiting, submitted, "", {})
        progress = replace(progress, note=self._batches.describe())
        if self._on_progress:
            self._on_progress(progress)
        return progress
