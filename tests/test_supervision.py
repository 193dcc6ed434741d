"""Servers that die, fall silent or talk nonsense: watched, started anew, given up; with real processes that stand in
for SGLang (tests/helpers/sglang_standin). tests/sglang/ has the same with SGLang itself."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from sdg_helpers import files
from sdg_helpers.cluster import ranks
from sdg_helpers.cluster.exit_codes import TryAgain
from sdg_helpers.errors import SdgError
from sdg_helpers.serving.engines import open_server
from sdg_helpers.serving.server import Server, ask
from sdg_helpers.serving.server_specs import SglangSpec
from sdg_helpers.serving.sglang import supervision
from sdg_helpers.serving.sglang.proxy import Proxy
from tests.helpers.watching import ask_many, events, eventually, gone, watchdog

TESTS = Path(__file__).resolve().parent
# a rank of a job of two: argv MEETING_POINT RANK SPEC SERVERS_FOLDER
RANK = """
import json, os, sys
from pathlib import Path
from sdg_helpers.cluster import ranks
from sdg_helpers import serving
meeting, rank, spec, folder = sys.argv[1:]
with ranks.join(Path(meeting), int(rank), 2) as group:
    group.listen(lambda why, code: (print(why, flush=True), os._exit(code)))
    serving.follow(serving.parse_server_spec(json.loads(spec)), folder)
    print("followed to the end", flush=True)
    group.receive(60)
"""


@pytest.fixture(autouse=True)
def alone():
    ranks._group = None
    yield
    for servers, _ in list(supervision._open.values()):
        servers.stop()
    supervision._open.clear()
    ranks._group = None


@pytest.fixture
def faults(tmp_path):
    (tmp_path / "standin").mkdir()
    return tmp_path / "standin"


@pytest.fixture
def spec(faults):
    def make(**more):
        return SglangSpec(
            **{
                "engine": "sglang",
                "model": "org/model",
                "served_model_name": "adder",
                "python": sys.executable,
                "environment": {"STANDIN": str(faults), "PYTHONPATH": str(TESTS / "helpers" / "sglang_standin")},
                "canary_question": "7+8",
                "canary_expects": r"\{15\}",
                "start_deadline_s": 120,
                "check_every_s": 0.3,
                "max_misses": 2,
                "max_restarts": 2,
                **more,
            }
        )

    return make


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "servers"


def starts(faults):
    """(pid, node rank, port, meeting address) of every process that was started."""
    return [line.split() for line in (faults / "starts").read_text().splitlines()]


def answers(count):
    return {i: f"\\boxed{{{i + 1}}}" for i in range(count)}


def test_server_needs_its_key_and_stops_with_its_last_user(spec, folder, faults):
    first, second = open_server(spec(), folder), open_server(spec(), folder)
    assert len(starts(faults)) == 1 and first.base_url == second.base_url
    assert ask(first, "20+3") == "\\boxed{23}"
    with pytest.raises(SdgError, match="401"):
        ask(Server(first.base_url, "adder", "endpoint", "guess"), "1+1")
    process = psutil.Process(int(starts(faults)[0][0]))
    assert first.api_key in first.log_path.read_text() and first.log_path.stat().st_mode & 0o777 == 0o600
    (key_file,) = folder.glob(".*.key.yaml")
    assert key_file.stat().st_mode & 0o777 == 0o600
    shown = [repr(first), *process.cmdline(), *process.parent().cmdline(), *process.environ().values()]
    assert not any(first.api_key in text for text in shown)
    assert [one.laddr.ip for one in process.net_connections() if one.status == "LISTEN"] == ["127.0.0.1"]
    first.stop()
    assert ask(second, "2+3") == "\\boxed{5}"
    second.stop()
    assert gone(process.pid) and not key_file.exists() and events(folder) == ["start", "up"]
    with pytest.raises(SdgError, match="ConnectionError"):
        ask(second, "1+1")


def test_key_never_looks_like_an_option(spec, folder):
    """SGLang puts its file's words on the command line: one key in 64 began with a "-", and it did not start."""
    jobs = (supervision.JobNodes(spec(), folder, ranks.current()) for _ in range(1000))
    assert all(len(nodes.key) >= 32 and nodes.key.isalnum() for nodes in jobs)


