"""Anthropic's Message Batches.

https://docs.anthropic.com/en/docs/build-with-claude/batch-processing: the requests are in the body that creates the
batch, in the form of Anthropic's own Messages API; results are one JSONL file, in any order. Batches have no metadata:
one whose creation was not confirmed is recognised by its number of requests and, once it has ended, by their ids.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sdg_helpers.batches.apis import BatchApi, State, Undecided
from sdg_helpers.batches.openai_api import id_of
from sdg_helpers.batches.records import Batch
from sdg_helpers.errors import SdgError

_CREATE_TIMEOUT_S = 900.0
_PAGE, _MAX_PAGES = 100, 50
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "tool_use": "tool_calls",
}
_UNKNOWN = ("seed", "n", "stream", "stream_options")  # fields that the Messages API refuses


class AnthropicBatches(BatchApi):
    """Batches at POST /messages/batches."""

    max_requests, max_bytes = 100_000, 256_000_000
    head, separator, tail = b'{"requests":[\n', b",\n", b"\n]}\n"

    def line(self, custom_id: str, body: dict[str, Any]) -> dict[str, Any]:
        params = {name: value for name, value in body.items() if name not in _UNKNOWN}
        if "max_tokens" not in params:
            raise SdgError("Anthropic's batch API needs the field max_tokens: set MAX_TOKENS, and do not omit it.")
        said = [message for message in body["messages"] if message["role"] in ("system", "developer")]
        params["messages"] = [message for message in body["messages"] if message not in said]
        if said:
            params["system"] = "\n\n".join(message["content"] for message in said)
        return {"custom_id": custom_id, "params": params}

    def mark(self) -> str:
        rows = self.calls.get("/messages/batches", limit=1).get("data") or []
        return str(rows[0]["id"]) if rows else ""

    def create(self, batch: Batch, path: Path) -> str:
        with open(path, "rb") as file:
            answer, _ = self.calls.send(
                "POST",
                "/messages/batches",
                content=file,
                headers={"Content-Type": "application/json"},
                timeout=_CREATE_TIMEOUT_S,
            )
        return id_of(answer)

    def find(self, batch: Batch) -> str | None:
        undecided = False
        for row in self._since(batch.mark):
            if sum(int(count) for count in (row.get("request_counts") or {}).values()) != batch.requests:
                continue
            if row.get("processing_status") != "ended":
                undecided = True
            elif self._is_ours(str(row["id"]), batch):
                return str(row["id"])
        if undecided:
            raise Undecided
        return None

    def poll(self, batch: Batch) -> State:
        row = self.calls.get(f"/messages/batches/{batch.batch_id}")
        counts = {name: int(count) for name, count in (row.get("request_counts") or {}).items()}
        total = sum(counts.values())
        ended = row.get("processing_status") == "ended"
        outcome = "cancelled" if row.get("cancel_initiated_at") else "expired" if counts.get("expired") else ""
        return State(
            ended=ended,
            done=total - counts.get("processing", 0),
            outcome=outcome if ended else "",
            results=(self._results(batch.batch_id),),
        )

    def read(self, row: dict[str, Any]) -> tuple[int, Any, str]:
        result = row.get("result") or {}
        if result.get("type") == "succeeded":
            return 200, _as_completion(result["message"]), ""
        if result.get("type") == "errored":
            error = (result.get("error") or {}).get("error") or result.get("error") or {}
            return _STATUS.get(str(error.get("type")), 500), {"error": error}, ""
        return 0, None, f"batch_{result.get('type')}: not processed"

    def _results(self, batch_id: str) -> str:
        return f"/messages/batches/{batch_id}/results"

    def _since(self, mark: str) -> list[dict[str, Any]]:
        """Return the batches that are newer than the marked one."""
        newer: list[dict[str, Any]] = []
        after: dict[str, str] = {}
        for _ in range(_MAX_PAGES):
            page = self.calls.get("/messages/batches", limit=_PAGE, **after)
            for row in page.get("data") or []:
                if row["id"] == mark:
                    return newer
                newer.append(row)
            if not page.get("has_more") or not newer:
                break
            after = {"after_id": str(newer[-1]["id"])}
        return newer

    def _is_ours(self, batch_id: str, batch: Batch) -> bool:
        row = self.calls.first_row(self._results(batch_id))
        return str(row.get("custom_id", "")).startswith(f"{batch.key}-")


def _as_completion(message: dict[str, Any]) -> dict[str, Any]:
    """Return a reply of the Messages API as a chat completion."""
    usage, finish = message.get("usage") or {}, message.get("stop_reason")
    return {
        "choices": [
            {"message": {"content": message.get("content")}, "finish_reason": _FINISH.get(str(finish), finish)}
        ],
        "usage": {
            "prompt_tokens": sum(
                int(usage.get(name) or 0)
                for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
            ),
            "completion_tokens": usage.get("output_tokens"),
        },
    }
