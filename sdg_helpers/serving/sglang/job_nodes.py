"""All nodes of a job, seen from its first rank: start SGLang on each of them, hear of what ends, end it everywhere."""

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
from sdg_helpers.serving.sglang.node_servers import USAGE, Node

LOOK_S = 0.5
_FALL_S = 30  # what an engine may take to end after its last word
_OFFER_S = 300  # until every node has come so far that it can start its part


class Down(Exception):
    """SGLang is not well. `end_with`: the kind of error to end with at once; None when a new start may help. `status`
    and `rank`: of the process that ended, if one did."""

    def __init__(self, why: str, end_with: type[SdgError] | None = None, status: int | None = None, rank: int = 0):
        super().__init__(why)
        self.why, self.end_with, self.status, self.rank = why, end_with, status, rank


class Crew:
    """The first rank's hold on all nodes; the other ranks run `follow`. A file for this user only holds the key."""

    def __init__(self, spec: SglangSpec, folder: Path, group: Group):
        """folder: of the logs, on a file system that all nodes share."""
        self.spec, self.group, self.node = spec, group, Node(spec, folder, group)
        self.key, self.attempt = secrets.token_hex(24), 0  # SGLang would take a first "-" for an option
        self._config, self._events = folder / f".{self.node.name}.key.yaml", folder / f"{self.node.name}-events.jsonl"

    def start(self, shard_to: Path | None = None) -> list[list[int]]:
        """End what runs and start every part; returns the ports of every node, by rank. Raises Down.

        shard_to: do not serve, but write the model there, a file a rank.
        """
        self.attempt += 1
        self.tell("start")
        self.node.stop()
        if self.attempt == 1:
            write_private(self._config, {"api-key": self.key})  # JSON is YAML
        self.group.send(serving="offer", attempt=self.attempt)
        ports, end = {0: self.node.free_ports()}, time.monotonic() + _OFFER_S
        while len(ports) < self.group.num_nodes:
            message = self._hear()
            if message.get("serving") == "ports" and message["attempt"] == self.attempt:
                ports[message["rank"]] = message["ports"]
            elif time.monotonic() > end:
                missing = sorted(set(range(self.group.num_nodes)) - set(ports))
                raise Down(f"ranks {missing} did not get ready within {_OFFER_S} s")
        ordered = [ports[rank] for rank in range(self.group.num_nodes)]
        self.group.send(
            serving="start", ports=ordered, config=str(self._config), shard_to=str(shard_to) if shard_to else None
        )
        self.node.start(ordered, self._config, shard_to)
        return ordered

    def look(self) -> None:
        """Half a second; raises Down when a process of this node or of another one has ended."""
        self._hear()
        if ended := self.node.dead():
            raise _down(*ended, rank=0)

    def returned(self, down: Down) -> bool:
        """Whether the first rank's process has ended in good order: when it does, the others fall, and one of them may
        be heard of before."""
        end = time.monotonic() + _FALL_S
        while down.rank and time.monotonic() < end:
            if ended := self.node.dead():
                return ended[1] == RETURNED
            time.sleep(LOOK_S)
        return (down.status, down.rank) == (RETURNED, 0)

    def stop(self) -> None:
        """End it on all nodes, for good; the other ranks' `follow` returns."""
        self.group.send(serving="done")
        self.node.stop()
        self._config.unlink(missing_ok=True)

    def tell(self, event: str, why: str = "") -> None:
        """Keep what happened, with its time, beside the logs."""
        with files.AppendLog(self._events) as log:
            log.append({"at": time.time(), "event": event, "attempt": self.attempt, **({"why": why} if why else {})})

    def _hear(self) -> dict[str, Any]:
        message = self.group.receive(LOOK_S) or {}
        if message.get("serving") == "dead" and message["attempt"] == self.attempt:
            raise _down(message["why"], message["status"], message["rank"])
        return message


def follow(spec: SglangSpec, folder: Path, group: Group) -> None:
    """Every rank but the first: run this node's part until the first rank says that all is done."""
    node, attempt = Node(spec, folder, group), 0
    try:
        while True:
            message = group.receive(LOOK_S) or {}
            if message.get("serving") == "done":
                return
            if message.get("serving") == "offer":
                node.stop()
                attempt = message["attempt"]
                group.send(serving="ports", attempt=attempt, ports=node.free_ports())
            elif message.get("serving") == "start":
                shard_to = message["shard_to"]
                node.start(message["ports"], Path(message["config"]), Path(shard_to) if shard_to else None)
            elif ended := node.dead():
                group.send(serving="dead", attempt=attempt, why=ended[0], status=ended[1])
                node.stop()
    finally:
        node.stop()


def _down(why: str, status: int, rank: int) -> Down:
    return Down(why, SdgError if status == USAGE else None, status, rank)
