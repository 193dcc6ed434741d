"""Work in a fork of the test's process, which can be killed or given a full disk."""

import os
import resource
import signal
import time

from sdg_helpers.errors import SdgError


def run_in_child(work, limit_bytes=None, report=None):
    """Start `work` in a fork of this process and return its pid. limit_bytes: largest file, as on a full disk.

    It exits with 0, with 3 for an SdgError and with 4 for any other exception; `report`, a path, then has its text.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 2)
        if limit_bytes is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
        work()
        os._exit(0)
    except SdgError as error:
        _write(report, str(error))
        os._exit(3)
    except BaseException as error:
        _write(report, repr(error))
        os._exit(4)


def _write(report, text):
    if report is not None:
        with open(report, "w") as file:
            file.write(text[:10_000])


def exit_code(pid, timeout_s=None):
    """Wait for a child; return its exit code, or minus the signal that ended it. After timeout_s it is killed: None."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while deadline is not None:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
