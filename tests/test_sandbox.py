"""The sandbox against hostile programs, and the stage that runs programs on their tests."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pandas as pd
import psutil
import pytest

from sdg_helpers import files
from sdg_helpers.coding import checks, memory_groups, sandbox, sandbox_start
from sdg_helpers.coding.checks import check_programs
from sdg_helpers.coding.filtering import filter_solutions
from sdg_helpers.coding.keyrings import start_without_keys
from sdg_helpers.coding.program_tests import REASONS, run_tests
from sdg_helpers.coding.sandbox import open_sandbox
from sdg_helpers.coding.sandboxed_process import RunLimits
from sdg_helpers.coding.syscalls import call_number, denied_calls
from sdg_helpers.errors import SdgError
from sdg_helpers.judging import pass_rates
from tests.helpers.clone import ROOT
from tests.helpers.programs import BWRAP, answer, full_row, needs_sandbox, write_solutions
from tests.helpers.stages import stage_at
from tests.helpers.watching import eventually, watchdog

OURS = open_sandbox() if BWRAP else None
SECOND = RunLimits(seconds=1, memory_mb=256, processes=16, files_mb=8, output_mb=1)
SHORT = replace(SECOND, seconds=0.25)

# name: (program, allowed reasons; "": it ends by itself and does no harm)
HOSTILE = {
    "fork bomb": ("import os\nwhile True:\n    os.fork()", "process_limit"),
    "patient fork bomb": (
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
        "time_limit",
    ),
    "thread bomb": (
        "import threading as t, time\nwhile True:\n    t.Thread(target=time.sleep, args=(9,), daemon=True).start()",
        "process_limit|memory_limit",
    ),
    "10 GB": ("b = bytearray(10 << 30)", "memory_limit"),
    "memory of many": (
        "import os, time\nfor _ in range(8):\n    if not os.fork():\n        b = bytearray(150 << 20)\n"
        "        time.sleep(9)\ntime.sleep(9)",
        "memory_limit",
    ),
    "endless loop": ("while True:\n    pass", "time_limit"),
    "loop that ignores signals": (
        "import signal\nfor n in range(1, 65):\n    try:\n        signal.signal(n, signal.SIG_IGN)\n"
        "    except (OSError, ValueError):\n        pass\nwhile True:\n    pass",
        "time_limit",
    ),
    "sleep": ("import time\ntime.sleep(99)", "time_limit"),
    "loop with closed outputs": ("import os\nos.close(1)\nos.close(2)\nwhile True:\n    pass", "time_limit"),
    "endless output": ("while True:\n    print('x' * 1000)", "output_limit"),
    "endless errors": ("import sys\nwhile True:\n    print('x' * 1000, file=sys.stderr)", "output_limit"),
    "large file": ("f = open('/work/f', 'wb')\nwhile True:\n    f.write(bytes(1 << 16))", "output_limit"),
    "many files": ("for n in range(99):\n    open(f'/work/{n}', 'wb').write(bytes(1 << 20))", "output_limit"),
    "reads the home folder": (f"import os\nprint(os.listdir({str(Path.home())!r}))", "crashed"),
    "reads the users": ("print(open('/etc/passwd').read())", "crashed"),
    "reads the environment": ("import os\nprint(os.environ['SECRET_OF_OURS'])", "crashed"),
    "reads its parent": ("print(open('/proc/1/environ').read().index('SECRET_OF_OURS'))", "crashed"),
    "writes outside": ("open('/usr/here', 'w')", "crashed"),
    "writes into its program": ("open('/program/main.py', 'w')", "crashed"),
    "writes into devices": ("open('/dev/shm/here', 'w')", "crashed"),
    "mounts": (
        "import ctypes\nc = ctypes.CDLL(None)\n"
        "assert c.mount(b'none', b'/work', b'tmpfs', 0, None) == 0 or c.unshare(0x10000000) == 0",
        "crashed",
    ),
    "opens a socket": ("import socket\nsocket.create_connection(('127.0.0.1', int(input())), 2)", "crashed"),
    "asks a name server": ("import socket\nsocket.getaddrinfo('example.org', 80)", "crashed"),
    "kills its parent": ("import os\nos.kill(os.getppid(), 9)\nos.kill(1, 9)\nprint('alive')", "crashed"),
    "kills everybody": ("import os\nos.kill(-1, 9)", "crashed"),
    "kills us": ("import os\nos.kill(int(input().split()[-1]), 9)", "crashed"),
    "traces its parent": ("import ctypes, os\nctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0)", "time_limit|crashed|"),
    "shared segments": (
        "import ctypes, os, time\nc = ctypes.CDLL(None)\nc.shmat.restype = ctypes.c_void_p\nfor _ in range(40):\n"
        "    a = c.shmat(c.shmget(0, 32 << 20, 0o1600), None, 0)\n    ctypes.memset(a, 1, 32 << 20)\n"
        "    c.shmdt(ctypes.c_void_p(a))\ntime.sleep(9)",
        "crashed",
    ),
    "memory files": ("import os\nos.write(os.memfd_create('m'), bytes(1 << 20))", "crashed"),
    "empty files": ("for n in range(10**8):\n    open(f'/work/{n}', 'w').close()", "output_limit|memory_limit"),
    "full sockets": (
        "import os, socket, time\nfor _ in range(4):\n    os.fork()\nkept = []\nfor _ in range(30):\n"
        "    a, b = socket.socketpair()\n    kept.append((a, b))\n    a.setblocking(False)\n    b.setblocking(False)\n"
        "    try:\n        while True:\n            a.send(bytes(65536)) + b.send(bytes(65536))\n"
        "    except BlockingIOError:\n        pass\ntime.sleep(9)",
        "time_limit|memory_limit|process_limit",
    ),
    "larger sockets": (
        "import socket\na, b = socket.socketpair()\na.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 26)",
        "crashed",
    ),
    "larger pipes": ("import fcntl, os\nfcntl.fcntl(os.pipe()[0], 1031, 1 << 20)", "crashed"),
    "virtual machine sockets": ("import socket\nsocket.socket(40, socket.SOCK_STREAM)", "crashed"),
    "sockets of the kernel": ("import socket\nsocket.socket(16, socket.SOCK_RAW)", "crashed"),
    "leaves a child behind": (
        "import os, time\nif not os.fork():\n    os.setsid()\n    if not os.fork():\n        time.sleep(99)",
        "",
    ),
    "becomes root": ("import os\nos.setuid(0)", "crashed"),
}


@pytest.fixture
def folder():
    """A world-readable folder: under root, programs run as nobody, who cannot read pytest's folders."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        yield Path(path)