def test_killed_server_is_restarted_and_every_request_answered_once(spec, folder, faults):
    (faults / "slow").write_text("0.05")
    server = open_server(spec(), folder)
    found = ask_many(server, 200, act=lambda: os.kill(int(starts(faults)[-1][0]), signal.SIGKILL))
    assert found == answers(200) and len(starts(faults)) == 2
    assert events(folder) == ["start", "up", "down", "start", "up"]


@pytest.mark.slow
def test_long_restart_does_not_use_up_attempts(spec, folder, faults):
    (faults / "slow").write_text("0.05")
    server = open_server(spec(), folder)

    def kill():
        (faults / "load").write_text("13")  # longer than all attempts of a request together
        os.kill(int(starts(faults)[-1][0]), signal.SIGKILL)

    assert ask_many(server, 60, act=kill, max_retries=4) == answers(60)


def test_silent_server_is_restarted(spec, folder, faults):
    (faults / "slow").write_text("0.05")
    server = open_server(spec(), folder)

    def speak_when_noticed():
        eventually(lambda: "down" in events(folder))
        (faults / "silent").unlink()

    def silence():
        (faults / "silent").write_text("1")
        threading.Thread(target=speak_when_noticed).start()

    assert ask_many(server, 60, act=silence) == answers(60)
    assert events(folder)[:3] == ["start", "up", "down"] and events(folder)[-1] == "up"
    told = [row["why"] for path in folder.glob("*-events.jsonl") for row in files.read_jsonl(path) if "why" in row]
    assert (
        "generated no token in 2 checks, 0.3 s apart. The end of its log" in told[0] and server.api_key not in told[0]
    )


def test_a_busy_server_is_not_restarted(spec, folder, faults):
    server = open_server(spec(), folder)
    (faults / "slow").write_text("2")  # every reply, a probe's too, takes longer than all checks together
    assert ask_many(server, 8) == answers(8)
    assert len(starts(faults)) == 1


def test_an_idle_server_is_not_restarted(spec, folder, faults):
    open_server(spec(check_every_s=0.05), folder)
    time.sleep(2)
    assert len(starts(faults)) == 1


def test_server_that_answers_nonsense_is_restarted_before_use(spec, folder, faults):
    (faults / "garble").write_text("1")
    server = open_server(spec(), folder)
    assert ask(server, "2+2") == "\\boxed{4}" and len(starts(faults)) == 2
    (faults / "garble").write_text("3")  # the next start talks nonsense, the one after it is right
    (faults / "slow").write_text("0.05")
    found = ask_many(server, 60, act=lambda: os.kill(int(starts(faults)[-1][0]), signal.SIGKILL))
    assert found == answers(60) and len(starts(faults)) == 4
    assert events(folder).count("did not come up") == 2


def test_server_that_keeps_answering_nonsense_fails(spec, folder, faults):
    (faults / "garble").write_text("1 2 3")
    with pytest.raises(
        TryAgain, match=r"up but generates garbage: the answer to '7\+8' must match /.*but ends with 'la la la'"
    ):
        open_server(spec(), folder)
    assert len(starts(faults)) == 2 and all(gone(pid) for pid, *_ in starts(faults))


def test_server_that_cannot_restart_fails_the_run_at_once(spec, folder, faults):
    (faults / "slow").write_text("0.05")
    server = open_server(spec(), folder)

    def kill_for_ever():
        (faults / "die-at-start").write_text("1")
        os.kill(int(starts(faults)[-1][0]), signal.SIGKILL)

    said = r"not start: server0 of rank 0 .* exited with status 1(.|\n)*dies at the start"
    with watchdog(120), pytest.raises(TryAgain, match=said):
        ask_many(server, 10_000, act=kill_for_ever, outage_deadline_s=600)
    assert events(folder)[-1] == "given up"
    assert len(starts(faults)) == 3
    (faults / "die-at-start").unlink()
    assert ask(open_server(spec(), folder), "1+1") == "\\boxed{2}"  # asked for again, it is begun afresh


def test_restarts_are_limited(spec, folder, faults):
    (faults / "slow").write_text("0.05")
    server, killed = open_server(spec(max_restarts=1), folder), set()

    def kill_again(found):
        pid = int(starts(faults)[-1][0])
        if len(found) > 30 * len(killed) and pid not in killed:
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(TryAgain, match=r"went down again after 1 restarts: server0 of rank 0 .* status 137"):
        ask_many(server, 10_000, each=kill_again)
    assert len(starts(faults)) == 2


