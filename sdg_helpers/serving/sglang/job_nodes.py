"""All nodes of a job, controlled from its first rank: start SGLang on each, detect exits, stop it everywhere."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.cluster.exit_codes import RETURNED
from sdg_helpers.cluster.ranks import Group
from sdg_helpers.errors import SdgError
from sdg_helpers.files import write_private
from sdg_helpers.serving.server_specs import SglangSpec
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
    """The first rank's control over all nodes; the other ranks run `follow`. A private file holds the server's key."""

    def __init__(self, spec: SglangSpec, folder: Path, group: Group):
        """folder: for the logs, on a file system that all nodes share."""
        self.spec, self.group, self.servers = spec, group, NodeServers(spec, folder, group)
        self.key, self.attempt = secrets.token_hex(24), 0  # hex, because SGLang takes a leading "-" for an option
        self._config = folder / f".{self.servers.name}.key.yaml"
        self._events = folder / f"{self.servers.name}-events.jsonl"

    def start(self, shard_from: Path | None = None) -> list[list[int]]:
        """Stop what runs, then start every part; return the ports of every node, by rank. Raises ServerDown.

        shard_from: write this model to the spec's model folder, one shard per rank, instead of serving that.
        """
        self.attempt += 1
        self.record_event("start")
        self.servers.stop()
        if self.attempt == 1:
            write_private(self._config, {"api-key": self.key})  # JSON is YAML
        self.group.send(serving="offer", attempt=self.attempt)
        ports, end = {0: self.servers.free_ports()}, time.monotonic() + _READY_TIMEOUT_S
        while len(ports) < self.group.num_nodes:
            message = self._receive()
            if message.get("serving") == "ports" and message["attempt"] == self.attempt:
                ports[message["rank"]] = message["ports"]
            elif time.monotonic() > end:
                missing = sorted(set(range(self.group.num_nodes)) - set(ports))
                raise ServerDown(f"ranks {missing} were not ready within {_READY_TIMEOUT_S} s")
        ordered = [ports[rank] for rank in range(self.group.num_nodes)]
        self.group.send(
            serving="start", ports=ordered, config=str(self._config), shard_from=str(shard_from) if shard_from else None
        )
        self.servers.start(ordered, self._config, shard_from)
        return ordered

    def poll(self) -> None:
        """Wait half a second; raise ServerDown when a process of any node has exited."""
        self._receive()
        if exited := self.servers.find_exited():
            raise _server_down(*exited, rank=0)

    def finished(self, down: ServerDown) -> bool:
        """Return whether the first rank's process exited cleanly.

        Its exit takes the others down, and one of those may be reported first as `down`.
        """
        end = time.monotonic() + _EXIT_TIMEOUT_S
        while down.rank and time.monotonic() < end:
            if exited := self.servers.find_exited():
                return exited[1] == RETURNED
            time.sleep(_POLL_S)
        return (down.status, down.rank) == (RETURNED, 0)

    def stop(self) -> None:
        """Stop SGLang on all nodes for good; the other ranks' `follow` returns."""
        self.group.send(serving="done")
        self.servers.stop()
        self._config.unlink(missing_ok=True)

    def record_event(self, event: str, why: str = "") -> None:
        """Append an event, with its time, to a file next to the logs."""
        with files.AppendLog(self._events) as log:
            log.append({"at": time.time(), "event": event, "attempt": self.attempt, **({"why": why} if why else {})})

    def _receive(self) -> dict[str, Any]:
        message = self.group.receive(_POLL_S) or {}
        if message.get("serving") == "dead" and message["attempt"] == self.attempt:
            raise _server_down(message["why"], message["status"], message["rank"])
        return message


def follow(spec: SglangSpec, folder: Path, group: Group) -> None:
    """Run this node's part, on every rank but the first, until the first rank says that the work is done."""
    servers, attempt = NodeServers(spec, folder, group), 0
    try:
        while True:
            message = group.receive(_POLL_S) or {}
            if message.get("serving") == "done":
                return
            if message.get("serving") == "offer":
                servers.stop()
                attempt = message["attempt"]
                group.send(serving="ports", attempt=attempt, ports=servers.free_ports())
            elif message.get("serving") == "start":
                shard_from = message["shard_from"]
                servers.start(message["ports"], Path(message["config"]), Path(shard_from) if shard_from else None)
            elif exited := servers.find_exited():
                group.send(serving="dead", attempt=attempt, why=exited[0], status=exited[1])
                servers.stop()
    finally:
        servers.stop()


def _server_down(why: str, status: int, rank: int) -> ServerDown:
    return ServerDown(why, SdgError if status == USAGE_ERROR else None, status, rank)
