"""All nodes of a job, controlled from its first rank: start each copy of the model on its nodes, detect exits, stop."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.cluster.exit_codes import RETURNED
from sdg_helpers.cluster.ranks import Group
from sdg_helpers.errors import SdgError
from sdg_helpers.files import write_private
from sdg_helpers.serving.server_specs import SglangSpec
from sdg_helpers.serving.sglang import command_lines
from sdg_helpers.serving.sglang.node_servers import USAGE_ERROR, NodeServers

_POLL_S = 0.5
_EXIT_TIMEOUT_S = 30  # an engine may take this long to exit once its work is done
_READY_TIMEOUT_S = 300  # until every node is ready to start its part


class ServerDown(Exception):
    """SGLang is down or unhealthy.

    final_error: the type of error to raise at once; None when a restart may help. status, rank: exit code and rank of
    the process that exited, if one did.
    """

    def __init__(self, why: str, final_error: type[SdgError] | None = None, status: int | None = None, rank: int = 0):
        super().__init__(why)
        self.why, self.final_error, self.status, self.rank = why, final_error, status, rank


class JobNodes:
    """The first rank's control over all nodes; the other ranks run `follow`. A private file holds the server's key.

    Each copy of the model has a thread of its own on the first rank; `server` is the copy's number.
    """

    def __init__(self, spec: SglangSpec, folder: Path, group: Group):
        """folder: for the logs, on a file system that all nodes share."""
        self.spec, self.group, self.servers = spec, group, NodeServers(spec, folder, group)
        self.key = secrets.token_hex(24)  # hex, because SGLang takes a leading "-" for an option
        self.attempts: Counter[int] = Counter()  # starts by server
        layout = command_lines.layout(spec, group.num_nodes)
        self._heads = {part.server: part for parts in layout for part in parts if part.node_rank == 0}
        self._config = folder / f".{self.servers.name}.key.yaml"
        self._events = folder / f"{self.servers.name}-events.jsonl"
        self._loads: dict[int, dict[str, float]] = {}
        self._lock = threading.Lock()
        self._mail: dict[int, deque[dict[str, Any]]] = {server: deque() for server in self._heads}

    def start(self, server: int, shard_from: Path | None = None) -> str:
        """Stop a copy, then start all of its parts; return its address, http://host:port. Raises ServerDown.

        shard_from: write this model to the spec's model folder, one shard per rank, instead of serving that.
        """
        self.attempts[server] += 1
        self.record_event("start", server)
        self.servers.stop(server)
        with self._lock:
            if not self._config.exists():
                write_private(self._config, {"api-key": self.key})  # JSON is YAML
        about = {"server": server, "attempt": self.attempts[server]}
        self.group.send(serving="offer", **about)
        head = self._heads[server]
        parts = range(head.head, head.head + head.nnodes)  # ranks
        ports, end = {}, time.monotonic() + _READY_TIMEOUT_S
        if head.head == 0:
            ports[0] = self.servers.free_ports()
        while len(ports) < len(parts):
            message = self._receive(server)
            if message.get("serving") == "ports" and message["attempt"] == about["attempt"]:
                ports[message["rank"]] = message["ports"]
            elif time.monotonic() > end:
                raise ServerDown(f"ranks {sorted({*parts} - {*ports})} were not ready within {_READY_TIMEOUT_S} s")
        ordered = [ports[rank] for rank in parts]
        source = str(shard_from) if shard_from else None
        self.group.send(serving="start", **about, ports=ordered, config=str(self._config), shard_from=source)
        if head.head == 0:
            self.servers.start(server, ordered, self._config, shard_from)
        return f"http://{self.group.hosts[head.head] if head.head else '127.0.0.1'}:{ordered[0][0]}"

    def poll(self, server: int) -> None:
        """Wait up to half a second; raise ServerDown when a process of a copy has exited, on any node."""
        self._receive(server)
        if exited := self.servers.find_exited(server):
            raise _server_down(*exited, rank=0)

    def finished(self, server: int, down: ServerDown) -> bool:
        """Return whether the process of a copy on the first rank exited cleanly.

        Its exit takes the others down, and one of those may be reported first as `down`.
        """
        end = time.monotonic() + _EXIT_TIMEOUT_S
        while down.rank and time.monotonic() < end:
            if exited := self.servers.find_exited(server):
                return exited[1] == RETURNED
            time.sleep(_POLL_S)
        return (down.status, down.rank) == (RETURNED, 0)

    def stop(self) -> None:
        """Stop SGLang on all nodes for good; the other ranks' `follow` returns."""
        self.group.send(serving="done")
        self.servers.stop_all()
        self._config.unlink(missing_ok=True)

    def log(self, server: int) -> Path:
        """Return the log of a copy's first part."""
        return self.servers.log_path(f"server{server}", self._heads[server].head)

    def record_event(self, event: str, server: int, why: str = "") -> None:
        """Append an event, with its time, to a file next to the logs."""
        row = {"at": time.time(), "event": event, "server": server, "attempt": self.attempts[server]}
        with self._lock, files.AppendLog(self._events) as log:
            log.append({**row, **({"why": why} if why else {})})

    def record_load(self, server: int, load: dict[str, float]) -> None:
        """Replace what a copy reported about its load in the file next to the logs that `sdg watch` reads."""
        with self._lock, suppress(SdgError):  # a full disk must not end the supervision
            self._loads[server] = load
            files.write_json(self._events.with_name(f"{self.servers.name}-load.json"), list(self._loads.values()))

    def _receive(self, server: int) -> dict[str, Any]:
        """Return the next message about a copy, or {} after half a second. Raises ServerDown when it says so."""
        with self._lock:
            while (message := self.group.receive(0)) is not None:
                self._mail[message["server"]].append(message)
            message = self._mail[server].popleft() if self._mail[server] else None
        if message is None:
            time.sleep(_POLL_S)
            return {}
        if message["serving"] == "dead" and message["attempt"] == self.attempts[server]:
            raise _server_down(message["why"], message["status"], message["rank"])
        return message


def follow(spec: SglangSpec, folder: Path, group: Group) -> None:
    """Run this node's parts, on every rank but the first, until the first rank says that the work is done."""
    servers = NodeServers(spec, folder, group)
    attempts: dict[int, int] = {}  # of the copies that have a part here
    try:
        while True:
            message = group.receive(_POLL_S) or {}
            server, serving = message.get("server"), message.get("serving")
            if serving == "done":
                return
            if serving == "offer" and server in servers.parts:
                servers.stop(server)
                attempts[server] = message["attempt"]
                group.send(serving="ports", server=server, attempt=message["attempt"], ports=servers.free_ports())
            elif serving == "start" and server in servers.parts:
                source = Path(message["shard_from"]) if message["shard_from"] else None
                servers.start(server, message["ports"], Path(message["config"]), source)
            for one, attempt in attempts.items():
                if exited := servers.find_exited(one):
                    group.send(serving="dead", server=one, attempt=attempt, why=exited[0], status=exited[1])
                    servers.stop(one)
    finally:
        servers.stop_all()


def _server_down(why: str, status: int, rank: int) -> ServerDown:
    return ServerDown(why, SdgError if status == USAGE_ERROR else None, status, rank)
