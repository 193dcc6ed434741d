"""What can happen to a run in the fault campaign: each disaster takes a Schedule (tests/helpers/chaos.py) and does one
thing to it at a random moment. They are grouped by kind."""

import errno
import os
import signal
import time

from tests.helpers import damaging
from tests.helpers.whole_run import STAGES


def killed(schedule):
    """kill -9 at any moment."""
    pid = schedule.start()
    time.sleep(schedule.rng.choice([schedule.rng.uniform(0, 0.1), schedule.rng.uniform(0, 1.5)]))
    os.kill(pid, signal.SIGKILL)
    schedule.expect(pid, (-signal.SIGKILL, 0, 3))


def stopped_between_stages(schedule):
    """The run goes up to some stage and ends there, as with `--to`."""
    schedule.expect(schedule.start(upto=schedule.rng.choice(STAGES)), (0, 3))


def two_drivers(schedule):
    """Two drivers at once: one works and the other one is refused, or both are."""
    first, second = schedule.start(), schedule.start()
    schedule.expect(first, (0, 3))
    schedule.expect(second, (0, 3))


def server_dies(schedule):
    """The server dies while it is asked, and returns."""
    pid = schedule.start()
    time.sleep(schedule.rng.uniform(0, 0.5))
    schedule.server.kill()
    time.sleep(schedule.rng.uniform(0.05, 0.5))
    schedule.restart_server()
    schedule.expect(pid, (0, 3))


def other_server(schedule):
    """The next session meets a server with other faults."""
    schedule.change_server()
    killed(schedule)


def full_disk(schedule):
    schedule.expect(schedule.start(limit_bytes=schedule.rng.randrange(300, 30_000)), (0, 3))


def failing_disk(schedule):
    """Some writes, syncs and renames fail."""
    code, share, rng = schedule.rng.choice([errno.ENOSPC, errno.EIO, errno.EDQUOT]), 0.05, schedule.rng

    def break_disk():
        def failing(function):
            def fail_sometimes(*arguments, **more):
                if rng.random() < share:
                    raise OSError(code, os.strerror(code))
                return function(*arguments, **more)

            return fail_sometimes

        for name in ("pwrite", "fsync", "replace"):
            setattr(os, name, failing(getattr(os, name)))

    schedule.expect(schedule.start(first=break_disk), (0, 3))


def clock_jumps(schedule):
    """The clock is wrong from the start, or jumps while the run works."""
    rng = schedule.rng
    offset_s, after_s = rng.choice([-1, 1]) * rng.choice([3600, 86_400 * 400]), rng.choice([0, rng.uniform(0, 0.5)])

    def change_clock():
        real, real_ns, start = time.time, time.time_ns, time.monotonic()

        def offset():
            return offset_s if time.monotonic() - start >= after_s else 0

        time.time = lambda: real() + offset()
        time.time_ns = lambda: real_ns() + offset() * 10**9

    pid = schedule.start(first=change_clock)
    if rng.random() < 0.5:
        time.sleep(rng.uniform(0, 1))
        os.kill(pid, signal.SIGKILL)
    schedule.expect(pid, (-signal.SIGKILL, 0, 3))


def torn_row(schedule):
    """A power cut while a row was written: a part of the last line of an unfinished file is left."""
    for path in schedule.choose("partial/rs*/*.jsonl", "partial/replies-*.jsonl"):
        data = path.read_bytes()
        last = data.rstrip(b"\n").rfind(b"\n") + 1
        path.write_bytes(data[: schedule.rng.randrange(last, len(data) + 1)])


def doubled_rows(schedule):
    """A node that was thought lost wrote some of the same rows."""
    for path in schedule.choose("partial/rs*/*.jsonl"):
        lines = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        copies = schedule.rng.sample(lines, schedule.rng.randint(0, len(lines)))
        path.with_name(f"other-{schedule.rng.randrange(10**6)}.jsonl").write_bytes(b"".join(copies))


def torn_record(schedule):
    """A record of an unfinished stage, which holds no rows, is torn."""
    for path in schedule.choose("partial/session-*.json", "begun.json", "progress.json"):
        damaging.cut_anywhere(path, schedule.rng)
        schedule.damaged(path, may_go_unnoticed=True)  # a finished stage needs it no more


def _finish_something(schedule):
    if not schedule.outputs():
        schedule.expect(schedule.start(upto=schedule.rng.choice(STAGES)), (0, 3))


def damaged_output(schedule):
    """A file of a finished stage is lost, cut, edited, or rots."""
    _finish_something(schedule)
    for path in schedule.choose_output():
        damages = damaging.ANY_FILE + (damaging.ROWS if path.suffix == ".jsonl" else ())
        damage, before = schedule.rng.choice(damages), path.read_bytes()
        damage(path, schedule.rng)
        if not path.exists() or path.read_bytes() != before:
            schedule.damaged(path, may_go_unnoticed=damage is damaging.rot)


def damaged_manifest(schedule):
    _finish_something(schedule)
    for path in schedule.choose("manifest.json"):
        schedule.rng.choice([damaging.cut_anywhere, damaging.empty, damaging.edit])(path, schedule.rng)
        schedule.damaged(path)


def added_seed(schedule):
    """Somebody copies a seed file."""
    for path in schedule.outputs():
        if path.name == "output-rs0.jsonl":
            copy = path.with_name("output-rs9.jsonl")
            copy.write_bytes(path.read_bytes())
            schedule.damaged(copy)


KINDS = {
    "process": (killed, killed, stopped_between_stages, two_drivers),
    "server": (server_dies, other_server),
    "disk": (full_disk, failing_disk),
    "clock": (clock_jumps,),
    "unfinished files": (torn_row, torn_row, doubled_rows, torn_record),
    "finished files": (damaged_output, damaged_output, damaged_output, damaged_manifest, added_seed),
}
