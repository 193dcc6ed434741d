"""A stand-in for the Hugging Face hub: what `datasets` and `huggingface_hub` ask for to read a public repository.

    python -m tests.helpers.hub FOLDER      FOLDER/datasets/org/name/… and FOLDER/models/org/name/… are repositories

prints its URL (for HF_ENDPOINT) as the first line. Every repository has one commit; main and its sha name it.

    GET  /api/{datasets|models}/{repo}[/revision/{rev}], /api/…/tree/{rev}[/{path}]; POST /api/…/paths-info/{rev}
    HEAD, GET (with Range) /[datasets/]{repo}/resolve/{rev}/{path}
    GET  /stats    {"requests": n, "bytes": {path: bytes of content sent}}
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

SHA = "0123456789abcdef0123456789abcdef01234567"
_API = re.compile(r"/api/(datasets|models)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?")
_RESOLVE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


class _Missing(Exception):
    """404 with the hub's own code for what is missing."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root: Path
    flaky: int
    stats = {"requests": 0, "bytes": Counter(), "refused": 0}
    lock = threading.Lock()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        with self.lock:
            self.stats["requests"] += path != "/stats"
        try:
            if path == "/stats":
                self._json(self.stats)
            elif match := _API.fullmatch(path):
                self._api(*match.groups())
            elif match := _RESOLVE.fullmatch(path):
                self._file(*match.groups())
            else:
                raise _Missing("EntryNotFound")
        except _Missing as missing:
            self._reply(404, b'{"error":"not found"}', {"X-Error-Code": str(missing)})

    do_HEAD = do_POST = do_GET

    def _repository(self, kind: str, repo: str, revision: str) -> Path:
        folder = self.root / kind / repo
        if not folder.is_dir():
            raise _Missing("RepoNotFound")
        if revision not in ("main", SHA):
            raise _Missing("RevisionNotFound")
        return folder

    def _api(self, kind: str, repo: str, verb: str | None, revision: str | None, path: str | None) -> None:
        folder = self._repository(kind, repo, revision or "main")
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        if verb in (None, "revision"):
            return self._json(
                {
                    "id": repo,
                    "sha": SHA,
                    "private": False,
                    "gated": False,
                    "disabled": False,
                    "tags": [],
                    "siblings": [{"rfilename": file.relative_to(folder).as_posix()} for file in files],
                }
            )
        if verb == "tree":
            top = folder / (path or "")
            if not top.is_dir():
                raise _Missing("EntryNotFound")
            wanted = sorted(top.rglob("*") if "true" in self._query("recursive") else top.iterdir())
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked = orjson.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode())["paths"]
            wanted = [folder / name for name in asked if (folder / name).exists()]
        self._json([_entry(entry, folder) for entry in wanted])

    def _query(self, name: str) -> list[str]:
        return [value.lower() for value in parse_qs(urlsplit(self.path).query).get(name, [])]

    def _file(self, dataset: str | None, repo: str, revision: str, path: str) -> None:
        file = self._repository("datasets" if dataset else "models", repo, revision) / path
        if not file.is_file():
            raise _Missing("EntryNotFound")
        size, asked = file.stat().st_size, re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end = (int(asked[1]), min(int(asked[2] or size - 1), size - 1)) if asked else (0, size - 1)
        headers = {
            "ETag": f'"{_oid(file)}"',
            "X-Repo-Commit": SHA,
            "Accept-Ranges": "bytes",
            **({"Content-Range": f"bytes {start}-{end}/{size}"} if asked else {}),
        }
        with open(file, "rb") as content:
            content.seek(start)
            data = content.read(end - start + 1)
        with self.lock:
            if self.command == "GET":
                self.stats["bytes"][f"{repo}/{path}"] += len(data)
        self._reply(206 if asked else 200, data, headers)

    def _json(self, value: object) -> None:
        self._reply(200, orjson.dumps(value), {"Content-Type": "application/json"})

    def _reply(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        print(self.command, self.path, self.headers.get("Range"), status, len(data), file=sys.stderr)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def _oid(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


def _entry(entry: Path, folder: Path) -> dict:
    path = entry.relative_to(folder).as_posix()
    if entry.is_dir():
        return {"type": "directory", "oid": "0" * 40, "size": 0, "path": path}
    lfs = {"oid": hashlib.sha256(entry.read_bytes()).hexdigest(), "size": entry.stat().st_size, "pointerSize": 134}
    return {
        "type": "file",
        "oid": _oid(entry),
        "size": entry.stat().st_size,
        "path": path,
        **({"lfs": lfs} if entry.suffix == ".safetensors" else {}),
    }


class Hub:
    """The stand-in as a process: `with Hub(folder) as hub: … hub.url … hub.stats()`."""

    def __init__(self, folder: Path):
        self.folder = folder

    def stats(self) -> dict:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url + "/stats", timeout=60) as response:
            return orjson.loads(response.read())

    def __enter__(self) -> Hub:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.hub", str(self.folder)],
            text=True,
            cwd=Path(__file__).resolve().parents[2],
            stdout=subprocess.PIPE,
        )
        self.url = self.process.stdout.readline().strip()
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.terminate()
        self.process.wait(60)
        self.process.stdout.close()


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    _Handler.root = options.folder
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
