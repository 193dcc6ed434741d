"""The ranks of one job, one a node: who they are, messages between them, and news when one of them ends.

The first rank listens on a free port and writes host, port and two secrets into a file on the shared file system, which
only its user can read. The others connect, show the first secret, expect the second and stay connected. Strangers on
either end are ignored. A rank that ends, for whatever reason, closes its connection, so all others notice
at once; keep-alive probes detect a node that lost power.
"""

from __future__ import annotations

import os
import queue
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.cluster.exit_codes import CRASHED, RAISED, TERMINATED, TryAgain
from sdg_helpers.cluster.rank_connections import Connection, admit
from sdg_helpers.processes import free_ports

_ANSWER_S = 10.0  # for the first rank's node to answer, before another of its addresses is tried
_JOIN_S = 900  # ranks may start minutes apart: images are pulled, file systems mounted
_REACH_S = 120  # for a rank to connect to the first one, once it has read its address
_group: Group | None = None


class Group:
    """One rank's view of its job."""

    def __init__(self, rank: int, hosts: list[str], head: str, port: int, connections: dict[int, Connection]):
        """hosts: the host name of every rank.

        head: a name or address of the first rank's node that can be reached from here.
        port: a port that was free on that node when the ranks met.
        connections: rank -> connection; from the first rank to all others, from another one to the first.
        """
        self.rank, self.hosts, self.head, self.port = rank, hosts, head, port
        self._connections = connections
        self._inbox: queue.Queue[dict[str, Any]] = queue.Queue()
        self._ending = False  # this rank or another one is about to end: further ends are no news
        self.on_end: Callable[[str, int], None] = lambda why, code: None

    @property
    def num_nodes(self) -> int:
        """How many ranks there are, one a node."""
        return len(self.hosts)

    def send(self, **message: Any) -> None:
        """Send a message: from the first rank to all others, from another rank to the first."""
        for connection in self._connections.values():
            connection.send(message)

    def receive(self, timeout_s: float) -> dict[str, Any] | None:
        """Return the next message, with its sender as "rank"; None when none arrives in time."""
        with suppress(queue.Empty):
            return self._inbox.get(timeout=timeout_s)
        return None

    def end(self, code: int, error: str = "") -> None:
        """Announce that this rank is about to end with this exit code, and why, and close all connections."""
        self._ending = True
        self.send(end=code, error=error)
        for connection in self._connections.values():
            connection.close()

    def listen(self, on_end: Callable[[str, int], None]) -> None:
        """Start receiving messages; on_end(why, exit code) is called once, when another rank ends."""
        self.on_end = on_end
        for rank, connection in self._connections.items():
            threading.Thread(target=self._read_messages, args=(rank, connection), daemon=True).start()

    def _read_messages(self, rank: int, connection: Connection) -> None:
        code, error = None, ""
        for message in connection.messages():
            if "end" in message:
                code, error = message["end"], message["error"]
                break
            self._inbox.put({**message, "rank": rank})
        if not self._ending:
            self._ending = True
            self.on_end(*self._explain_end(rank, code, error))

    def _explain_end(self, rank: int, code: int | None, error: str) -> tuple[str, int]:
        """Return why another rank's end ends this one, and the exit code to end with."""
        who = f"rank {rank} on {self.hosts[rank]}"
        if code is None:
            return f"{who} is gone", CRASHED
        error = f": {error}" if error else ""
        if rank == 0 or code in (RAISED, TERMINATED):
            return f"{who} ended with exit code {code}{error}", code
        return f"{who} ended with exit code {code} before the first rank did{error}", CRASHED


def current() -> Group:
    """Return the group of the job that this process runs in; outside a job, a group of one."""
    global _group
    if _group is None:
        _group = _group_of_one()
    return _group


def idle_unless_first() -> None:
    """Return at once on the first rank; on all others block until the first rank ends, which ends them as well.

    For work that only one node has to do.
    """
    if current().rank:
        threading.Event().wait()


@contextmanager
def join(meeting_point: Path, rank: int, size: int) -> Iterator[Group]:
    """Meet the other ranks of this attempt at the job.

    meeting_point: a path on the shared file system that only this attempt uses. Raises TryAgain when a rank is missing.
    """
    global _group
    if size == 1:
        _group = _group_of_one()
    elif rank == 0:
        _group = _wait_for_others(meeting_point, size)
    else:
        _group = _connect_to_first(meeting_point, rank)
    try:
        yield _group
    finally:
        _group = None