def machine(folder):
    """Return what a program of this folder may have left: processes of its sandbox, and files outside it."""
    left = [
        one.info["name"]
        for one in psutil.process_iter(["name", "cmdline"])
        if one.info["name"] == "bwrap"
        and str(folder) in (one.info["cmdline"] or ())
        and one.is_running()
        and one.status() != psutil.STATUS_ZOMBIE
    ]
    return left, Path("/usr/here").exists(), Path("/dev/shm/here").exists()


@needs_sandbox
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_program_ends_within_its_limit_with_its_reason(name, folder, monkeypatch):
    program, reasons = HOSTILE[name]
    monkeypatch.setenv("SECRET_OF_OURS", "1234")
    (folder / "main.py").write_text(program)
    before = psutil.virtual_memory().available
    with socket.create_server(("127.0.0.1", 0)) as server:
        given = f"{server.getsockname()[1]}\n" if name == "opens a socket" else f"1 {os.getpid()}\n"
        with watchdog():
            outcome = OURS.run([OURS.python, "-I", "/program/main.py"], folder, SHORT, given.encode())
    assert outcome.reason in reasons.split("|"), outcome
    assert len(outcome.stdout) < 2 << 20 and len(outcome.stderr) < 1 << 16
    assert machine(folder) == ([], False, False)
    assert (folder / "main.py").read_text() == program and [path.name for path in folder.iterdir()] == ["main.py"]
    assert psutil.virtual_memory().available > before - (2 << 30)


KEYS = """\
import ctypes, sys
call, name = ctypes.CDLL(None).syscall, sys.stdin.read().encode()
found = call(int(sys.argv[2]), b"user", name, None, 0)
added = call(int(sys.argv[1]), b"user", b"left-" + name, b"by a program", 12, -3)
print(found, added)
"""


