"""The ranks of one job, one a node: who they are, where the first one is, and the news when one of them ends.

The first rank listens on a port of its own choice and leaves host, port and a secret in a file of the shared folder;
the others connect and stay connected. A rank that ends, however it does, closes its connection, so all others know
at once; keep-alive probes notice a node without power."""

from __future__ import annotations

import hmac
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

import orjson

from sdg_helpers import files
from sdg_helpers.cluster.exit_codes import CRASHED, RAISED, TERMINATED, TryAgain

_MEET_S = 900  # ranks may begin minutes apart: images are pulled, file systems mounted
_group: Group | None = None


class Group:
    """This rank's view of its job. `head`: a name or address of the first rank's node that works from here; `port`: a
    port that was free there when the ranks met; `hosts`: every rank's host name."""

    def __init__(self, rank: int, hosts: list[str], head: str, port: int, lines: dict[int, _Line]):
        self.rank, self.hosts, self.head, self.port = rank, hosts, head, port
        self._lines, self._inbox, self._over = lines, queue.Queue(), False
        self.on_end: Callable[[str, int], None] = lambda why, code: None

    @property
    def num_nodes(self) -> int:
        """How many ranks there are."""
        return len(self.hosts)

    def send(self, **message: Any) -> None:
        """From the first rank to all others; from another to the first."""
        for line in self._lines.values():
            line.send(message)

    def receive(self, timeout_s: float) -> dict[str, Any] | None:
        """The next message, with its sender as "rank"; None when none comes in time."""
        with suppress(queue.Empty):
            return self._inbox.get(timeout=timeout_s)
        return None

    def end(self, code: int) -> None:
        """Say that this rank is about to end, and how; the last thing it says."""
        self._over = True
        self.send(end=code)
        for line in self._lines.values():
            line.close()

    def listen(self, on_end: Callable[[str, int], None]) -> None:
        """From now on messages are received, and on_end(why, code) is called, once, when another rank ends."""
        self.on_end = on_end
        for rank, line in self._lines.items():
            threading.Thread(target=self._hear, args=(rank, line), daemon=True).start()

    def _hear(self, rank: int, line: _Line) -> None:
        code = None
        for message in line.messages():
            if "end" in message:
                code = message["end"]
                break
            self._inbox.put({**message, "rank": rank})
        if not self._over:
            self._over = True
            self.on_end(*self._ending(rank, code))

    def _ending(self, rank: int, code: int | None) -> tuple[str, int]:
        who = f"rank {rank} on {self.hosts[rank]}"
        if code is None:
            return f"{who} is gone", CRASHED
        if rank == 0 or code in (RAISED, TERMINATED):
            return f"{who} ended with status {code}", code
        return f"{who} ended with status {code} before the first rank did", CRASHED


def current() -> Group:
    """The group of the job that we run in; outside a job, a group of one."""
    global _group
    if _group is None:
        _group = _alone()
    return _group


def idle_unless_first() -> None:
    """What a rank does that is not the first, when only that one has work: wait until it ends, which ends us."""
    if current().rank:
        threading.Event().wait()


@contextmanager
def join(meeting_point: Path, rank: int, size: int) -> Iterator[Group]:
    """Meet the other ranks of this attempt. meeting_point: a path of the shared folder that is this attempt's alone.

    Raises TryAgain when not all come.
    """
    global _group
    if size == 1:
        _group = _alone()
    elif rank == 0:
        _group = _gather(meeting_point, size)
    else:
        _group = _find(meeting_point, rank)
    try:
        yield _group
    finally:
        _group = None


def _alone() -> Group:
    return Group(0, [_host()], "127.0.0.1", _free_port(), {})


def _gather(meeting_point: Path, size: int) -> Group:
    """The first rank: wait for the others, then tell all of them who is there."""
    secret, port, lines, hosts = secrets.token_hex(16), _free_port(), {}, {0: _host()}
    with closing(socket.create_server(("", 0), backlog=size)) as server:
        server.settimeout(1)
        _leave(meeting_point, {"addresses": _addresses(), "port": server.getsockname()[1], "secret": secret})
        end = time.time() + _MEET_S
        while len(hosts) < size:
            if time.time() > end:
                missing = sorted(set(range(size)) - set(hosts))
                raise TryAgain(
                    f"ranks {missing} did not come within {_MEET_S} s; their nodes or containers did not "
                    "start, or cannot reach this node"
                )
            with suppress(OSError, ValueError):
                line = _Line(server.accept()[0])
                hello = line.first()
                if hmac.compare_digest(hello["secret"], secret) and 0 < hello["rank"] < size:
                    lines[hello["rank"]], hosts[hello["rank"]] = line, hello["host"]
    ordered = [hosts[number] for number in range(size)]
    for line in lines.values():
        line.send({"hosts": ordered, "port": port})
    return Group(0, ordered, _addresses()[0], port, lines)


def _leave(meeting_point: Path, value: dict[str, Any]) -> None:
    before = os.umask(0o077)  # the secret is for this user's ranks only
    try:
        files.write_json(meeting_point, value)
    finally:
        os.umask(before)


def _find(meeting_point: Path, rank: int) -> Group:
    """Another rank: find the first one's note, connect, wait until all are there."""
    end = time.time() + _MEET_S
    while time.time() < end:
        with suppress(OSError):
            os.listdir(meeting_point.parent)  # makes a network file system look again
        note = files.read_json(meeting_point)
        for address in note["addresses"] if note else ():
            with suppress(OSError, ValueError):
                line = _Line(socket.create_connection((address, note["port"]), timeout=5))
                line.send({"rank": rank, "host": _host(), "secret": note["secret"]})
                welcome = line.first(timeout_s=max(1, end - time.time()))
                return Group(rank, welcome["hosts"], address, welcome["port"], {0: line})
        time.sleep(0.3)
    raise TryAgain(f"rank {rank} on {_host()} found no way to the first rank within {_MEET_S} s ({meeting_point})")


class _Line:
    """A connection that carries JSON objects, one a line, and notices when the other end is gone."""

    def __init__(self, connection: socket.socket):
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            ("TCP_KEEPIDLE", 5),
            ("TCP_KEEPINTVL", 2),
            ("TCP_KEEPCNT", 3),
            ("TCP_USER_TIMEOUT", 15_000),
            ("TCP_NODELAY", 1),
        ):
            if hasattr(socket, option):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        self._connection, self._file, self._lock = connection, connection.makefile("rb"), threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Send one object; to a rank that is gone, nothing (its end is news of its own)."""
        with self._lock, suppress(OSError):
            self._connection.sendall(orjson.dumps(message) + b"\n")

    def first(self, timeout_s: float = 5) -> dict[str, Any]:
        """The first object; raises OSError or ValueError when none comes in time."""
        self._connection.settimeout(timeout_s)
        try:
            return orjson.loads(self._file.readline(1 << 16))
        finally:
            self._connection.settimeout(None)

    def messages(self) -> Iterator[dict[str, Any]]:
        """Objects until the other end closes or is gone."""
        with suppress(OSError, ValueError):
            while text := self._file.readline():
                yield orjson.loads(text)

    def close(self) -> None:
        """Close it; what was sent arrives first."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


def _host() -> str:
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def _addresses() -> list[str]:
    """Names and addresses of this node, the one that Slurm uses first."""
    found = [_host(), socket.getfqdn()]
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("198.51.100.1", 9))  # sends nothing; tells which address faces the network
        found.append(probe.getsockname()[0])
    return list(dict.fromkeys(found))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("", 0))
        return one.getsockname()[1]
