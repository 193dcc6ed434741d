"""Read the results of a batch, from files, as replies of a server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from sdg_helpers.batches.apis import BatchApi
from sdg_helpers.batches.input_files import BatchRequests, number_of
from sdg_helpers.batches.records import Batch
from sdg_helpers.completions.failed_attempts import FATAL, REJECTED, RETRY, FailedAttempt
from sdg_helpers.completions.hints import add_fit
from sdg_helpers.completions.http_errors import classify_status
from sdg_helpers.completions.redaction import Redactor
from sdg_helpers.completions.replies import error_text, load_json, read_body
from sdg_helpers.completions.response_bodies import REPLY_CAP_BYTES
from sdg_helpers.completions.types import Completion, Request

Outcome = Completion | FailedAttempt


class ResultReader:
    """Reads one server's results. fields: the names under which sampling settings are sent."""

    def __init__(self, api: BatchApi, redactor: Redactor, fields: list[str]):
        self._api, self._redactor, self._fields = api, redactor, fields

    def outcomes(self, batch: Batch, paths: list[Path], requests: BatchRequests) -> Iterator[tuple[Request, Outcome]]:
        """Yield every request that this run asks for, once, with its outcome; those without a result come last.

        Where a request has several results, one that is a completion counts.
        """
        seen = np.zeros(len(requests.ids), dtype=bool)
        for kind in (Completion, FailedAttempt):
            for row in _rows(paths):
                position = requests.position(number_of(row.get("custom_id"), batch.key))
                if position < 0 or seen[position] or (request := requests.get(position)) is None:
                    continue
                outcome = self._read(row, max(0.0, batch.ended_at - batch.created_at))
                if isinstance(outcome, kind):
                    seen[position] = True
                    yield request, outcome
        for position in np.flatnonzero(~seen).tolist():
            if (request := requests.get(position)) is not None:
                yield request, _without_result(batch)

    def _read(self, row: dict[str, Any], seconds: float) -> Outcome:
        try:
            status, body, error = self._api.read(row)
            outcome = self._read_body(status, body, seconds) if status else self._read_error(error)
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as problem:
            return FailedAttempt(
                RETRY, "bad_reply", self._redactor.quote(f"not a result of a batch ({problem}): {row}")
            )
        return self._redactor.hide_in(outcome) if isinstance(outcome, Completion) else outcome

    def _read_body(self, status: int, body: Any, seconds: float) -> Outcome:
        if status == 200:
            outcome = read_body(body, seconds, str(body)[:1000].encode("utf-8", "replace"))
            if isinstance(outcome, Completion):
                return outcome
            return replace(outcome, detail=self._redactor.quote(outcome.detail))
        message = self._redactor.quote(error_text(body) or str(body))
        failure = classify_status(status, {}, orjson.dumps(body, default=str), message)
        if failure.kind in (FATAL, REJECTED):
            return FailedAttempt(REJECTED, failure.reason, add_fit(failure.detail, message, self._fields))
        return FailedAttempt(RETRY, failure.reason, failure.detail)

    def _read_error(self, error: str) -> FailedAttempt:
        """Return the failure of a request that was not answered; error: "code: words"."""
        code = error.partition(":")[0].removeprefix("batch_").replace("canceled", "cancelled")
        known = code in ("expired", "cancelled")
        kind = REJECTED if code == "cancelled" else RETRY
        return FailedAttempt(kind, code if known else "batch_error", self._redactor.quote(error))


def _without_result(batch: Batch) -> FailedAttempt:
    if batch.outcome == "expired":
        return FailedAttempt(RETRY, "expired", "the batch expired before this request was processed")
    if batch.outcome == "cancelled":
        return FailedAttempt(REJECTED, "cancelled", "the batch was cancelled before this request was processed")
    return FailedAttempt(RETRY, "missing", "the batch has no result for this request")


def _rows(paths: list[Path]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the files that can be read; a request whose row cannot be read has no result."""
    for path in paths:
        with open(path, "rb") as file:
            while line := file.readline(REPLY_CAP_BYTES):
                try:
                    row = load_json(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(row, dict):
                    yield row