@needs_sandbox
def test_a_program_neither_finds_our_keys_nor_leaves_any(folder):
    """Keys are found through the session keyring, which a child inherits and namespaces do not separate."""
    calls, name = denied_calls(), f"of-{os.getpid()}"
    call = ctypes.CDLL(None, use_errno=True).syscall
    if call(calls["add_key"], b"user", name.encode(), b"SECRET", 6, -3) < 0:
        pytest.skip(f"this machine lets nobody add keys (errno {ctypes.get_errno()})")
    (folder / "main.py").write_text(KEYS)
    numbers = [str(calls["add_key"]), str(calls["request_key"])]
    for _ in range(2):
        outcome = OURS.run([OURS.python, "-I", "/program/main.py", *numbers], folder, SECOND, name.encode())
        assert outcome.stdout == b"-1 -1\n", outcome
    assert call(calls["request_key"], b"user", f"left-{name}".encode(), None, 0) == -1


@needs_sandbox
def test_a_sandbox_is_started_without_our_session_keyring():
    keyctl = call_number("keyctl")

    def keyring():
        return ctypes.CDLL(None).syscall(keyctl, 0, -3, 0)  # KEYCTL_GET_KEYRING_ID of the session

    assert start_without_keys(keyring) != keyring() or keyring() == -1


@needs_sandbox
def test_useful_system_calls_still_work(folder):
    (folder / "main.py").write_text(
        "import asyncio, multiprocessing, subprocess, tempfile, threading\n"
        "asyncio.run(asyncio.sleep(0))\na, b = multiprocessing.Pipe()\na.send(1)\nassert b.recv() == 1\n"
        "assert subprocess.run(['echo', 'x'], capture_output=True).stdout == b'x\\n'\n"
        "with tempfile.TemporaryFile() as file:\n    file.write(b'x')\n"
        "thread = threading.Thread(target=print, args=('fine',))\nthread.start()\nthread.join()"
    )
    outcome = OURS.run([OURS.python, "-I", "/program/main.py"], folder, RunLimits())
    assert (outcome.reason, outcome.stdout) == ("", b"fine\n"), outcome


def test_without_libseccomp_no_program_is_run(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    with pytest.raises(SdgError, match="libseccomp cannot be loaded .*apt-get install libseccomp2.*CHECK no"):
        denied_calls()


@needs_sandbox
def test_memory_groups_are_removed_and_count_all_memory(folder):
    """A program whose memory no process owns: files in /work and in the page tables count in its group."""
    with memory_groups.memory_group(64 << 20) as group:
        if group is None:
            pytest.skip("control groups for memory cannot be created here")
        before = set(group._folder.parent.glob(f"sdg-sandbox-{os.getpid()}-*"))
        assert group._folder in before and not group.exceeded()
        hungry = "import sys; sys.stdin.read(); b = bytearray(200 << 20)"
        with subprocess.Popen([sys.executable, "-c", hungry], stdin=subprocess.PIPE) as process:
            group.add(process.pid)
            process.communicate(b"")
        assert process.returncode == -signal.SIGKILL and group.exceeded()
    assert not group._folder.exists()


@needs_sandbox
def test_a_failure_to_start_is_no_verdict_on_the_program(tmp_path):
    with pytest.raises(SdgError, match="bubblewrap could not start a program in .*Can't find source path"):
        OURS.run([OURS.python, "-c", "print(1)"], tmp_path / "nowhere", SHORT)
    with pytest.raises(SdgError, match="a one-line program does not run within .*memory_mb=1"):
        OURS.check_limits(replace(SHORT, memory_mb=1))
    fds = OURS.run([OURS.python, "-c", "import os\nprint(len(os.listdir('/proc/self/fd')))"], Path("/usr/share"), SHORT)
    assert fds.stdout == b"4\n"  # its own three and the directory listing, none of ours


@needs_sandbox
def test_input_and_output_larger_than_a_pipe(folder):
    (folder / "main.py").write_text("import sys\nsys.stdout.write(sys.stdin.read().upper())")
    data = b"abc\n" * 200_000
    outcome = OURS.run([OURS.python, "-I", "/program/main.py"], folder, RunLimits(), data)
    assert (outcome.reason, outcome.stdout) == ("", data.upper())
    (folder / "main.py").write_text("print('not read')")
    assert OURS.run([OURS.python, "-I", "/program/main.py"], folder, RunLimits(), data).stdout == b"not read\n"


@needs_sandbox
def test_debugging_output_does_not_count_as_output(folder):
    megabytes = SHORT.output_mb
    (folder / "main.py").write_text(
        f"import sys\nfor out in (sys.stdout, sys.stderr):\n    out.write('x' * (3 * {megabytes} << 18))"
    )
    outcome = OURS.run([OURS.python, "-I", "/program/main.py"], folder, SHORT)
    assert (outcome.reason, len(outcome.stdout)) == ("", 3 * megabytes << 18)


@needs_sandbox
def test_an_abandoned_sandbox_ends_by_itself(folder):
    (folder / "main.py").write_text("import signal, time\nsignal.signal(15, signal.SIG_IGN)\ntime.sleep(60)")
    command = OURS._command([OURS.python, "/program/main.py"], folder, RunLimits(seconds=0.5), False, ())
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, **sandbox_start._drop_root()) as process:
        assert process.wait(30) == 137


