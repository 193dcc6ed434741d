"""A stand-in for an OpenAI-compatible model server: scripted text, latencies, a hidden capacity, and faults on demand.

    python -m tests.helpers.standin_server --port 0 --latency lognormal:0.05:0.6 --capacity 32 --faults 500=0.05

prints its base URL as the first line. The text depends only on the messages and the seed (standin_script.py), so that
an undisturbed run and one that was killed and resumed can be compared byte for byte. Faults come by probability, drawn
from the request and the number of the attempt, or on request: a message that holds `[[500 x2]]` is answered by 500
twice, then properly.

    GET /health, /v1/models, /stats; POST /reset, /v1/chat/completions
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import re
import signal
import time
from collections import Counter
from email.utils import formatdate
from statistics import NormalDist

import orjson

from tests.helpers.standin_script import Script, draw, request_key

FAULTS = (
    "429",
    "503",
    "500",
    "502",
    "400",
    "401",
    "413",
    "301",
    "quota",
    "hang",
    "disconnect",
    "truncated",
    "cut_json",
    "garbage",
    "empty",
    "no_message",
    "length",
    "null_content",
    "null_finish",
    "no_usage",
    "surrogate",
    "bad_utf8",
    "huge",
    "duplicate",
    "late_copy",
    "error_200",
    "abort",
    "parts",
    "die",
)

HUGE = 70 << 20


def latency_of(spec: str):
    """Return a function from [0, 1) to seconds: `0.05`, `lognormal:MEDIAN:SIGMA` or `tail:USUAL:SLOW:SHARE`."""
    name, *numbers = spec.split(":")
    values = [float(number) for number in numbers]
    if name == "lognormal":
        normal = NormalDist()
        return lambda u: values[0] * 2.718281828 ** (values[1] * normal.inv_cdf(min(max(u, 1e-6), 1 - 1e-6)))
    if name == "tail":
        return lambda u: values[1] if u < values[2] else values[0]
    return lambda u: float(name)


class State:
    """The server's settings and counters."""

    def __init__(self, options: argparse.Namespace):
        self.options, self.script = options, Script(options.accuracy, options.size)
        self.latency, self.zero = latency_of(options.latency), options.latency == "0"
        self.faults = {
            name: float(share) for name, _, share in (item.partition("=") for item in options.faults.split(",") if item)
        }
        if unknown := set(self.faults) - set(FAULTS):
            raise SystemExit(f"unknown faults: {', '.join(sorted(unknown))}; known: {', '.join(FAULTS)}")
        self.tokens_log = (
            os.open(options.log_tokens, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if options.log_tokens else None
        )
        self.keys_log = os.open(options.log_keys, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if options.log_keys else None
        self.reset()

    def reset(self) -> None:
        self.seen: set[bytes] = set()
        self.tries: dict[bytes, int] = {}
        self.status, self.injected = Counter(), Counter()
        self.requests = self.accepted = self.repeats = self.in_flight = self.in_flight_max = self.connections = 0
        self.prompt_tokens = self.completion_tokens = 0
        self.busy_s, self.changed = 0.0, time.perf_counter()
        self.first = self.last = None

    def count_in_flight(self, change: int) -> None:
        now = time.perf_counter()
        self.busy_s += self.in_flight * (now - self.changed)
        self.changed, self.in_flight = now, self.in_flight + change
        self.in_flight_max = max(self.in_flight_max, self.in_flight)

    def stats(self) -> dict:
        self.count_in_flight(0)
        return {
            "requests": self.requests,
            "accepted": self.accepted,
            "unique": len(self.seen),
            "repeats": self.repeats,
            "status": dict(self.status),
            "injected": dict(self.injected),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "in_flight": self.in_flight,
            "in_flight_max": self.in_flight_max,
            "busy_s": self.busy_s,
            "connections": self.connections,
            "first": self.first,
            "last": self.last,
            "now": self.changed,
            "cpu_s": sum(os.times()[:2]),
        }

    def fault(self, key: bytes, text: str) -> str | None:
        """Return the fault of this attempt, if any."""
        if not self.faults and "[[" not in text:
            return None
        attempt = self.tries.get(key, 0)
        wanted = re.search(r"\[\[(\w+)(?: x(\d+))?\]\]", text)
        if wanted and attempt < int(wanted[2] or 10**9):
            name = wanted[1]
        else:
            at, bounds = draw("fault", key, attempt), itertools.accumulate(self.faults.values())
            name = next((name for name, bound in zip(self.faults, bounds, strict=True) if at < bound), None)
        if name is not None:
            self.tries[key] = attempt + 1
        return name

    def accept(self, key: bytes) -> None:
        """Count a request that reached the model."""
        self.accepted += 1
        if self.options.track:
            self.repeats += key in self.seen
            self.seen.add(key)
        if self.keys_log is not None:
            os.write(self.keys_log, key.hex().encode() + b"\n")


def http(status: int, body: bytes, extra: str = "") -> bytes:
    return (
        f"HTTP/1.1 {status} {'OK' if status == 200 else 'Trouble'}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{extra}\r\n"
    ).encode() + body


def http_error(status: int, message: str, extra: str = "") -> bytes:
    return http(status, orjson.dumps({"error": {"message": message, "type": "scripted", "code": status}}), extra)


class Connection(asyncio.Protocol):
    """One client's connection; its requests are answered one after the other."""

    state: State

    def connection_made(self, transport) -> None:
        self.transport, self.buffer, self.pending, self.working = transport, b"", None, False
        self.state.connections += 1

    def connection_lost(self, error) -> None:
        self.transport = None
        if self.pending is not None:
            self.pending.cancel()
        if self.working:  # the client has gone: a real server aborts the generation
            self._done()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
            stop = end + 4 + (int(length[1]) if length else 0)
            if len(self.buffer) < stop:
                return
            body, self.buffer = self.buffer[end + 4 : stop], self.buffer[stop:]
            self.last_one = b"\r\nconnection: close" in head.lower()
            self.request(head, body)

    def request(self, head: bytes, body: bytes) -> None:
        method, path = head.split(b" ", 2)[:2]
        if method == b"POST" and path.partition(b"?")[0] == b"/v1/chat/completions":
            self.completion(head, body)
        elif path == b"/stats":
            self.write(http(200, orjson.dumps(self.state.stats())))
        elif path == b"/reset":
            self.state.reset()
            self.write(http(200, b"{}"))
        elif path == b"/health":
            self.write(http(200, b'{"status":"ok"}'))
        elif path == b"/v1/models":
            models = [{"id": self.state.options.model, "object": "model", "created": 1, "owned_by": "standin"}]
            self.write(http(200, orjson.dumps({"object": "list", "data": models})))
        else:
            self.write(http_error(404, "no such path"))

    def completion(self, head: bytes, body: bytes) -> None:
        state, options = self.state, self.state.options
        state.requests += 1
        state.first = state.first or time.perf_counter()
        try:
            asked = orjson.loads(body)
            self.before = ""
            if asked.get("continue_final_message"):
                self.before = asked["messages"].pop()["content"]
            messages, seed = asked["messages"], asked.get("seed")
            key, text = request_key(messages, seed), str(messages[-1]["content"])
        except (ValueError, KeyError, TypeError, IndexError):
            return self.send(400, http_error(400, "expected a JSON object with messages"))
        if options.key and f"authorization: bearer {options.key}".lower().encode() not in head.lower():
            sent = re.search(rb"\r\nauthorization: (.*)", head, re.IGNORECASE)
            return self.send(401, http_error(401, f"wrong key: {sent[1].decode() if sent else 'none'}"))
        if options.strict and asked.get("model") != options.model:
            return self.send(404, http_error(404, f"The model `{asked.get('model')}` does not exist."))
        fault = state.fault(key, text)
        if fault is not None:
            state.injected[fault] += 1
            if self.fail_at_once(fault):
                return None
        if options.capacity and state.in_flight >= options.capacity:
            return self.send(429, self.refusal(429))
        state.accept(key)
        state.count_in_flight(1)
        self.working = True
        if fault == "hang":
            return None
        return self.answer(asked, key, fault)

    def answer(self, asked: dict, key: bytes, fault: str | None) -> None:
        state = self.state
        wait = 0.0 if state.zero else state.latency(draw("latency", key))
        if asked.get("stream") and state.options.token_s:
            self.begin_stream(asked, key)
        elif wait <= 0:
            self.finish(asked, key, fault)
        else:
            self.pending = asyncio.get_running_loop().call_later(wait, self.finish, asked, key, fault)

    def refusal(self, status: int) -> bytes:
        wait = self.state.options.retry_after
        if wait == "date":
            wait = formatdate(time.time() + 1, usegmt=True)
        return http_error(status, "scripted: too many requests", f"Retry-After: {wait}\r\n" if wait else "")

    def fail_at_once(self, fault: str) -> bool:
        """Send the faults that need no work; False for those that spoil a reply."""
        if fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault in ("429", "503"):
            self.send(int(fault), self.refusal(int(fault)))
        elif fault == "quota":
            self.send(429, http(429, b'{"error":{"message":"no credit left","code":"insufficient_quota"}}'))
        elif fault.isdigit():
            self.send(int(fault), http_error(int(fault), f"scripted failure {fault}"))
        elif fault == "disconnect":
            self.transport.abort()
        else:
            return False
        return True

    def send(self, status: int, data: bytes) -> None:
        self.state.status[str(status)] += 1
        self.write(data)

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)
            if self.last_one:
                self.transport.close()

    def _done(self) -> None:
        self.working, self.pending = False, None
        self.state.count_in_flight(-1)

    def finish(self, asked: dict, key: bytes, fault: str | None) -> None:
        self._done()
        self.state.last = time.perf_counter()
        if self.transport is None:
            return
        self.state.status["200"] += 1
        body = spoiled(self.body(asked, key, fault), fault)
        data = http(200, body)
        if fault == "truncated":
            self.transport.write(data[: -len(body) // 2])
            self.transport.close()
            return
        self.write(data * 2 if fault == "duplicate" else data)
        if fault == "late_copy":
            asyncio.get_running_loop().call_later(0.003, self.send, 200, data)

    def begin_stream(self, asked: dict, key: bytes) -> None:
        """Write the reply token by token, from where the request says that it was cut."""
        reply = self.body(asked, key, None)
        text = reply["choices"][0]["message"]["content"]
        limit = 4 * (asked.get("max_tokens") or len(text))
        if self.before and self.state.options.drifts:
            text = text.upper()
        place = len(self.before)
        end = min(len(text), place + limit)
        self.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.stream(key, text[:end], place, place, "stop" if end == len(text) else "length")

    def stream(self, key: bytes, text: str, begun: int, place: int, finish: str) -> None:
        piece, state = text[place : place + 4], self.state
        tokens = (place + len(piece) - begun + 3) // 4
        part = {
            "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None if piece else finish}],
            "usage": {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1},
        }
        if piece and state.tokens_log is not None:
            os.write(state.tokens_log, f"{key.hex()} {place} {len(piece)}\n".encode())
        data = b"data: " + orjson.dumps(part) + b"\n\n" + (b"" if piece else b"data: [DONE]\n\n")
        if self.transport is None:
            return
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        if piece:
            wait = state.options.token_s
            self.pending = asyncio.get_running_loop().call_later(
                wait, self.stream, key, text, begun, place + len(piece), finish
            )
        else:
            self._done()
            self.write(b"0\r\n\r\n")

    def body(self, asked: dict, key: bytes, fault: str | None) -> dict:
        options = self.state.options
        thinking, text = self.state.script.reply(asked["messages"], asked.get("seed"))
        finish = "stop"
        if fault == "length":
            finish, text, thinking = "length", "", thinking[: len(thinking) // 2 + 1]
        message = {"role": "assistant", "content": text}
        if thinking and options.reasoning_field:
            message[options.reasoning_field] = thinking
        elif thinking:
            message["content"] = f"<think>\n{thinking}" + (f"\n</think>\n\n{text}" if finish == "stop" else "")
        limit = asked.get("max_tokens") if options.limited else None
        if limit and len(thinking + text) // 4 + 1 > limit:
            finish, thinking, text = (
                "length",
                thinking[: 4 * (limit - 1)],
                text[: max(0, 4 * (limit - 1) - len(thinking))],
            )
            message["content"] = f"<think>\n{thinking}" + (f"\n</think>\n\n{text}" if text else "")
        tokens = len(thinking + text) // 4 + 1
        prompt = len(str(asked["messages"])) // 4
        self.state.prompt_tokens += prompt
        self.state.completion_tokens += tokens
        return {
            "id": f"chatcmpl-{key.hex()}",
            "object": "chat.completion",
            "created": 1,
            "model": options.model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
            "usage": {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens},
        }


def spoiled(reply: dict, fault: str | None) -> bytes:
    """Return the reply's JSON with the fault in it."""
    choice, message = reply["choices"][0], reply["choices"][0]["message"]
    changes = (
        {  # fault -> where, which field, its new value (None there: the field goes)
            "empty": (reply, "choices", []),
            "no_message": (choice, "message", None),
            "no_usage": (reply, "usage", None),
            "null_content": (message, "content", "null"),
            "null_finish": (choice, "finish_reason", "null"),
            "abort": (choice, "finish_reason", "abort"),
            "huge": (message, "content", "x" * (HUGE if fault == "huge" else 0)),
            "parts": (message, "content", [{"type": "text", "text": message["content"]}]),
        }
        if fault
        else {}
    )
    if fault in changes:
        place, name, value = changes[fault]
        place[name] = None if value == "null" else value
        if value is None:
            del place[name]
    if fault == "error_200":
        reply = {"error": {"message": "scripted: the engine has a cold", "code": 500}}
    data = orjson.dumps(reply)
    opening = b'"content":"'
    broken = {
        "garbage": b"\x00\xff<html>not JSON",
        "cut_json": data[: len(data) // 2],
        "surrogate": data.replace(opening, opening + b"\\ud800", 1),
        "bad_utf8": data.replace(opening, opening + b"\xff\xfe", 1),
    }
    return broken.get(fault, data) if fault else data


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.helpers.standin_server", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=0, help="0: any free port; the first line printed is the base URL")
    add("--model", default="standin", help="the name of the model it serves")
    add("--strict", action="store_true", help="404 for any other model")
    add("--key", help="the API key that it asks for")
    add("--accuracy", type=float, default=0.6, help="share of right answers")
    add("--size", type=int, default=0, help="characters of thinking to add to each reply")
    add("--reasoning-field", default="", help="put the thinking there (reasoning_content or reasoning), not inline")
    add("--limited", action="store_true", help="cut replies at max_tokens, of four characters each")
    add("--latency", default="0", help="seconds; lognormal:MEDIAN:SIGMA; tail:USUAL:SLOW:SHARE")
    add("--capacity", type=int, default=0, help="most requests at a time; 429 for more (0: any number)")
    add("--retry-after", default="", help="what a 429 or 503 says: seconds, `date` (one second from now), or nothing")
    add("--faults", default="", help="NAME=SHARE,…; names: " + " ".join(FAULTS))
    add("--no-track", dest="track", action="store_false", help="do not remember requests (saves memory)")
    add(
        "--token-s",
        type=float,
        default=0,
        help="stream replies where asked to, a token of four characters after so long",
    )
    add("--drifts", action="store_true", help="continue a text in another way than in one go")
    add("--log-tokens", help="append each streamed token to this file: the request's key, place, length")
    add("--log-keys", help="append the key of every request that reaches the model to this file")
    return parser.parse_args(arguments)


async def serve(options: argparse.Namespace) -> None:
    state = State(options)
    handler = type("Handler", (Connection,), {"state": state})
    server = await asyncio.get_running_loop().create_server(handler, options.host, options.port, backlog=8192)
    port = server.sockets[0].getsockname()[1]
    print(f"http://{options.host}:{port}/v1", flush=True)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()


def main() -> None:
    options = parse()
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(options))
    else:
        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve(options))


if __name__ == "__main__":
    main()
