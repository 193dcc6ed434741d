"""Start bubblewrap with its system call filter, and hold it back until its process is in its memory group."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sdg_helpers.coding.keyrings import start_without_keys
from sdg_helpers.coding.memory_groups import MemoryGroup
from sdg_helpers.coding.syscalls import syscall_filter

NOBODY = 65534


class Start:
    """The start of one sandbox, a context manager: the pipes through which bubblewrap and we talk.

    options: of bubblewrap, for these pipes.
    """

    def __init__(self) -> None:
        self._status, status = os.pipe()  # bubblewrap reports here the sandbox's first process, and its end
        gate, self._gate = os.pipe()  # it waits here before it sets up the sandbox
        rules, rules_end = os.pipe()
        os.write(rules_end, syscall_filter())  # much smaller than a pipe
        os.close(rules_end)
        self._theirs = [status, gate, rules]
        self.options = (("--json-status-fd", status), ("--block-fd", gate), ("--seccomp", rules))

    def __enter__(self) -> Start:
        return self

    def __exit__(self, *exc: object) -> None:
        for end in (self._status, self._gate, *self._theirs):
            os.close(end)

    def process(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start the command, which is held at the gate."""
        process = start_without_keys(
            lambda: subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd="/",
                env={},
                pass_fds=self._theirs,
                start_new_session=True,
                **_drop_root(),
            )
        )
        while self._theirs:
            os.close(self._theirs.pop())
        return process

    def release(self, group: MemoryGroup | None) -> None:
        """Move the sandbox's first process into the group, and let it start."""
        report = b""
        while b"\n" not in report and (more := os.read(self._status, 1 << 12)):
            report += more
        first = re.search(rb'"child-pid": (\d+)', report)
        if group is not None and first is not None:
            with suppress(ProcessLookupError):  # it has ended already
                group.add(int(first[1]))
        self._ran = b"exit-code" in report
        with suppress(BrokenPipeError):
            os.write(self._gate, b"x")

    def has_run(self) -> bool:
        """Return whether the command has run, after the end of bubblewrap."""
        return self._ran or b"exit-code" in os.read(self._status, 1 << 16)


def _drop_root() -> dict[str, Any]:
    """Return Popen's arguments to run as nobody if we are root, whose processes escape the limit on processes."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
