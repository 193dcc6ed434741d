"""A scripted provider of OpenAI's, Anthropic's and Gemini's batch APIs, with faults; it counts what is paid for.

    with BatchProvider() as provider:
        provider.url("openai")      # a base_url; /chat/completions there is the live API with the same replies

It refuses what the providers refuse: oversized batches, repeated or malformed custom_ids, fields unknown to the API.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.helpers.server_threads import ServerThread
from tests.helpers.standin_script import Script

KEY = "sk-test-0123456789abcdef"
SCRIPT = Script(0.8, 300)
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_LIMITS = {"openai": (50_000, 200_000_000), "gemini": (50_000, 2_000_000_000), "anthropic": (100_000, 256_000_000)}


class BatchProvider(ServerThread):
    """polls: how often a batch is looked at before it has ended. Set the other attributes to inject faults.

    lose: operations ("upload", "create", "poll", "results") -> how many of their replies are lost, after the effect.
    refuse: operations -> replies that are given instead, one after the other. result: custom_id, request -> the row of
    the results, None for no row. outcome: of all batches. ends_by_itself: Gemini calls it completed.
    """

    def __init__(self, polls: int = 1):
        self.polls, self.outcome, self.shuffle, self.repeat = polls, "completed", True, False
        self.lose: Counter[str] = Counter()
        self.refuse: dict[str, list[web.Response]] = {}
        self.rows: Callable[[dict[str, Any], int], dict[str, Any] | None] | None = None
        self.after: Callable[[str], None] | None = None  # called with each operation, when its effect is there
        self.requests_limit = 0
        self.batches: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.paid: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.sizes: list[int] = []

    def url(self, api: str) -> str:
        return f"{self.root}/{api}/v1beta/openai" if api == "gemini" else f"{self.root}/{api}/v1"

    # --- replies

    def completion(self, body: dict[str, Any], seed: Any) -> dict[str, Any]:
        thinking, text = SCRIPT.reply(body["messages"], seed)
        message = {"role": "assistant", "content": text, "reasoning_content": thinking}
        return {
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 50, "completion_tokens": len(text)},
        }

    def _openai_row(self, row: dict[str, Any], number: int) -> dict[str, Any] | None:
        self.paid[json.dumps([row["body"]["messages"], row["body"].get("seed")])] += 1
        body = self.completion(row["body"], row["body"].get("seed"))
        return {"id": f"r{number}", "custom_id": row["custom_id"], "response": {"status_code": 200, "body": body}}

    def _anthropic_row(self, row: dict[str, Any], number: int) -> dict[str, Any] | None:
        params = row["params"]
        self.paid[json.dumps([params["messages"], row["custom_id"].split("-")[1]])] += 1
        thinking, text = SCRIPT.reply(params["messages"], number)
        content = [{"type": "thinking", "thinking": thinking, "signature": "s"}, {"type": "text", "text": text}]
        message = {"content": content, "stop_reason": "end_turn", "usage": {"input_tokens": 50, "output_tokens": 9}}
        return {"custom_id": row["custom_id"], "result": {"type": "succeeded", "message": message}}

    def _process(self, batch: dict[str, Any]) -> None:
        """Answer the requests of a batch."""
        answer = self.rows or (self._anthropic_row if batch["api"] == "anthropic" else self._openai_row)
        rows = [(answer(row, number), row) for number, row in enumerate(batch["rows"])]
        done = [row for row, _ in rows if row is not None]
        if self.repeat:
            done = [row for row in done for _ in range(2)]
        if self.shuffle:
            random.Random(len(done)).shuffle(done)
        good = [row for row in done if row.get("response") or row.get("result")]
        batch["results"] = b"".join(json.dumps(row).encode() + b"\n" for row in good)
        batch["errors"] = b"".join(json.dumps(row).encode() + b"\n" for row in done if row not in good)
        batch["status"] = self.outcome

    # --- common to all APIs

    async def _reply(self, operation: str, request: web.Request, answer: Any) -> web.StreamResponse:
        """Reply, unless the reply is to be lost; the effect is there already."""
        self.calls[operation] += 1
        if self.after:
            self.after(operation)
        if self.lose[operation] > 0:
            self.lose[operation] -= 1
            request.transport.close()
            return web.Response()
        return answer if isinstance(answer, web.Response) else web.json_response(answer)

    def _refused(self, operation: str) -> web.Response | None:
        waiting = self.refuse.get(operation) or []
        return waiting.pop(0) if waiting else None

    def _create(self, api: str, rows: list[dict[str, Any]], size: int, **more: Any) -> dict[str, Any] | web.Response:
        most, bytes_ = _LIMITS[api]
        ids = [row["custom_id"] for row in rows]
        if len(rows) > (self.requests_limit or most) or size > bytes_:
            return _error(413, f"a batch of {len(rows)} requests and {size} bytes is too large")
        if len(set(ids)) < len(ids) or not all(_ID.fullmatch(one) for one in ids):
            return _error(400, "custom_id: repeated or malformed")
        name = f"batches/g{len(self.batches)}" if api == "gemini" else f"batch_{len(self.batches)}"
        self.sizes.append(len(rows))
        self.batches[name] = {"id": name, "api": api, "rows": rows, "status": "in_progress", "polls": 0, **more}
        self.batches[name] |= {"created_at": int(time.time())}
        return self.batches[name]

    def _poll(self, batch: dict[str, Any]) -> None:
        batch["polls"] += 1
        if batch["polls"] > self.polls and batch["status"] == "in_progress":
            self._process(batch)

    # --- OpenAI and Gemini

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        if refused := self._refused("upload"):
            return refused
        form = await request.post()
        assert form["purpose"] == "batch"
        name = f"file-{len(self.files)}"
        self.files[name] = form["file"].file.read()
        return await self._reply("upload", request, {"id": name, "object": "file"})

    async def _create_openai(self, request: web.Request) -> web.StreamResponse:
        api, body = request.match_info["api"], await request.json()
        if refused := self._refused("create"):
            return refused
        assert body["endpoint"] == "/v1/chat/completions" and body["completion_window"] == "24h"
        data = self.files[body["input_file_id"]]
        rows = [json.loads(line) for line in data.splitlines()]
        made = self._create(
            api, rows, len(data), input_file_id=body["input_file_id"], metadata=body.get("metadata") or {}
        )
        return await self._reply("create", request, made if isinstance(made, web.Response) else self._shown(made))

    def _shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        ended = batch["status"] != "in_progress"
        shown = {name: batch.get(name) for name in ("id", "status", "input_file_id", "metadata", "created_at", "fault")}
        shown["request_counts"] = {
            "total": len(batch["rows"]),
            "completed": len(batch["rows"]) if ended else 0,
            "failed": 0,
        }
        if batch.get("fault"):
            shown["errors"] = {"data": [batch["fault"]]}
        for kind in ("results", "errors"):
            if batch.get(kind):
                shown["output_file_id" if kind == "results" else "error_file_id"] = f"files{kind}{batch['id'][-2:]}"
                self.files[f"files{kind}{batch['id'][-2:]}"] = batch[kind]
        return shown

    async def _get_openai(self, request: web.Request) -> web.StreamResponse:
        batch = self.batches[request.match_info["name"]]
        if refused := self._refused("poll"):
            return refused
        self._poll(batch)
        return await self._reply("poll", request, self._shown(batch))

    async def _list_openai(self, request: web.Request) -> web.StreamResponse:
        newest = [self._shown(one) for one in reversed(self.batches.values())]
        after = request.query.get("after")
        start = [one["id"] for one in newest].index(after) + 1 if after else 0
        page = newest[start : start + 2]  # small pages, so that several are read
        return web.json_response({"data": page, "has_more": start + 2 < len(newest)})

    async def _content(self, request: web.Request) -> web.StreamResponse:
        if refused := self._refused("results"):
            return refused
        return await self._reply("results", request, web.Response(body=self.files[request.match_info["name"]]))

    async def _start_upload(self, request: web.Request) -> web.StreamResponse:
        name = (await request.json())["file"]["name"]
        if name in self.files:
            return _error(409, "it exists")
        headers = {"X-Goog-Upload-URL": f"{self.root}/put/{name}"}
        return web.json_response({}, headers=headers)

    async def _put(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        self.files[name] = await request.read()
        return await self._reply("upload", request, {"file": {"name": name}})

    async def _list_gemini(self, request: web.Request) -> web.StreamResponse:
        rows = [
            {
                "name": one["id"],
                "metadata": {"state": "JOB_STATE_RUNNING", "inputConfig": {"fileName": one["input_file_id"]}},
            }
            for one in self.batches.values()
        ]
        return web.json_response({"operations": rows})

    # --- Anthropic

    async def _create_anthropic(self, request: web.Request) -> web.StreamResponse:
        assert request.headers["x-api-key"] == KEY and "Authorization" not in request.headers
        assert request.headers["anthropic-version"] and request.content_length
        if refused := self._refused("create"):
            return refused
        body = await request.json()
        for row in body["requests"]:
            if unknown := {"seed", "stream", "n"} & row["params"].keys():
                return _error(400, f"{unknown}: Extra inputs are not permitted")
            assert row["params"]["max_tokens"] and all(one["role"] != "system" for one in row["params"]["messages"])
        made = self._create("anthropic", body["requests"], request.content_length)
        return await self._reply(
            "create", request, made if isinstance(made, web.Response) else self._message_batch(made)
        )

    def _message_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        ended, total = batch["status"] != "in_progress", len(batch["rows"])
        counts = {"processing": 0 if ended else total, "succeeded": total if ended else 0, "errored": 0, "expired": 0}
        return {
            "id": batch["id"],
            "processing_status": "ended" if ended else "in_progress",
            "request_counts": counts,
            "results_url": f"{self.root}/elsewhere" if ended else None,
        }

    async def _get_anthropic(self, request: web.Request) -> web.StreamResponse:
        batch = self.batches[request.match_info["name"]]
        self._poll(batch)
        return await self._reply("poll", request, self._message_batch(batch))

    async def _list_anthropic(self, request: web.Request) -> web.StreamResponse:
        for one in self.batches.values():
            self._poll(one)
        newest = [self._message_batch(one) for one in reversed(self.batches.values())]
        after = request.query.get("after_id")
        start = [one["id"] for one in newest].index(after) + 1 if after else 0
        limit = min(2, int(request.query.get("limit", 20)))
        return web.json_response({"data": newest[start : start + limit], "has_more": start + limit < len(newest)})

    async def _results_anthropic(self, request: web.Request) -> web.StreamResponse:
        if refused := self._refused("results"):
            return refused
        body = self.batches[request.match_info["name"]]["results"]
        return await self._reply("results", request, web.Response(body=body))

    # --- the rest

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        return web.json_response(self.completion(body, body.get("seed")))

    async def _models(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"data": [{"id": "m"}]})

    async def _serve(self) -> None:
        app = web.Application(client_max_size=1 << 30)
        for base in ("/{api}/v1", "/{api}/v1beta/openai"):
            app.router.add_get(base + "/models", self._models)
            app.router.add_post(base + "/chat/completions", self._chat)
            app.router.add_post(base + "/batches", self._create_openai)
            app.router.add_get(base + "/batches", self._list_openai)
            app.router.add_get(base + "/batches/{name:.+}", self._get_openai)
        app.router.add_post("/openai/v1/files", self._upload)
        app.router.add_get("/openai/v1/files/{name}/content", self._content)
        app.router.add_post("/upload/gemini/v1beta/files", self._start_upload)
        app.router.add_post("/put/{name:.+}", self._put)
        app.router.add_get("/gemini/v1beta/batches", self._list_gemini)
        app.router.add_get("/download/gemini/v1beta/{name}:download", self._content)
        app.router.add_post("/anthropic/v1/messages/batches", self._create_anthropic)
        app.router.add_get("/anthropic/v1/messages/batches", self._list_anthropic)
        app.router.add_get("/anthropic/v1/messages/batches/{name}", self._get_anthropic)
        app.router.add_get("/anthropic/v1/messages/batches/{name}/results", self._results_anthropic)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.root = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status)
