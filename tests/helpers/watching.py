"""Wait for processes and servers, read their events, and ask a server many questions at once."""

import signal
import time
from contextlib import contextmanager

import psutil

from sdg_helpers import files
from sdg_helpers.completions.types import Limits, Request, Sampling


def events(folder):
    return [row["event"] for path in folder.glob("*-events.jsonl") for row in files.read_jsonl(path)]


def eventually(condition, seconds=60):
    """Poll until the condition holds; False after a time that only something that hangs needs."""
    end = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return holds


@contextmanager
def watchdog(seconds=60):
    """Raise TimeoutError in a block that hangs. Far more than the block needs on any machine: no measure of speed."""

    def bark(*_):
        raise TimeoutError(f"still running after {seconds} s")

    before = signal.signal(signal.SIGALRM, bark)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def at_least(seconds):
    """Fail when the block ends sooner. A busy machine can only make it longer."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start >= seconds


def gone(pid):
    return not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE


def ask_many(server, count, act=None, each=None, **limits):
    """Return the answers to i + 1 by i. Call `act()` at the 20th answer and `each(answers)` at every one."""
    found = {}

    def on_completion(request, completion):
        assert request.key not in found
        found[request.key] = completion.text
        if act and len(found) == 20:
            act()
        if each:
            each(found)

    server.complete(
        (Request(i, [{"role": "user", "content": f"{i}+1"}]) for i in range(count)),
        model=server.model,
        sampling=Sampling(),
        limits=Limits(**{"concurrency": 8, "timeout_s": 30, **limits}),
        on_completion=on_completion,
        on_progress=lambda progress: None,
        on_failure=lambda request, failure: found.update({request.key: failure}),
    )
    return found
