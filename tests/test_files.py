"""The floor's promises: nothing torn, nothing half-written, clear errors."""

import os
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sdg_helpers import files, fingerprints
from sdg_helpers.completions.redaction import Redactor
from sdg_helpers.errors import SdgError
from sdg_helpers.locks import Lock
from sdg_helpers.solutions import seed_files

REPO = Path(__file__).resolve().parent.parent


def test_content_id_depends_on_content_and_on_the_parts():
    assert files.content_id("a b") == files.content_id("a b")
    assert len({files.content_id("ab"), files.content_id("a", "b"), files.content_id("", "ab")}) == 3
    assert len(files.content_id("\ud800")) == 16


@pytest.mark.parametrize(
    "line, said",
    [
        (b'{"id": 1', "invalid JSON"),
        (b"[1, 2]", "found list"),
        (b'"text"', "found str"),
        (b"\xff\xfe", "UTF-16"),
        (b"NaN", "invalid JSON"),
    ],
)
def test_a_bad_line_is_named_by_file_and_line(tmp_path, line, said):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"ok": 1}\n\n' + line + b"\n")
    with pytest.raises(SdgError) as error:
        list(files.read_jsonl(path))
    assert said in str(error.value) and f"{path}, line 3" in str(error.value)


def test_a_missing_file_is_a_clear_error(tmp_path):
    with pytest.raises(SdgError, match="no such file"):
        list(files.read_jsonl(tmp_path / "none.jsonl"))


