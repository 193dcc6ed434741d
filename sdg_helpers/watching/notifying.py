"""Messages to people about a run: the command that the profile's `notify` names gets each of them as a word."""

from __future__ import annotations

import os
import subprocess
import warnings
from collections.abc import Sequence

from sdg_helpers.formatting import plain_line
from sdg_helpers.watching.run_view import RunView

_TIMEOUT_S = 30.0


def notify(command: Sequence[str], run: str, event: str, message: str, timeout_s: float = _TIMEOUT_S) -> bool:
    """Run the command with the message as its last word; return whether it succeeded. A failure is only warned of.

    The variables SDG_RUN, SDG_EVENT and SDG_MESSAGE hold the same. No shell reads the message.
    """
    message = plain_line(message, 1000)
    environment = {**os.environ, "SDG_RUN": run, "SDG_EVENT": event, "SDG_MESSAGE": message}
    try:
        done = subprocess.run(
            [*command, message],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = f"it took more than {timeout_s:g} s" if isinstance(error, subprocess.TimeoutExpired) else str(error)
    else:
        if not done.returncode:
            return True
        why = f"exit code {done.returncode}: {plain_line(done.stderr)}"
    warnings.warn(f"notify: {command[0]} failed: {why}. The run goes on.", stacklevel=2)
    return False


def news(before: RunView, now: RunView) -> list[tuple[str, str]]:
    """Return what has happened to servers between two looks: (event, message)."""
    earlier = {(view.stage, line.number, line.job): line for view in before.stages for line in view.servers}
    found = []
    for view in now.stages:
        for line in view.servers:
            was = earlier.get((view.stage, line.number, line.job))
            who = f"{now.run}: {view.stage}: server {line.number} on {line.node or 'no node'}"
            if line.state in ("failed", "silent") and (was is None or was.state != line.state):
                found.append((f"server {line.state}", f"{who} is {line.state}{f': {line.why}' if line.why else ''}"))
            elif line.slow and not (was and was.slow):
                found.append(("server slow", f"{who} is below half the median: sdg drain {now.run} {line.number}"))
    return found
