"""Start processes with an empty session keyring, not with ours, which may hold tickets and passwords."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from sdg_helpers.coding.syscalls import call_number

_JOIN_SESSION_KEYRING = 1
T = TypeVar("T")


def start_without_keys(start: Callable[[], T]) -> T:
    """Call `start`, which starts a process, in a thread that has a session keyring of its own."""
    return _starter().submit(start).result()


@cache
def _starter() -> ThreadPoolExecutor:
    """Return one thread for all starts. Linux kills a sandbox when the thread that started it ends, so it stays."""
    return ThreadPoolExecutor(1, "sandbox", initializer=_join_new_keyring)


def _join_new_keyring() -> None:
    """Leave our session keyring. A failure is harmless: it means that this machine lets nobody use keyrings."""
    ctypes.CDLL(None).syscall(ctypes.c_long(call_number("keyctl")), ctypes.c_long(_JOIN_SESSION_KEYRING), None)


os.register_at_fork(after_in_child=_starter.cache_clear)  # the thread is not in the child