def test_error_in_supervision_fails_the_run(spec, folder, faults, monkeypatch):
    (faults / "slow").write_text("0.05")
    server = open_server(spec(), folder)
    monkeypatch.setattr("sdg_helpers.serving.sglang.health.count_tokens", lambda address: 1 / 0)
    with pytest.raises(TryAgain, match="The supervision of SGLang failed: ZeroDivisionError: division by zero"):
        ask_many(server, 10_000)
    assert events(folder)[-1] == "given up"


@pytest.mark.parametrize(
    ("fault", "more", "error", "said", "count"),
    [
        (
            ("die-at-start", "2"),
            {},
            SdgError,
            r"status 2. The end of its log, .*rank0-server0.log:(.|\n)*key \*\*\*",
            1,
        ),
        (("die-at-start", "7"), {}, TryAgain, r"status 7(.|\n)*the stand-in dies at the start(.|\n)*run again", 2),
        (("load", "60"), {"start_deadline_s": 1.5}, TryAgain, r"still loading after 1\.5 s", 1),
        (
            ("slow", "0"),
            {"extra_args": ["--no-such"]},
            SdgError,
            r"status 2(.|\n)*unrecognized arguments: --no-such",
            1,
        ),
    ],
)
def test_a_server_that_never_comes_up(spec, folder, faults, fault, more, error, said, count):
    (faults / fault[0]).write_text(fault[1])
    with pytest.raises(error, match=said) as raised:
        open_server(spec(**more), folder)
    assert type(raised.value) is error
    log = next(folder.glob("*-server0.log")).read_text()
    assert log.count("the stand-in begins") == (count if "extra_args" not in more else 0)
    assert events(folder).count("start") == count


def test_a_copy_that_dies_is_restarted_alone(spec, folder, faults):
    server = open_server(spec(num_servers=2), folder)
    first, second = starts(faults)
    assert first[2] != second[2] and len(server.others) == 1 and server.base_url != server.others[0].base_url
    (faults / "slow").write_text("0.05")

    def kill():
        (faults / "load").write_text("3")  # the other copy answers meanwhile
        os.kill(int(first[0]), signal.SIGKILL)

    assert ask_many(server, 200, act=kill) == answers(200)
    assert eventually(lambda: events(folder).count("up") == 3) and len(starts(faults)) == 3
    assert not gone(second[0]) and gone(first[0])
    told = [(row["event"], row["server"]) for path in folder.glob("*-events.jsonl") for row in files.read_jsonl(path)]
    dead = next(number for event, number in told if event == "down")
    assert [number for event, number in told if event == "start"].count(dead) == 2
    assert sorted(told[:2]) == [("start", 0), ("start", 1)] and told[-3:] == [
        (e, dead) for e in ("down", "start", "up")
    ]
    assert {one.log_path.name.rpartition("-")[2] for one in (server, *server.others)} == {"server0.log", "server1.log"}
    server.stop()
    assert all(gone(row[0]) for row in starts(faults))


def test_a_copy_that_cannot_start_stops_the_others(spec, folder, faults):
    (faults / "garble").write_text("1 3")  # one of the two copies, at its first start and at its second
    with pytest.raises(TryAgain, match="up but generates garbage"), watchdog(120):
        open_server(spec(num_servers=2), folder)
    assert all(gone(row[0]) for row in starts(faults))


def test_server_dies_with_its_killed_owner(spec, folder, faults):
    code = (
        "import sys, json, time; from sdg_helpers.serving import *; "
        "open_server(parse_server_spec(json.loads(sys.argv[1])), sys.argv[2]); print('up', flush=True); time.sleep(60)"
    )
    given = json.dumps(spec().model_dump(exclude_unset=True))
    owner = subprocess.Popen(
        [sys.executable, "-c", code, given, str(folder)], stdout=subprocess.PIPE, text=True, cwd=TESTS.parent
    )
    assert owner.stdout.readline() == "up\n"
    pid = starts(faults)[0][0]
    owner.kill()
    assert eventually(lambda: gone(pid))
    owner.communicate()


