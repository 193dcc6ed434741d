"""Wait for processes and servers, read their events, and ask a server many questions at once."""

import time

import psutil

from sdg_helpers import files
from sdg_helpers.completions.types import Limits, Request, Sampling


def events(folder):
    return [row["event"] for path in folder.glob("*-events.jsonl") for row in files.read_jsonl(path)]


def within(seconds, well):
    end = time.monotonic() + seconds
    while not well() and time.monotonic() < end:
        time.sleep(0.05)
    return well()


def gone(pid):
    return not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE


def ask_many(server, count, act=None, each=None, **limits):
    """Answers to i + 1 by i; `act()` is called when 20 of them have come, `each(answers)` at every one."""
    found = {}

    def on_completion(request, completion):
        assert request.key not in found
        found[request.key] = completion.content
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
