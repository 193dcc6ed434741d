"""How the ranks of a job meet on a network with strangers, and whose work a job loads."""

import json
import os
import socket
import threading
import time
from contextlib import suppress

import pytest
from submitit.core.utils import cloudpickle_dump

from sdg_helpers.cluster import rank_connections, ranks, worker
from sdg_helpers.cluster.exit_codes import TryAgain
from sdg_helpers.errors import SdgError
from sdg_helpers.processes import free_ports
from tests.helpers.watching import eventually


def trickle(stranger, note):
    for _ in range(200):
        stranger.sendall(b"x")
        time.sleep(0.05)


def crowd(stranger, note):
    kept = [socket.create_connection(("127.0.0.1", note["port"])) for _ in range(100)]
    stranger.recv(1)
    del kept


def says(*parts):
    return lambda stranger, note: [stranger.sendall(part) for part in parts]


def knows_the_secret(said):
    return lambda stranger, note: stranger.sendall(note["secret"].encode() + said)


STRANGERS = {
    "silent": says(),
    "http": says(b"GET / HTTP/1.0\r\n\r\n"),
    "tls": says(b"\x16\x03\x01\x02\x00\x01\x00" + bytes(500)),
    "an object": says(b"{}\n"),
    "a number": says(b"1\n"),
    "wrong secret": says(b"x" * 32 + b'{"rank":1,"host":"h"}\n'),
    "a secret of another kind": says(b'{"secret":5,"rank":1}\n'),
    "a megabyte": says(bytes(1 << 20)),
    "deep nesting": says(b"[" * 60_000 + b"\n"),
    "trickle": trickle,
    "crowd": crowd,
    "right secret, no object": knows_the_secret(b"[1]\n"),
    "right secret, not JSON": knows_the_secret(b"}\n"),
    "right secret, no rank": knows_the_secret(b"{}\n"),
    "right secret, rank of another kind": knows_the_secret(b'{"rank": true, "host": "h"}\n'),
    "right secret, rank too large": knows_the_secret(b'{"rank": 7, "host": "h"}\n'),
    "right secret, no host": knows_the_secret(b'{"rank": 1, "host": null}\n'),
}


def wait_in_thread(point, size):
    found = []

    def wait():
        try:
            found.append(ranks._wait_for_others(point, size))
        except TryAgain as error:
            found.append(error)

    threading.Thread(target=wait, daemon=True).start()
    assert eventually(point.exists)
    return found, json.loads(point.read_text())


@pytest.mark.parametrize("name", STRANGERS)
def test_ranks_meet_whatever_a_stranger_says_first(name, tmp_path, monkeypatch):
    monkeypatch.setattr(ranks, "_host_name", lambda: "127.0.0.1")
    found, note = wait_in_thread(tmp_path / "meet", 2)
    with socket.create_connection(("127.0.0.1", note["port"])) as stranger:

        def speak():
            with suppress(OSError):  # it was shown the door
                STRANGERS[name](stranger, note)

        threading.Thread(target=speak, daemon=True).start()
        other = ranks._connect_to_first(tmp_path / "meet", 1)
        assert eventually(lambda: found)
    assert found[0].hosts == other.hosts == ["127.0.0.1", "127.0.0.1"]
    found[0].send(work="now")
    other.listen(lambda why, code: None)
    assert other.receive(20.0) == {"work": "now", "rank": 0}


def test_a_stranger_is_not_kept_waiting_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_connections, "_HELLO_S", 0.2)
    monkeypatch.setattr(ranks, "_JOIN_S", 30)
    _, note = wait_in_thread(tmp_path / "meet", 2)
    with socket.create_connection(("127.0.0.1", note["port"]), timeout=20) as stranger:
        assert stranger.recv(1) == b""
    monkeypatch.setattr(ranks, "_host_name", lambda: "127.0.0.1")
    ranks._connect_to_first(tmp_path / "meet", 1)  # ends the thread


@pytest.mark.parametrize(
    "said", [b"", b"{}\n", b"1\n", b'{"answer": "guessed"}\n{"hosts": ["evil", "evil"], "port": 1}\n']
)
def test_a_rank_believes_no_stranger_at_the_first_address(said, tmp_path, monkeypatch):
    """A name of the first node may lead elsewhere from another node, for example to that node itself."""
    monkeypatch.setattr(ranks, "_host_name", lambda: "127.0.0.1")
    monkeypatch.setattr(ranks, "_ANSWER_S", 0.5)
    point, stop = tmp_path / "meet", threading.Event()
    found, note = wait_in_thread(point, 2)
    with socket.create_server(("127.0.0.1", 0)) as impostor:
        impostor.settimeout(20)
        connect = socket.create_connection

        def resolve(address, timeout):
            return connect(impostor.getsockname() if address[0] == "elsewhere" else address, timeout)

        monkeypatch.setattr(ranks.socket, "create_connection", resolve)

        def pretend():
            with impostor.accept()[0] as visitor:
                visitor.sendall(said)
                stop.wait(20)

        threading.Thread(target=pretend, daemon=True).start()
        point.write_text(json.dumps({**note, "addresses": ["elsewhere", "127.0.0.1"]}))
        assert ranks._connect_to_first(point, 1).head == "127.0.0.1"
        stop.set()


def test_a_rank_that_cannot_reach_the_first_one_says_where_and_why(tmp_path, monkeypatch):
    monkeypatch.setattr(ranks, "_REACH_S", 0.3)
    port = free_ports(1)[0]
    (tmp_path / "meet").write_text(json.dumps({"addresses": ["127.0.0.1"], "port": port, "secret": "", "answer": ""}))
    with pytest.raises(TryAgain, match=rf"cannot connect to port {port} of the first rank on 127.0.0.1 \(.*refused"):
        ranks._connect_to_first(tmp_path / "meet", 1)
    monkeypatch.setattr(ranks, "_JOIN_S", 0.3)
    with pytest.raises(TryAgain, match="did not appear on .* within 0.3 s: .*the file system is not shared"):
        ranks._connect_to_first(tmp_path / "lost", 1)


def test_missing_ranks_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(ranks, "_JOIN_S", 0.3)
    with pytest.raises(TryAgain, match=r"ranks \[1, 2\] did not connect within 0.3 s"):
        ranks._wait_for_others(tmp_path / "meet", 3)


@pytest.mark.parametrize(("path", "mode"), [("", 0o777), ("", 0o775), ("work.pkl", 0o666), ("work.pkl", 0o664)])
def test_work_that_others_could_replace_is_not_loaded(path, mode, tmp_path):
    folder = tmp_path / "submission"
    folder.mkdir(mode=0o755)
    cloudpickle_dump((len, 4), folder / "work.pkl")
    os.chmod(folder / "work.pkl", 0o600)
    assert worker._load_work(folder) == (len, 4)
    os.chmod(folder / path, mode)
    with pytest.raises(SdgError, match=f"can be changed by others.*mode {mode:o}.*chmod go-w"):
        worker._load_work(folder)