# Two nodes: this process is the first rank, another one the second.
@pytest.fixture
def follower(spec, folder, tmp_path):
    given = spec(tp_size=2)
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            RANK,
            str(tmp_path / "meet"),
            "1",
            json.dumps(given.model_dump(exclude_unset=True)),
            str(folder),
        ],
        cwd=TESTS.parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    with ranks.join(tmp_path / "meet", 0, 2) as group:
        ended = []
        group.listen(lambda why, code: ended.append(why))
        yield given, process, ended
        group.end(0)
    process.kill()
    process.communicate()


def test_two_nodes_start_and_stop_together(follower, folder, faults):
    given, process, ended = follower
    server = open_server(given, folder)
    assert ask(server, "3+4") == "\\boxed{7}"
    (first, second) = sorted(starts(faults), key=lambda row: row[1])
    assert first[1] == "0" and second[1] == "1" and first[3] == second[3] and first[2] != second[2]
    logs = sorted(path.name.rpartition("-rank")[2] for path in folder.glob("*.log"))
    assert logs == ["0-server0.log", "1-server0.log"]
    server.stop()
    assert process.stdout.readline() == "followed to the end\n"
    assert eventually(lambda: gone(second[0])) and gone(first[0]) and not ended


def start_of_other_node(faults):
    """Return how the other node's server was started. It may note that after ours answers."""
    assert eventually(lambda: any(row[1] == "1" for row in starts(faults)))
    return next(row for row in starts(faults) if row[1] == "1")


def test_death_on_another_node_restarts_all_parts(follower, folder, faults):
    given, _, _ = follower
    (faults / "slow").write_text("0.05")
    server = open_server(given, folder)
    there = start_of_other_node(faults)
    old = starts(faults)
    assert ask_many(server, 60, act=lambda: os.kill(int(there[0]), signal.SIGKILL)) == answers(60)
    # the other node may answer everything before the death is noticed
    assert eventually(lambda: len(starts(faults)) == 4) and all(gone(row[0]) for row in old)
    assert starts(faults)[2][3] != old[0][3]  # they meet at another port
    told = [row["why"] for path in folder.glob("*-events.jsonl") for row in files.read_jsonl(path) if "why" in row]
    assert "server0 of rank 1 on" in told[0] and "exited with status 137" in told[0]


def test_lost_node_is_reported_and_its_server_stopped(follower, folder, faults):
    given, process, ended = follower
    open_server(given, folder)
    there = start_of_other_node(faults)
    process.kill()
    assert eventually(lambda: ended and gone(there[0]))
    assert "rank 1 on" in ended[0] and "is gone" in ended[0]


def test_a_multi_node_job_runs_one_server_at_a_time(follower, folder, spec):
    given, _, _ = follower
    open_server(given, folder)
    with pytest.raises(SdgError, match="one server at a time"):
        open_server(spec(tp_size=4), folder)


def test_other_ranks_follow(spec, folder):
    ranks._group = ranks.Group(1, ["a", "b"], "a", 1, {})
    with pytest.raises(SdgError, match=r"rank 1: open_server is for the first rank"):
        open_server(spec(), folder)


# The proxy.
def connect(port):
    one = socket.create_connection(("127.0.0.1", port), timeout=60)
    one.settimeout(60)
    return one


def test_proxy_keeps_its_address_while_closed_and_open():
    proxy = Proxy()
    with socket.create_server(("127.0.0.1", 0)) as behind:
        with pytest.raises(ConnectionRefusedError):
            connect(proxy.port)
        for _ in range(3):
            proxy.open(f"http://127.0.0.1:{behind.getsockname()[1]}")
            client = connect(proxy.port)
            server, _ = behind.accept()
            big = os.urandom(3_000_000)
            threading.Thread(target=server.sendall, args=(big,)).start()
            client.sendall(b"hello")
            assert server.recv(9) == b"hello"
            got = b""
            while len(got) < len(big):
                got += client.recv(1 << 20)
            assert got == big
            proxy.close()
            with pytest.raises(ConnectionRefusedError):
                connect(proxy.port)
            assert client.recv(1) == b""  # at once, not when the server ends it
            client.close()
            server.close()
        proxy.stop()
        proxy.stop()


def test_open_proxy_without_a_server_drops_connections():
    proxy = Proxy()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        proxy.open(f"http://127.0.0.1:{nobody.getsockname()[1]}")
        with connect(proxy.port) as client:
            assert client.recv(1) == b""
    proxy.stop()