def _group_of_one() -> Group:
    return Group(0, [_host_name()], "127.0.0.1", free_ports(1)[0], {})


def _wait_for_others(meeting_point: Path, size: int) -> Group:
    """On the first rank: wait until all others have connected, then send each of them the list of hosts."""
    secret, answer, port = secrets.token_hex(16), secrets.token_hex(16), free_ports(1)[0]
    connections: dict[int, Connection] = {}
    hosts = {0: _host_name()}
    with closing(socket.create_server(("", 0), backlog=max(size, 128))) as server:
        address = {"addresses": _addresses(), "port": server.getsockname()[1], "secret": secret, "answer": answer}
        with files.disk_errors(meeting_point):
            files.write_private(meeting_point, address)
        with closing(admit(server, secret, time.monotonic() + _JOIN_S)) as arrivals:
            for connection, hello in arrivals:
                rank, host = hello.get("rank"), hello.get("host")
                if type(rank) is not int or not 0 < rank < size or not isinstance(host, str):
                    connection.close()
                    continue
                if rank in connections:  # it lost its first connection
                    connections[rank].close()
                connections[rank], hosts[rank] = connection, host
                connection.send({"answer": answer})
                if len(hosts) == size:
                    break
    if missing := sorted(set(range(size)) - set(hosts)):
        raise TryAgain(
            f"ranks {missing} did not connect within {_JOIN_S} s: their nodes or containers did not start, or cannot "
            "reach this node"
        )
    ordered = [hosts[number] for number in range(size)]
    for connection in connections.values():
        connection.send({"hosts": ordered, "port": port})
    return Group(0, ordered, _addresses()[0], port, connections)


def _connect_to_first(meeting_point: Path, rank: int) -> Group:
    """On any other rank: read the first rank's address, connect, and wait until all ranks are there."""
    first = _read_address(meeting_point)
    deadline, reach = time.monotonic() + _JOIN_S, time.monotonic() + _REACH_S
    failures: dict[str, Exception] = {}
    while time.monotonic() < min(reach, deadline):
        for address in first["addresses"]:
            try:
                connection = Connection(socket.create_connection((address, first["port"]), timeout=_ANSWER_S))
                reach = time.monotonic() + _REACH_S  # from now on it is the other ranks that we wait for
                if welcome := _introduce(connection, rank, first, deadline):
                    return Group(rank, welcome["hosts"], address, welcome["port"], {0: connection})
            except (OSError, ValueError) as error:
                failures[address] = error
        time.sleep(0.3)
        first = files.read_json(meeting_point) or first
    tried = "; ".join(f"{address}: {error or type(error).__name__}" for address, error in failures.items())
    raise TryAgain(
        f"rank {rank} on {_host_name()} cannot connect to port {first['port']} of the first rank on "
        f"{first['addresses'][0]} ({tried or 'something else listens there'}). Does a firewall separate the nodes?"
    )


def _read_address(meeting_point: Path) -> dict[str, Any]:
    """Return what the first rank wrote about itself. Raises TryAgain when it does not appear on this node."""
    deadline = time.monotonic() + _JOIN_S
    while time.monotonic() < deadline:
        with suppress(OSError):
            os.listdir(meeting_point.parent)  # makes a network file system refresh the folder
        if first := files.read_json(meeting_point):
            return first
        time.sleep(0.3)
    raise TryAgain(
        f"{meeting_point}, which the first rank writes, did not appear on {_host_name()} within {_JOIN_S} s: the first "
        "rank did not start, or the file system is not shared"
    )


def _introduce(connection: Connection, rank: int, first: dict[str, Any], deadline: float) -> dict[str, Any] | None:
    """Return the first rank's list of hosts, once all ranks are there; None when something else listens there."""
    try:
        connection.introduce(first["secret"], {"rank": rank, "host": _host_name()})
        if connection.next_message(_ANSWER_S).get("answer") == first["answer"]:
            return connection.next_message(max(1, deadline - time.monotonic()))
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None


def _host_name() -> str:
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def _addresses() -> list[str]:
    """Return this node's names and addresses, the one that Slurm uses first."""
    found = [_host_name(), socket.getfqdn()]
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("198.51.100.1", 9))  # sends nothing, but selects the address that faces the network
        found.append(probe.getsockname()[0])
    return list(dict.fromkeys(found))
