"""Runs a command that must not outlive its owner: `python guard.py OWNER_PID -- COMMAND …`; ends with its status.

The command and all that it starts end when the owner is gone, however it went, when this process is told to end, and
(on Linux) when this process is killed. Needs nothing but Python.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time

_LOOK_S = 0.3
_PATIENCE_S = 2.0  # a model server has nothing to save
_PR_SET_PDEATHSIG = 1


def main(owner: int, command: list) -> int:
    """Run the command to its end; returns its exit status (128 + signal when a signal ended it)."""
    told = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: told.append(number))
    if not (began := _began(owner)):
        return 143
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_parent)
    while child.poll() is None and not told and _began(owner) == began:
        time.sleep(_LOOK_S)
    status = child.poll()
    _end(child)
    if status is None:
        print(f"guard: {'told to end' if told else f'process {owner} is gone'}; the server was ended", flush=True)
        return 143
    return status if status >= 0 else 128 - status


def _end(child: subprocess.Popen) -> None:
    """End the whole session of the command; what ignores the request is killed."""
    for number, patience_s in ((signal.SIGTERM, _PATIENCE_S), (signal.SIGKILL, _PATIENCE_S)):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            child.poll()
            try:
                os.killpg(child.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)


def _die_with_parent() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _began(pid: int) -> str:
    """When a live process began, so that a pid used again is another one; empty when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return "" if fields[0] in (b"Z", b"X") else fields[19].decode()
    except OSError:
        pass
    try:
        os.kill(pid, 0)
        return "" if os.path.exists("/proc/self/stat") else "alive"
    except OSError:
        return ""


if __name__ == "__main__":
    owner_pid = int(sys.argv[1])
    sys.exit(main(owner_pid, sys.argv[3:]))
