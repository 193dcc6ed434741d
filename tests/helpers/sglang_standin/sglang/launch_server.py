"""`python -m sglang.launch_server …` that adds numbers instead of running a model, and fails on demand.

The environment variable STANDIN names a folder. Each start appends a line to its file `starts`; every other file is a
fault: `die-at-start` (exit with this status), `garble` (numbers of the starts that answer nonsense), `load` (seconds
until it answers), `slow` (seconds per reply, with tokens generated meanwhile; a
second number is the spread of a log-normal distribution), `silent` (no replies and no tokens,
though pages are served).
"""

import argparse
import json
import os
import random
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(os.environ["STANDIN"])
tokens = running = 0


def fault(name):
    path = FOLDER / name
    return path.read_text() if path.exists() else ""


def arguments(words=None):
    parser = argparse.ArgumentParser()
    for name in (
        "api-key",
        "config",
        "model-path",
        "served-model-name",
        "host",
        "load-format",
        "dist-init-addr",
        "context-length",
    ):
        parser.add_argument(f"--{name}")
    for name in ("port", "tp-size", "nnodes", "node-rank", "dist-timeout", "base-gpu-id"):
        parser.add_argument(f"--{name}", type=int, default=0)
    parser.add_argument("--enable-metrics", action="store_true")
    given = parser.parse_args(words)
    if given.config and not given.api_key:  # like SGLang: the file's content becomes command line options
        content = json.loads(Path(given.config).read_text())
        more = [word for name, value in content.items() for word in (f"--{name}", value)]
        return arguments([*(sys.argv[1:] if words is None else words), *more])
    return given


def load_shards(folder):
    """Like SGLang: every name in the files must be one of the model's parameters, and none may be missing."""
    for path in Path(folder).glob("model-rank-*.safetensors"):
        data = path.read_bytes()
        missing = {"layers.0.norm.weight", "layers.0.self_attn.kv_b_proj.weight"}
        for name in json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]):
            missing.remove(name)  # a KeyError for a name that the model does not have
        if missing:
            raise ValueError(f"missing keys {missing}")


def reply(question):
    numbers = re.findall(r"\d+", question)
    garbled = str(number) in fault("garble").split()
    return "la la la" if garbled else f"\\boxed{{{sum(map(int, numbers[-2:]))}}}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/metrics":
            lines = (
                f'sglang:realtime_tokens_total{{mode="decode"}} {tokens}.0',
                f'sglang:num_running_reqs{{tp_rank="0"}} {running}.0',
                'sglang:num_queue_reqs{tp_rank="0"} 0.0',
                'sglang:cache_hit_rate{tp_rank="0"} 0.5',
            )
            return self.answer(200, "\n".join([*lines, ""]).encode())
        if self.path == "/v1/models" and not given.node_rank:
            return self.guarded({"data": [{"id": given.served_model_name, "object": "model"}], "object": "list"})
        return self.answer(404, b"{}")

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = reply(body["messages"][-1]["content"])
        while fault("silent"):
            time.sleep(0.1)
        seconds, spread = [*map(float, fault("slow").split()), 0.0, 0.0][:2]
        length = random.lognormvariate(0, spread)
        written = 1 + (int(200 * length) if seconds else 0)
        end = time.monotonic() + seconds * length
        make_tokens(begins=1)
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
            make_tokens()
        make_tokens(begins=-1)
        self.guarded(
            {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": given.served_model_name,
                "usage": {
                    "prompt_tokens": 1,
                    "completion_tokens": written,
                    "total_tokens": 1 + written,
                },
                "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
            }
        )

    def guarded(self, value):
        allowed = self.headers.get("Authorization") == f"Bearer {key}"
        self.answer(200 if allowed else 401, json.dumps(value if allowed else {"error": "Unauthorized"}).encode())

    def answer(self, status, data):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def make_tokens(begins=0):
    global tokens, running
    with lock:
        tokens, running = tokens + 1, running + begins


class Server(ThreadingHTTPServer):
    request_queue_size = 512


if __name__ == "__main__":
    lock, given = threading.Lock(), arguments()
    key = given.api_key
    print(f"the stand-in begins, with the key {key}", flush=True)
    with open(FOLDER / "starts", "a") as file:
        file.write(f"{os.getpid()} {given.node_rank} {given.port} {given.dist_init_addr}\n")
    number = sum(line.split()[1] == "0" for line in (FOLDER / "starts").read_text().splitlines())
    if status := fault("die-at-start"):
        print("the stand-in dies at the start", flush=True)
        sys.exit(int(status))
    if given.load_format == "sharded_state":
        load_shards(given.model_path)
    time.sleep(float(fault("load") or 0))
    Server((given.host, given.port), Handler).serve_forever()