def test_head_reads_no_further_than_it_must(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"i": 0}\n{"i": 1}\n{"broken\n')
    assert files.head(path, 1) == [{"i": 0}]
    assert files.head(path, 2) == [{"i": 0}, {"i": 1}]
    path.write_bytes(b'{"i": 0}\n')
    assert files.head(path, 5) == [{"i": 0}]


def test_surrogates_do_not_stop_a_row():
    assert files.dumps({"a": "x\ud800y", "\udfff": ["\ud83d\ude00"]}) == '{"a":"x\ufffdy","\ufffd":["😀"]}\n'.encode()


def test_a_torn_last_line_is_cut_at_every_byte(tmp_path):
    whole = files.dumps({"id": "a"}) + files.dumps({"id": "b", "text": "é\n"})
    for size in range(len(whole) + 1):
        path = tmp_path / "log.jsonl"
        path.write_bytes(whole[:size])
        with files.AppendLog(path) as log:
            log.append({"id": "c"})
        kept = [row["id"] for row in files.read_jsonl(path)]
        assert kept == ["a", "b"][: whole[:size].count(b"\n")] + ["c"]


def test_kill_minus_nine_loses_no_appended_row(tmp_path):
    path = tmp_path / "log.jsonl"
    code = (
        "import sys, os; from sdg_helpers.files import AppendLog\nlog = AppendLog(sys.argv[1])\n"
        "for i in range(500): log.append({'i': i})\nprint('written', flush=True)\nimport time; time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, cwd=REPO)
    assert process.stdout.readline() == b"written\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [row["i"] for row in files.read_jsonl(path)] == list(range(500))


def on_a_full_disk(size, write):
    """What `write()` raises where no file can grow past so many bytes: its writes really fail in their middle."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            write()
            status = 0
        except SdgError as error:
            status = 3 if "free disk space" in str(error) else 2
        finally:
            os._exit(status)
    return {0: None, 3: SdgError}.get(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), "something else")


def test_a_full_disk_is_a_clear_error_and_leaves_whole_rows(tmp_path):
    path = tmp_path / "log.jsonl"

    def write():
        log = files.AppendLog(path)
        for _ in range(100):
            log.append({"text": "x" * 90})

    assert on_a_full_disk(1000, write) is SdgError
    assert path.stat().st_size <= 1000
    assert all(row == {"text": "x" * 90} for row in files.read_jsonl(path))


@pytest.mark.parametrize("size", [3000, 3 << 20])
def test_a_full_disk_is_a_clear_error_of_a_file_that_appears_whole(tmp_path, size):
    assert on_a_full_disk(1000, lambda: files.write_json(tmp_path / "out.json", "x" * size)) is SdgError
    assert on_a_full_disk(1000, lambda: seed_files.write_done(tmp_path, np.ones((size, 8), bool))) is SdgError
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_full_disk_does_not_keep_from_taking_a_lock(tmp_path):
    def lock():
        with Lock(tmp_path / ".lock", "x"), pytest.raises(SdgError, match="another process holds"):
            Lock(tmp_path / ".lock", "x").__enter__()

    assert on_a_full_disk(0, lock) is None


def write_json(path):
    files.write_json(path, {})


@pytest.mark.parametrize("use", [write_json, files.AppendLog, lambda path: Lock(path, "x")])
@pytest.mark.parametrize("place", ["a file/out", "too long" * 40, "a folder"])
def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path, use, place):
    (tmp_path / "a file").touch()
    (tmp_path / "a folder").mkdir()
    with pytest.raises(SdgError, match=r"cannot write .*: [A-Z].* its permissions"):
        use(tmp_path / place)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(2, "No such file", "input"),
        PermissionError(13, "no", "input"),
        ConnectionResetError(104, "reset"),
        OSError("of no kind"),
    ],
)
def test_an_error_of_something_else_is_not_blamed_on_the_file_being_written(tmp_path, error):
    with pytest.raises(OSError) as raised, files.atomic_writer(tmp_path / "out") as out:
        out.write(b"half")
        raise error
    assert raised.value is error and not list(tmp_path.iterdir())


def test_a_file_that_is_not_cached_is_written_and_hashed_as_any_other(tmp_path, monkeypatch):
    released, fadvise = [], os.posix_fadvise
    monkeypatch.setattr(files, "_RELEASE_BYTES", 3 << 20)
    monkeypatch.setattr(os, "posix_fadvise", lambda handle, *rest: (released.append(rest[:2]), fadvise(handle, *rest)))
    data = random.Random(5).randbytes(8 << 20)
    for cached in (True, False):
        with files.atomic_writer(tmp_path / "out", cached=cached) as out:
            for start in range(0, len(data), 1 << 18):
                out.write(data[start : start + (1 << 18)])
        assert (tmp_path / "out").read_bytes() == data
        assert fingerprints.fingerprint_output(tmp_path / "out")[0] == fingerprints.fingerprint(tmp_path / "out")
        assert released == ([] if cached else [(0, 3 << 20), (0, 6 << 20)])


def test_atomic_writer_leaves_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / "out.json"
    files.write_json(path, {"old": True})
    with pytest.raises(RuntimeError), files.atomic_writer(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert files.read_json(path) == {"old": True}
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


def test_a_lock_refuses_the_second_and_dies_with_its_process(tmp_path):
    with (
        Lock(tmp_path / ".lock", "stage x"),
        pytest.raises(SdgError, match=f"process {os.getpid()}"),
        Lock(tmp_path / ".lock", "stage x"),
    ):
        pass
    code = (
        "import sys, time; from sdg_helpers.locks import Lock\nwith Lock(sys.argv[1], 'x'):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / ".lock")], stdout=subprocess.PIPE, cwd=REPO)
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(SdgError, match=f"process {process.pid}"), Lock(tmp_path / ".lock", "stage x"):
        pass
    process.kill()
    process.wait()
    with Lock(tmp_path / ".lock", "stage x"):
        pass


def test_the_tail_of_a_log_hides_the_key_before_lines_are_cut(tmp_path):
    log = tmp_path / "server.log"
    log.write_text("of an earlier process\n" + "x" * 297 + "s3cretkey and more\n" + "last\n")
    start = len("of an earlier process\n")
    assert files.read_tail(log, 9, start, Redactor(["s3cretkey"]).hide) == ["x" * 297 + "***", "last"]
    assert files.read_tail(log, 1) == ["last"] and files.read_tail(tmp_path / "none.log", 9) == []


def test_the_tail_of_a_large_log_is_its_end(tmp_path):
    log = tmp_path / "server.log"
    log.write_text("".join(f"line {number}\n" for number in range(100_000)))
    assert files.read_tail(log, 2) == ["line 99998", "line 99999"]
