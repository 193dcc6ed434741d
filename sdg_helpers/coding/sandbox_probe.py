"""The program that tries, inside the sandbox, what no program may do. sandbox.py passes its text to python -c.

Arguments: a path and a process id outside the sandbox, and a JSON object of denied system calls with their numbers.
Prints a JSON object: property -> whether it holds.
"""

import ctypes
import errno
import json
import os
import socket
import sys
from collections.abc import Callable

libc = ctypes.CDLL(None, use_errno=True)


def fails(action: Callable[..., object], *arguments: object) -> bool:
    try:
        action(*arguments)
    except OSError:
        return True
    return False


def denied(number: int) -> bool:
    ctypes.set_errno(0)
    zeros = [ctypes.c_long(0)] * 6
    return libc.syscall(ctypes.c_long(number), *zeros) == -1 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS)


def try_everything(outside: str, pid: int, calls: dict[str, int]) -> dict[str, object]:
    families = [number for name, number in vars(socket).items() if name.startswith("AF_") and number >= 0]
    with open("/proc/net/dev") as table:
        interfaces = {line.split(":")[0].strip() for line in table.readlines()[2:]}
    return {
        "no_files": not os.path.exists(outside) and not os.path.exists("/etc/passwd"),
        "no_writing": all(fails(open, path, "w") for path in ("/x", "/usr/x", "/dev/x", "/program/x")),
        "no_network": interfaces <= {"lo"},
        "no_root": os.getuid() != 0,
        "no_processes": os.getpid() < 10 and fails(os.kill, pid, 0),
        "no_sockets": all(fails(socket.socket, family, socket.SOCK_STREAM) for family in families),
        **{f"no_{name}": denied(number) for name, number in calls.items()},
        "python": sys.version.split()[0],
    }


if __name__ == "__main__":
    print(json.dumps(try_everything(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))))
