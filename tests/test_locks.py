"""Locks on file systems without flock: leases between processes and machines."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time

import pytest

from sdg_helpers import lease_locks
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.errors import SdgError
from sdg_helpers.lease_locks import Lease
from sdg_helpers.locks import Lock, waiting_lock
from tests.helpers.clone import ROOT

NO_FLOCK = {
    "Lustre": errno.ENOSYS,
    "NFS": errno.ENOLCK,
    "FUSE": errno.EOPNOTSUPP,
}
HOLD = """\
import fcntl, sys, time
def flock(*_):
    raise OSError(37, "No locks available")
fcntl.flock = flock
from sdg_helpers.locks import Lock
with Lock(sys.argv[1], "x"):
    print("held", flush=True)
    time.sleep(600)
"""


def without_flock(monkeypatch, number=errno.ENOLCK):
    def flock(file, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


def holder_elsewhere(path):
    """Make a lease that a process of another machine holds, and return its file."""
    path.touch()
    lease = Lease(path)
    assert lease.take()
    lease.give_back()
    folder = path.with_name(".lock.lease")
    return (folder / "free").rename(folder / "far,another-boot-1,77,88,00ff")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(lease_locks, "BEAT_S", 0.02)
    monkeypatch.setattr("_thread.interrupt_main", lambda: None)  # test_a_stolen_lease_… has its own


@pytest.mark.parametrize("system", NO_FLOCK)
def test_a_lock_works_without_flock(system, tmp_path, monkeypatch):
    without_flock(monkeypatch, NO_FLOCK[system])
    path = tmp_path / ".lock"
    assert Lock.is_free(path)
    for _ in range(2):
        with Lock(path, "stage x"):
            assert not Lock.is_free(path)
            with pytest.raises(SdgError, match=f"stage x is already running: process {os.getpid()} on .* holds"):
                Lock(path, "stage x").__enter__()
        assert Lock.is_free(path)
    assert [file.name for file in (tmp_path / ".lock.lease").iterdir()] == ["free"]


def test_a_lease_ends_with_its_process(tmp_path, monkeypatch):
    without_flock(monkeypatch)
    path = tmp_path / ".lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(SdgError, match=f"process {process.pid} on"):
            Lock(path, "x").__enter__()
        assert not Lock.is_free(path)
        process.kill()
    assert Lock.is_free(path)
    with Lock(path, "x"):
        pass


@pytest.mark.parametrize("seconds", [-86400, 86400])
def test_a_lease_of_another_machine_ends_when_it_is_not_renewed(seconds, tmp_path, monkeypatch):
    """By our own clock: that of the other machine and that of the file server may be a day off."""
    without_flock(monkeypatch)
    monkeypatch.setattr(lease_locks, "EXPIRY_S", 0.5)
    beat = holder_elsewhere(tmp_path / ".lock")
    os.utime(beat, (time.time() + seconds,) * 2)
    assert not Lock.is_free(tmp_path / ".lock")
    with Lock(tmp_path / ".lock", "x"):
        assert not beat.exists()


def test_a_renewed_lease_of_another_machine_is_respected(tmp_path, monkeypatch):
    without_flock(monkeypatch)
    beat, stop, waited = holder_elsewhere(tmp_path / ".lock"), threading.Event(), []

    def renew():
        number = 0
        while not stop.wait(0.01):
            beat.write_text(str(number := number + 1))

    renewing = threading.Thread(target=renew)
    renewing.start()
    try:
        with pytest.raises(SdgError, match="process 77 on far holds"):
            Lock(tmp_path / ".lock", "x").__enter__()
    finally:
        stop.set()
        renewing.join()

    def return_it():
        waited.append(1)
        if len(waited) == 2:
            beat.rename(beat.with_name("free"))

    with waiting_lock(tmp_path / ".lock", "x", return_it):
        assert len(waited) == 2


@pytest.mark.parametrize("stale", [False, True])
def test_only_one_of_many_takes_a_lease(stale, tmp_path, monkeypatch):
    for attempt in range(20):
        path = tmp_path / str(attempt) / ".lock"
        path.parent.mkdir()
        if stale:
            holder_elsewhere(path)
        leases = [Lease(path) for _ in range(8)]
        for lease in leases:
            assert not stale or not lease.take()  # all have seen the last beat
        with monkeypatch.context() as patch:
            patch.setattr(lease_locks, "EXPIRY_S", -1.0 if stale else 1000.0)
            barrier, taken = threading.Barrier(len(leases)), []

            def take(lease, barrier=barrier, taken=taken):
                barrier.wait()
                if lease.take():
                    taken.append(lease)

            threads = [threading.Thread(target=take, args=(lease,)) for lease in leases]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(taken) == 1 and len(list(path.with_name(".lock.lease").iterdir())) == 1
        assert not list(path.parent.glob(".*.tmp"))
        taken[0].give_back()


def test_a_rename_that_succeeds_but_fails_is_a_success(tmp_path, monkeypatch):
    """NFS repeats a request whose answer was lost, and then finds that the file is gone."""
    first = Lease(tmp_path / ".lock")
    assert first.take()
    first.give_back()
    rename = os.rename

    def twice(source, target):
        rename(source, target)
        raise FileNotFoundError(errno.ENOENT, "No such file", str(source))

    monkeypatch.setattr(lease_locks.os, "rename", twice)
    lease = Lease(tmp_path / ".lock")
    assert lease.take()
    monkeypatch.undo()
    lease.give_back()
    assert Lease(tmp_path / ".lock").is_free()


def test_a_stolen_lease_interrupts_its_holder(tmp_path, monkeypatch, capfd):
    interrupted = threading.Event()
    monkeypatch.setattr("_thread.interrupt_main", interrupted.set)
    assert Lease(tmp_path / ".lock").take()
    (held,) = (tmp_path / ".lock.lease").iterdir()
    held.rename(held.with_name("far,another-boot-1,77,88,00ff"))
    assert interrupted.wait(20)
    assert "was taken over by process 77 on far: stopping" in capfd.readouterr().err


def test_another_error_names_the_file_system(tmp_path, monkeypatch):
    without_flock(monkeypatch, errno.EIO)
    for use in (lambda: Lock(tmp_path / ".lock", "x").__enter__(), lambda: Lock.is_free(tmp_path / ".lock")):
        with pytest.raises(
            SdgError, match=r"cannot lock .*on its file system \(\w+ at /.*\): Input/output error. Move"
        ):
            use()


def test_sbatch_waits_for_its_turn_without_flock(tmp_path, monkeypatch):
    """The lock that an abandoned sbatch keeps is then in a local folder."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "local"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "local").mkdir()
    flock = fcntl.flock

    def shared_only(file, how):
        if not os.path.samefile(os.path.dirname(os.readlink(f"/proc/self/fd/{file.fileno()}")), tmp_path / "local"):
            raise OSError(errno.ENOLCK, "No locks available")
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", shared_only)
    monkeypatch.setattr("sdg_helpers.cluster.job_records._SBATCH_S", 0.3)
    stage = tmp_path / "run" / "math" / "solutions"
    with (
        JobRecords.open(stage) as records,
        records.sbatch_lock(),
        pytest.raises(SdgError, match="has held this lock"),
        records.sbatch_lock(),
    ):
        pass


