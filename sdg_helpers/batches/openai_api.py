"""OpenAI's batch API, which several other providers have too.

https://platform.openai.com/docs/guides/batch: a JSONL file of requests is uploaded, a batch is created for it, and its
results are two files, of replies and of errors, in any order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sdg_helpers.batches.apis import BatchApi, State
from sdg_helpers.batches.calls import FailedCall
from sdg_helpers.batches.records import Batch
from sdg_helpers.completions.failed_attempts import RETRY, FailedAttempt

_TAG = "sdg_batch"  # of the metadata
_ENDED = ("completed", "expired", "cancelled", "failed")
_PAGE, _MAX_PAGES = 100, 50
_BEFORE_S = 86400.0  # batches older than the submission by this much are not looked at; clocks may differ
_UPLOAD_TIMEOUT_S = 900.0


class OpenAIBatches(BatchApi):
    """Batches at POST /batches."""

    max_requests, max_bytes = 50_000, 200_000_000

    def line(self, custom_id: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}

    def upload(self, batch: Batch, path: Path) -> str:
        with open(path, "rb") as file:
            answer, _ = self.calls.send(
                "POST",
                "/files",
                data={"purpose": "batch"},
                files={"file": (f"{batch.key}.jsonl", file, "application/jsonl")},
                timeout=_UPLOAD_TIMEOUT_S,
            )
        return id_of(answer)

    def create(self, batch: Batch, path: Path) -> str:
        answer, _ = self.calls.send("POST", "/batches", json=self._creation(batch))
        return id_of(answer)

    def find(self, batch: Batch) -> str | None:
        after: dict[str, str] = {}
        for _ in range(_MAX_PAGES):
            page = self.calls.get("/batches", limit=_PAGE, **after)
            rows = [row for row in page.get("data") or [] if isinstance(row, dict)]
            for row in rows:
                ours = (row.get("metadata") or {}).get(_TAG) == batch.key or row.get("input_file_id") == batch.file_id
                if ours and row.get("status") != "failed":  # of those, nothing was processed
                    return id_of(row)
            oldest = (rows[-1].get("created_at") if rows else None) or 0
            if not page.get("has_more") or not rows or oldest < batch.created_at - _BEFORE_S:
                return None
            after = {"after": str(rows[-1].get("id"))}
        return None

    def poll(self, batch: Batch) -> State:
        row = self.calls.get(f"/batches/{batch.batch_id}")
        status, counts = row.get("status"), row.get("request_counts") or {}
        errors = [one for one in (row.get("errors") or {}).get("data") or [] if isinstance(one, dict)]
        named = [str(row[name]) for name in ("output_file_id", "error_file_id") if row.get(name)]
        return State(
            ended=status in _ENDED,
            done=int(counts.get("completed") or 0) + int(counts.get("failed") or 0),
            outcome="" if status == "completed" else str(status),
            results=tuple(self._content(name) for name in named),
            error="; ".join(self.calls.quote(_describe(one)) for one in errors[:3]),
            busy=any(one.get("code") == "token_limit_exceeded" for one in errors),
        )

    def read(self, row: dict[str, Any]) -> tuple[int, Any, str]:
        response, error = row.get("response"), row.get("error")
        if isinstance(response, dict):
            return int(response.get("status_code") or 0), response.get("body"), ""
        error = error if isinstance(error, dict) else {"message": str(error)}
        return 0, None, f"{error.get('code') or 'error'}: {error.get('message') or ''}"

    def _creation(self, batch: Batch) -> dict[str, Any]:
        return {
            "input_file_id": batch.file_id,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {_TAG: batch.key},
        }

    def _content(self, file_id: str) -> str:
        """Return the path at which a file is downloaded."""
        return f"/files/{file_id}/content"


def id_of(answer: dict[str, Any]) -> str:
    """Return the id in an answer. Raises FailedCall for an answer without one."""
    if not isinstance(name := answer.get("id"), str) or not name:
        raise FailedCall(
            FailedAttempt(RETRY, "bad_reply", f"an answer without an id: {str(answer)[:200]}"), unclear=True
        )
    return name


def _describe(error: dict[str, Any]) -> str:
    line = f"line {error['line']}: " if error.get("line") else ""
    return f"{line}{error.get('message') or error.get('code')}"
