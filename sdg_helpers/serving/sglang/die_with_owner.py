"""Run a command that must not outlive its owner: `python die_with_owner.py OWNER_PID -- COMMAND …`.

Exits with the command's status. The command and all of its descendants are killed when the owner dies in any way, when
this process is signalled to stop, and (on Linux) when this process is killed. Depends on the standard library only.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time

_POLL_S = 0.3
_GRACE_S = 2.0  # a model server has nothing to save
_PR_SET_PDEATHSIG = 1


def main(owner: int, command: list[str]) -> int:
    """Run the command until it exits; return its exit status (128 + signal number when a signal killed it)."""
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: signals.append(number))
    if not (started := _start_time(owner)):
        return 143
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_parent)
    while child.poll() is None and not signals and _start_time(owner) == started:
        time.sleep(_POLL_S)
    status = child.poll()
    _kill_session(child)
    if status is None:
        print(f"{'stopped by a signal' if signals else f'process {owner} has died'}: the server was killed", flush=True)
        return 143
    return status if status >= 0 else 128 - status


def _kill_session(child: "subprocess.Popen[bytes]") -> None:
    """Terminate the command's whole session, then kill what is left of it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        end = time.monotonic() + _GRACE_S
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


def _start_time(pid: int) -> str:
    """Return when a live process started, to tell a reused pid apart; "" when it is gone."""
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