# --- what killed writers leave behind

WRITE = """\
import sys, time
from sdg_helpers import files
with files.atomic_writer(sys.argv[1]) as out:
    out.write(b"x" * 5_000_000)
    print("writing", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("below", ["", "partial", "partial/part-0000"])
def test_the_next_holder_removes_what_a_killed_writer_left(below, tmp_path):
    target = tmp_path / below / "output-rs0.jsonl"
    command = [sys.executable, "-c", WRITE, str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout.readline() == b"writing\n"
        (left,) = target.parent.glob(".output-rs0.jsonl.*.tmp")
        with Lock(tmp_path / ".lock", "x"):
            assert left.exists()  # its writer lives, a job for example
        process.kill()
    with Lock(tmp_path / ".lock", "x"):
        assert not left.exists()


def test_files_of_other_machines_go_after_a_day_without_a_change(tmp_path):
    names = (".a.0123456789ab-12-34-89abcdef.tmp", ".of-an-earlier-version.k2j3h4.tmp", ".a.lock.lease.x.tmp")
    for name in names:
        path = tmp_path / name
        path.mkdir() if "lease" in name else path.touch()
        os.utime(path, (time.time() - 80_000,) * 2)
    kept = [tmp_path / "data.tmp", tmp_path / ".hidden"]
    for path in kept:
        path.touch()
        os.utime(path, (0, 0))
    with Lock(tmp_path / ".lock", "x"):
        assert all((tmp_path / name).exists() for name in names)
    for name in names:
        os.utime(tmp_path / name, (time.time() - 90_000,) * 2)
    with Lock(tmp_path / ".lock", "x"):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", ".lock", "data.tmp"]


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    stage = tmp_path / "stage"
    stage.mkdir()
    (stage / ".a.tmp").symlink_to(tmp_path / "elsewhere")
    os.utime(stage / ".a.tmp", (0, 0), follow_symlinks=False)
    with Lock(stage / ".lock", "x"):
        assert not (stage / ".a.tmp").is_symlink()
    assert (tmp_path / "elsewhere" / "kept").exists()
