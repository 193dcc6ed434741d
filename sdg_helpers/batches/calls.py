"""HTTP calls to a batch API, and what their failures mean."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from sdg_helpers import files
from sdg_helpers.completions.failed_attempts import BUSY, FATAL, REJECTED, RETRY, UNREACHABLE, FailedAttempt
from sdg_helpers.completions.http_errors import classify_status, error_message
from sdg_helpers.completions.pacing import backoff_s
from sdg_helpers.completions.redaction import Redactor
from sdg_helpers.completions.replies import load_json
from sdg_helpers.completions.types import ServerGone
from sdg_helpers.errors import SdgError

_ANSWER_CAP_BYTES = 64 << 20  # of an answer that is read into memory
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol, httpx.ProxyError)
T = TypeVar("T")


class FailedCall(Exception):
    """A call without a good answer. unclear: the server may have done what was asked, although it did not say so."""

    def __init__(self, failure: FailedAttempt, unclear: bool):
        super().__init__(failure.detail)
        self.failure, self.unclear = failure, unclear

    @property
    def passing(self) -> bool:
        """Whether the same call may succeed later."""
        return self.failure.kind in (BUSY, RETRY, UNREACHABLE)


class Calls:
    """Calls to one server. outage_deadline_s: how long `repeat` tries."""

    def __init__(self, client: httpx.Client, base_url: str, redactor: Redactor, outage_deadline_s: float):
        self.base_url = base_url
        self._client, self._redactor, self._deadline_s = client, redactor, outage_deadline_s

    def root(self, path: str) -> str:
        """Return the address of a path from the root of the server, not below base_url."""
        return urlsplit(self.base_url)._replace(path=path, query="").geturl()

    def send(self, method: str, path: str, **options: Any) -> tuple[dict[str, Any], httpx.Headers]:
        """Call once; return the JSON object in the answer ({} for an empty one) and the headers."""
        with self._open(method, path, **options) as response:
            data = _read(response)
        try:
            answer = load_json(data) if data.strip() else {}
            if not isinstance(answer, dict):
                raise ValueError(f"a JSON object was expected, not {type(answer).__name__}")
        except (ValueError, RecursionError) as error:
            raise FailedCall(FailedAttempt(RETRY, "bad_json", f"{error}: {data[:100]!r}"), unclear=True) from None
        return answer, response.headers

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """Return the JSON object at a path; repeat the call while its failures may pass."""
        return self.repeat(lambda: self.send("GET", path, params=params)[0])

    def download(self, path: str, target: Path, **params: Any) -> None:
        """Write what is at a path to a file, which appears complete or not at all."""

        def fetch() -> None:
            with self._open("GET", path, params=params) as response, files.atomic_writer(target) as out:
                for part in response.iter_bytes(1 << 16):
                    out.write(part)

        self.repeat(fetch)

    def first_row(self, path: str) -> dict[str, Any]:
        """Return the first row of the JSONL at a path, {} for one without rows."""

        def fetch() -> dict[str, Any]:
            with self._open("GET", path) as response:
                line = next((line for line in response.iter_lines() if line.strip()), "{}")
            row = load_json(line.encode())
            return row if isinstance(row, dict) else {}

        return self.repeat(fetch)

    def repeat(self, call: Callable[[], T]) -> T:
        """Call something that may be called twice, until it succeeds.

        Raises SdgError when it never will, ServerGone when it fails for too long.
        """
        deadline, failures = time.monotonic() + self._deadline_s, 0
        while True:
            try:
                return call()
            except FailedCall as failed:
                failures += 1
                if not failed.passing:
                    raise self.error(failed) from None
                wait = max(failed.failure.retry_after_s or 0.0, backoff_s(failures))
                if time.monotonic() + wait > deadline:
                    raise self.gone(failed) from None
                time.sleep(wait)

    def error(self, failed: FailedCall, hint: str = "") -> SdgError:
        """Return the error for a call that will never succeed."""
        return SdgError(
            f"{self.base_url}: the batch API refused a request: {failed.failure.detail}.{hint} Finished rows are kept: "
            "fix the cause, then run again to resume."
        )

    def gone(self, failed: FailedCall) -> ServerGone:
        """Return the error for a server that has not answered for too long."""
        return ServerGone(
            f"{self.base_url}: no answer from the batch API ({failed.failure.detail}). Batches that were submitted go "
            "on there: run again later to collect them."
        )

    def quote(self, text: str) -> str:
        """Return text from outside without keys."""
        return self._redactor.quote(text)

    @contextmanager
    def _open(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        url = path if path.startswith(("http://", "https://")) else f"{self.base_url}{path}"
        if urlsplit(url)[:2] != urlsplit(self.base_url)[:2]:  # the key goes with every call
            raise SdgError(f"{self.base_url}: the batch API names an address on another server: {self.quote(url)}.")
        try:
            with self._client.stream(method, url, **options) as response:
                if response.status_code // 100 != 2:
                    raise self._refusal(response)
                yield response
        except _NOT_SENT as error:
            raise FailedCall(self._lost(UNREACHABLE, "unreachable", error), unclear=False) from None
        except httpx.HTTPError as error:
            raise FailedCall(self._lost(RETRY, "disconnected", error), unclear=True) from None

    def _refusal(self, response: httpx.Response) -> FailedCall:
        data = _read(response)
        message = self.quote(error_message(data))
        failure = classify_status(response.status_code, response.headers, data, message)
        if response.status_code == 403:
            failure = FailedAttempt(FATAL, failure.reason, failure.detail)
        if response.status_code == 404:
            failure = FailedAttempt(
                REJECTED,
                "http_404",
                f"HTTP 404 at {response.request.url.path}: {message}. Check base_url, `batch: api`, and that the key "
                "belongs to the project in which the batch was submitted; if the batch is gone, delete partial/batches "
                "in the stage's folder to pay for its requests again",
            )
        return FailedCall(failure, unclear=failure.kind == RETRY or response.status_code in (503, 529))

    def _lost(self, kind: str, reason: str, error: Exception) -> FailedAttempt:
        return FailedAttempt(kind, reason, self.quote(f"{type(error).__name__}: {error}"))


def _read(response: httpx.Response) -> bytes:
    parts, size = [], 0
    for part in response.iter_bytes(1 << 16):
        size += len(part)
        if size > _ANSWER_CAP_BYTES:
            raise FailedCall(
                FailedAttempt(RETRY, "too_long", f"an answer above {_ANSWER_CAP_BYTES >> 20} MiB"), unclear=True
            )
        parts.append(part)
    return b"".join(parts)
