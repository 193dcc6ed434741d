"""The system calls that sandboxed programs may not make, as a seccomp filter.

Namespaces do not cover them: keyrings belong to the user, not to the sandbox; memory of System V segments, memfd,
message queues and socket buffers belongs to no process, so that no limit sees it; AF_VSOCK and other socket families
lead out of a network namespace; and io_uring, bpf and their like have been the way out of many sandboxes. Programs that
read stdin and write stdout need none of them. libseccomp compiles the filter; pyseccomp is its binding on PyPI.
"""

from __future__ import annotations

import errno
import socket
import tempfile
from functools import cache
from typing import Any

from sdg_helpers.errors import SdgError

_KEYS = ("add_key", "keyctl", "request_key")
_MEMORY = ("memfd_create", "shmget", "shmat", "shmctl", "semget", "semop", "semctl", "msgget", "msgsnd", "msgctl")
_QUEUES = ("mq_open", "io_setup", "io_uring_setup", "io_uring_enter", "io_uring_register")
_NETWORK = ("socket", "setsockopt")  # socketpair(AF_UNIX) stays: asyncio and multiprocessing use it
_KERNEL = (
    *("bpf", "perf_event_open", "userfaultfd", "ptrace", "process_vm_readv", "process_vm_writev", "vmsplice"),
    *("kexec_load", "init_module", "finit_module", "open_by_handle_at", "quotactl", "fanotify_init"),
    *("mount", "pivot_root", "unshare", "setns", "fsopen", "open_tree", "move_mount", "syslog"),
)
DENIED = (*_KEYS, *_MEMORY, *_QUEUES, *_NETWORK, *_KERNEL)

_F_SETPIPE_SZ = 1031
_WAYS_OUT = (
    "Install libseccomp 2.5 or later (Debian, Ubuntu: apt-get install libseccomp2; Fedora: dnf install libseccomp; "
    "and pip install pyseccomp), or continue without running programs (CHECK no)."
)


@cache
def syscall_filter() -> bytes:
    """Return the filter as bubblewrap reads it. Raises SdgError without libseccomp."""
    seccomp = _library()
    deny = seccomp.ERRNO(errno.EPERM)
    rules = seccomp.SyscallFilter(defaction=seccomp.ALLOW)  # other architectures' calls kill the program
    for number in denied_calls().values():
        rules.add_rule(deny, number)
    rules.add_rule(deny, "socketpair", seccomp.Arg(0, seccomp.NE, socket.AF_UNIX))
    rules.add_rule(deny, "fcntl", seccomp.Arg(1, seccomp.EQ, _F_SETPIPE_SZ))
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def denied_calls() -> dict[str, int]:
    """Return the numbers of the denied calls that this machine's architecture has."""
    return {name: number for name in DENIED if (number := call_number(name)) >= 0}


def call_number(name: str) -> int:
    """Return a call's number; negative on an architecture without it. Raises SdgError if libseccomp is too old."""
    seccomp = _library()
    number: int = seccomp.resolve_syscall(seccomp.Arch.NATIVE, name)
    if number == -1:
        raise SdgError(f"sandbox: this machine's libseccomp is too old: it does not know {name}. {_WAYS_OUT}")
    return number


def _library() -> Any:
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError) as error:  # it raises RuntimeError without the C library
        raise SdgError(
            f"sandbox: libseccomp cannot be loaded ({error}), so a program's system calls cannot be limited. "
            f"{_WAYS_OUT}"
        ) from None
    return pyseccomp