def is_running(process):
    """Whether the sandboxed program itself is running."""
    for one in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            if one.cmdline() == [OURS.python, "/program/main.py"]:
                return True
    return False


@needs_sandbox
@pytest.mark.parametrize(("moment", "seconds"), [("running", 600), ("starting", 3)])
def test_no_process_survives_when_ours_is_killed(moment, seconds, folder):
    """A sandbox that had not yet asked to die with us ends at its own limit."""
    (folder / "main.py").write_text("import time\ntime.sleep(600)")
    code = (
        "import sys\nfrom pathlib import Path\nfrom sdg_helpers.coding.sandbox import open_sandbox\n"
        "from sdg_helpers.coding.sandboxed_process import RunLimits\n"
        "ours = open_sandbox()\nprint('ready', flush=True)\n"
        f"ours.run([ours.python, '/program/main.py'], Path(sys.argv[1]), RunLimits(seconds={seconds}))"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=ROOT, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert eventually(lambda: is_running(process) if moment == "running" else machine(folder)[0])
        process.send_signal(signal.SIGKILL)
    assert eventually(lambda: machine(folder)[0] == [])


STD = "#include <bits/stdc++.h>\nusing namespace std;\n"
PROGRAMS = [
    ("python", "print(int(input()) + 1)", "tests", 3),
    ("python", "print(input())", "wrong_output", 0),
    ("python", "n = int(input())\nprint(n + 1 if n < 5 else n)", "wrong_output", 2),
    ("python", "print(1 // (int(input()) - 2))", "crashed", 0),
    ("python", "n = input()\nprint(int(n) + 1 / (n != '3'))", "crashed", 2),
    ("python", "raise ValueError(input())", "crashed", 0),
    ("python", "n = int(input())\nwhile n:\n    pass\nprint(n + 1)", "time_limit", 0),
    ("python", "import no_such_library\nprint(input())", "missing_module", 0),
    (
        "cpp",
        "#include <iostream>\nint main() { long long n; std::cin >> n; std::cout << n + 1 << std::endl; }",
        "tests",
        3,
    ),
    ("cpp", "#include <iostream>\nint main() { int n; std::cin >> n; std::cout << m; }", "compile_error", 0),
    (
        "cpp",
        "#include <vector>\n#include <iostream>\nint main() { std::vector<char> v; long n; std::cin >> n;\n"
        "  for (;;) v.resize(v.size() + (1 << 24), 1); }",
        "memory_limit",
        0,
    ),
    (
        "cpp",
        "#include <iostream>\nint f(int n) { volatile int a[99]; a[n % 99] = n;\n"
        "  return n ? f(n - 1) + a[n % 99] : 0; }\nint main() { int n; std::cin >> n;\n"
        "  volatile int x = f(99999); std::cout << n + 1 + 0 * x; }",
        "tests",
        3,
    ),
    ("cpp", '#include "/dev/zero"\nint main() { }', "compile_error", 0),
    # compiled as contest judges do
    (
        "cpp",
        STD + 'int main() {\n#ifndef ONLINE_JUDGE\n  freopen("in.txt", "r", stdin);\n#endif\n'
        "  long long n; cin >> n; cout << n + 1; }",
        "tests",
        3,
    ),
    ("cpp", STD + "int main() { long long n; cin >> n; typeof(n) m = 1; cout << n + m; }", "tests", 3),
    ("cpp", STD + "int main() { long long n; cin >> n; __int128 x = -n; cout << (long long) abs(x) + 1; }", "tests", 3),
    # valid up to C++14 only
    (
        "cpp",
        STD + "typedef unsigned char byte;\nint data[100], size;\n"
        "int main() { long long n; cin >> n; byte b = 1; data[size++] = b; cout << n + data[0]; }",
        "tests",
        3,
    ),
]


@needs_sandbox
@pytest.mark.parametrize("language, program, reason, passed", PROGRAMS)
def test_a_program_is_run_on_every_test(language, program, reason, passed):
    if language == "cpp" and OURS.compiler is None:
        pytest.skip("no g++ on this machine")
    tests = [{"input": f"{n}\n", "output": f"{n + 1}\n"} for n in (2, 3, 2_000_000_000)]
    report = run_tests(OURS, program, language, tests, SECOND)
    assert (report.reason, report.passed, report.tests) == (reason, passed, 3), report
    assert bool(report.detail) == (reason != "tests")


# -- the stage ---------------------------------------------------------------------------------------------------------


def python(program):
    return answer(("python", program + "\n"))


@pytest.fixture
def stages(tmp_path):
    """(solutions, filtered verdicts, questions folder): 3 problems, 3 seeds; the third has no tests."""
    (tmp_path / "questions").mkdir()
    keys = ("id", "problem", "expected_answer", "question_id", "language")
    problems = [{key: full_row(name, 0, "")[key] for key in keys} for name in "abc"]
    (tmp_path / "questions" / "problems.jsonl").write_bytes(b"".join(map(files.dumps, problems)))
    tests = [{"id": name, "tests": [{"input": "2", "output": "3"}, {"input": "5", "output": "6"}]} for name in "ab"]
    (tmp_path / "questions" / "tests.jsonl").write_bytes(b"".join(map(files.dumps, tests)))
    right, wrong = python("print(int(input()) + 1)"), python("print(input())")
    seeds = [
        [full_row("a", 0, right), full_row("b", 0, wrong), full_row("c", 0, wrong)],
        [full_row("a", 1, right), full_row("b", 1, right), full_row("c", 1, python("print(7)"))],
        [
            full_row("a", 2, python("print(int(input()) + 1 if 1 else 0)")),
            full_row("b", 2, wrong),
            full_row("c", 2, python("import no_such\nprint(input())")),
        ],
    ]
    solutions = write_solutions(tmp_path / "solutions", seeds)
    filter_solutions(stage_at(solutions), stage_at(tmp_path / "filtered"))
    return stage_at(solutions), tmp_path / "filtered" / "verdicts.parquet", tmp_path / "questions"


def verdicts(folder):
    table = pd.read_parquet(folder / "verdicts.parquet")
    return list(zip(table["id"].str[0], table["seed"], table["correct"], table["how"], strict=True))


@needs_sandbox
def test_each_program_is_run_once_and_its_verdict_reaches_every_row(stages, tmp_path, monkeypatch):
    manifest = check_programs(*stages, stage_at(tmp_path / "checked"), check="yes", limits=SECOND)
    assert manifest["counts"] == {"rows_in": 9, "rows_out": 9, "dropped": {}}
    assert verdicts(tmp_path / "checked") == [
        ("a", 0, True, "tests"),
        ("b", 0, False, "wrong_output"),
        ("c", 0, True, "filter"),
        ("a", 1, True, "tests"),
        ("b", 1, True, "tests"),
        ("c", 1, False, "reads_no_input"),
        ("a", 2, True, "tests"),
        ("b", 2, False, "wrong_output"),
        ("c", 2, True, "filter"),
    ]
    log = list(files.read_jsonl(tmp_path / "checked" / "checks.jsonl"))
    assert len(log) == manifest["programs_run"] == 4  # one report per distinct program of a problem
    assert manifest["sandbox"]["used"] and manifest["rows_by_how"] == {
        "tests": 4,
        "wrong_output": 2,
        "filter": 2,
        "reads_no_input": 1,
    }
    rates = pd.read_parquet(tmp_path / "checked" / "pass_rates.parquet")
    assert rates["solutions"].tolist() == [3, 3, 3] and rates["programs"].tolist() == [3, 3, 2]
    assert rates["right"].tolist() == [3, 1, 2] and rates["pass_rate"].round(3).tolist() == [1.0, 0.333, 0.667]
    assert pass_rates.read(tmp_path / "checked" / "pass_rates.parquet")["a-python"] == (1.0, 3)
    monkeypatch.setattr(checks, "run_tests", None)
    assert check_programs(*stages, stage_at(tmp_path / "checked"), check="yes", limits=SECOND) == manifest


@needs_sandbox
def test_a_killed_check_resumes_where_it_stopped(stages, tmp_path, monkeypatch):
    ran, lock, real = [], threading.Lock(), checks.run_tests

    def dies_at_the_third(ours, program, *more):
        with lock:
            ran.append(program)
            if len(ran) == 3:
                raise KeyboardInterrupt
        return real(ours, program, *more)

    monkeypatch.setattr(checks, "run_tests", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        check_programs(*stages, stage_at(tmp_path / "checked"), limits=SECOND, workers=1)
    known = len(list(files.read_jsonl(tmp_path / "checked" / "checks.jsonl")))
    with open(tmp_path / "checked" / "checks.jsonl", "ab") as log:
        log.write(b'{"id": "torn')
    manifest = check_programs(*stages, stage_at(tmp_path / "checked"), limits=SECOND, workers=1)
    assert 0 < known < 3 and manifest["programs_run"] == 4 and len(ran) == 3 + 4 - known
    check_programs(*stages, stage_at(tmp_path / "undisturbed"), limits=SECOND)
    assert verdicts(tmp_path / "checked") == verdicts(tmp_path / "undisturbed")


def test_without_a_sandbox_no_program_is_run(stages, tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "run_tests", None)  # would raise if it were called
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None if name == "bwrap" else f"/usr/bin/{name}")
    with pytest.raises(SdgError, match="sandbox: bwrap not found on this machine. .* Install bubblewrap"):
        check_programs(*stages, stage_at(tmp_path / "checked"), check="yes")
    manifest = check_programs(*stages, stage_at(tmp_path / "auto"), check="auto")
    assert manifest["programs_run"] == 0 and "bwrap not found" in manifest["sandbox"]["why_not"]
    assert manifest["rows_by_how"] == {"filter": 8, "reads_no_input": 1}
    assert check_programs(*stages, stage_at(tmp_path / "no"), check="no")["sandbox"]["why_not"] == "not asked for"
    assert verdicts(tmp_path / "auto") == verdicts(tmp_path / "no")


@needs_sandbox
def test_a_bubblewrap_that_does_not_isolate_is_rejected(folder, monkeypatch):
    """A fake bwrap that only runs its command, as someone might install in a container without namespaces."""
    fake = folder / "bwrap"
    fake.write_text('#!/bin/bash\necho exit-code >&"$2"\nwhile [ "$1" != "--" ]; do shift; done\nshift\nexec "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: str(fake) if name == "bwrap" else f"/usr/bin/{name}")
    with pytest.raises(SdgError, match="bubblewrap does not isolate programs on this machine .failed: no_files"):
        open_sandbox()


def test_unknown_checks_and_bad_limits_are_rejected(stages, tmp_path):
    with pytest.raises(SdgError, match="must be one of auto, yes, no, found 'on'"):
        check_programs(*stages, stage_at(tmp_path / "checked"), check="on")
    with pytest.raises(SdgError, match="seconds: must be greater than 0, found 0"):
        RunLimits(seconds=0)


def test_the_store_finds_every_report_of_the_log(tmp_path):
    with files.AppendLog(tmp_path / "checks.jsonl") as log:
        for number in range(500):
            log.append({"id": f"p{number}", "program": "aa", "reason": ("tests", *REASONS)[number % 9]})
    store = checks.CheckStore(tmp_path / "checks.jsonl")
    assert len(store) == 500 and store.find("p7", "aa") == REASONS[6] and store.find("p9", "aa") == "tests"
    assert store.find("p7", "ab") is None and not store.claim("p7", "aa")
    assert store.claim("p7", "ab") and not store.claim("p7", "ab")
    assert checks.CheckStore(tmp_path / "none.jsonl").find("p", "q") is None
