"""Work in a fork of the test's process, which can be killed or given a full disk."""

import os
import resource
import signal

from sdg_helpers.errors import SdgError


def run_in_child(work, limit_bytes=None):
    """Start `work` in a fork of this process and return its pid. limit_bytes: largest file, as on a full disk."""
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
    except SdgError:
        os._exit(3)
    except BaseException:
        os._exit(4)


def exit_code(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
