"""Gemini's batches in OpenAI's format.

https://ai.google.dev/gemini-api/docs/openai: batches are created and read as OpenAI's are, but files go through
Google's own API for files, and existing batches are listed by Google's own API for batches.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sdg_helpers.batches.calls import FailedCall
from sdg_helpers.batches.openai_api import OpenAIBatches
from sdg_helpers.batches.records import Batch
from sdg_helpers.completions.failed_attempts import RETRY, FailedAttempt

_UPLOAD_TIMEOUT_S = 900.0
_PAGE, _MAX_PAGES = 100, 50


class GeminiBatches(OpenAIBatches):
    """Batches below /v1beta/openai, files below /v1beta."""

    def upload(self, batch: Batch, path: Path) -> str:
        name = f"files/sdg-{batch.key}"  # ours to choose, so that no file is uploaded twice
        start = {
            "X-Goog-Upload-Protocol": "resumable",
            "X-Goog-Upload-Command": "start",
            "X-Goog-Upload-Header-Content-Length": str(path.stat().st_size),
            "X-Goog-Upload-Header-Content-Type": "application/jsonl",
        }
        about = {"file": {"name": name, "display_name": batch.key}}
        try:
            _, headers = self.calls.send(
                "POST", self.calls.root(f"/upload{self._version()}/files"), json=about, headers=start
            )
        except FailedCall as failed:
            if failed.failure.reason == "http_409":  # it exists
                return name
            raise
        if not (url := headers.get("X-Goog-Upload-URL")):
            raise FailedCall(FailedAttempt(RETRY, "bad_reply", "an upload without an address to upload to"), False)
        with open(path, "rb") as file:
            answer, _ = self.calls.send(
                "POST",
                url,
                content=file,
                headers={"X-Goog-Upload-Offset": "0", "X-Goog-Upload-Command": "upload, finalize"},
                timeout=_UPLOAD_TIMEOUT_S,
            )
        return str((answer.get("file") or {}).get("name") or name)

    def find(self, batch: Batch) -> str | None:
        token: dict[str, str] = {}
        for _ in range(_MAX_PAGES):
            page = self.calls.get(self.calls.root(f"{self._version()}/batches"), pageSize=_PAGE, **token)
            for operation in page.get("operations") or []:
                text = json.dumps(operation)
                if batch.file_id in text and "STATE_FAILED" not in text:
                    return str(operation["name"])
            if not page.get("nextPageToken"):
                return None
            token = {"pageToken": str(page["nextPageToken"])}
        return None

    def _creation(self, batch: Batch) -> dict[str, Any]:
        body = super()._creation(batch)
        del body["metadata"]  # not documented; the file's name tells the batch
        return body

    def _content(self, file_id: str) -> str:
        return self.calls.root(f"/download{self._version()}/{file_id}:download") + "?alt=media"

    def _version(self) -> str:
        """Return the path of Google's own API, such as /v1beta."""
        return urlsplit(self.calls.base_url).path.rstrip("/").removesuffix("/openai")
