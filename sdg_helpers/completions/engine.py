"""Many chat completions, concurrently: `complete` sends every request once, whatever the server does meanwhile.

    complete((Request(row["id"], messages(row)) for row in rows), openai.AsyncOpenAI(base_url=…, api_key=…),
             model="…", sampling=Sampling(temperature=0.6), limits=Limits(concurrency=256),
             on_completion=…, on_failure=…)

Every request ends in exactly one call of on_completion or on_failure, unless the run is stopped. The parts: exchanges
(the types), transport and replies (one attempt), pacing (how many at a time), backlog and dispatch (which one next),
meter (what came of it).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from sdg_helpers.completions.dispatch import Dispatcher
from sdg_helpers.completions.meter import Progress
from sdg_helpers.completions.transport import Transport
from sdg_helpers.completions.types import Completion, Failure, Limits, Request, Sampling


def complete(
    requests: Iterable[Request],
    client: Any,
    *,
    model: str,
    sampling: Sampling,
    limits: Limits,
    on_completion: Callable[[Request, Completion], None],
    on_failure: Callable[[Request, Failure], None],
    on_progress: Callable[[Progress], None] | None = None,
) -> Progress:
    """Ask for every request; return when each has been answered or given up.

    requests are pulled lazily, one when a slot is free. client: an openai client (sync or async), read for base_url,
    api_key, default headers and query, and time-outs. The callbacks are called one at a time, in the order in which
    requests end, from a thread of the run's own; on_progress about once a second and once at the end.

    Works inside a running event loop (a notebook) and outside. Raises what a callback or `requests` raises, SdgError
    when going on makes no sense (wrong key, unknown model), ServerGone when the server stays away; an interrupt of the
    calling thread (Ctrl-C, a notebook's stop button) drops what is in flight and is raised here.
    """
    transport = Transport(client, model, sampling, limits.timeout_s)
    _allow_open_files(limits.concurrency + 200)
    dispatcher = Dispatcher(requests, transport, limits, on_completion, on_failure, on_progress)
    run = _Run(dispatcher)
    run.start()
    try:
        run.ended.wait()
    except BaseException:
        run.interrupt()
        raise
    finally:
        run.join()
    if run.error is not None:
        raise run.error
    return run.progress


class _Run(threading.Thread):
    """An event loop in a thread of its own, for one dispatcher."""

    def __init__(self, dispatcher: Dispatcher):
        super().__init__(name="completions", daemon=True)
        self.ended, self.error, self.progress = threading.Event(), None, None
        self._dispatcher, self._loop = dispatcher, _new_loop()

    def run(self) -> None:
        try:
            self.progress = self._loop.run_until_complete(self._dispatcher.run())
        except BaseException as error:
            self.error = error
        finally:
            self._loop.close()
            self.ended.set()

    def interrupt(self) -> None:
        """Stop as soon as the callback that is being called, if any, returns."""
        with suppress(RuntimeError):  # the loop is closed: it has just ended by itself
            self._loop.call_soon_threadsafe(self._dispatcher.stop, KeyboardInterrupt())


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _allow_open_files(wanted: int) -> None:
    """Raise this process's limit on open files, as far as it may; a connection is a file."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
