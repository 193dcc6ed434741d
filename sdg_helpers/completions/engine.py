"""Many concurrent chat completions: `complete` gets one reply or one failure for every request.

    complete((Request(row["id"], messages(row)) for row in rows), openai.AsyncOpenAI(base_url=…, api_key=…),
             model="…", sampling=Sampling(temperature=0.6), limits=Limits(concurrency=256),
             on_completion=…, on_failure=…)

How a request travels: `complete` starts an event loop in a thread, where the dispatcher (dispatch.py) pulls requests
from the lazy input when the pace (pacing.py) has a slot free. A worker sends the request over HTTP (transport.py; with
several servers, balancing.py chooses one) on a connection that can carry no other request's reply (connections.py) and
for a limited time (deadlines.py), and reads the reply (replies.py, event_streams.py) as a completion or as a failed
attempt. A completion is counted (meter.py) and passed to on_completion. A failed attempt goes back to the backlog
(backlog.py) for a retry, or is given up and passed to on_failure (retrying.py); trouble of the server itself is
remembered for all requests (outages.py). With kept texts (kept_texts.py), what has arrived of a reply outlives its
attempt and the process, and the next attempt continues it (continuing.py). Every request ends in exactly one of the two
callbacks, unless the run is stopped.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from sdg_helpers.completions.balancing import Balancer
from sdg_helpers.completions.dispatch import Dispatcher
from sdg_helpers.completions.kept_texts import KeptTexts
from sdg_helpers.completions.meter import Progress
from sdg_helpers.completions.request_bodies import RequestFit
from sdg_helpers.completions.transport import Transport
from sdg_helpers.completions.types import Allowance, Completion, Failure, Limits, Request, Sampling, Target

_WAKE_S = 1.0
_AS_IS = RequestFit(stream=False)


def complete(
    requests: Iterable[Request | None],
    client: Any,
    *,
    model: str,
    sampling: Sampling,
    limits: Limits,
    on_completion: Callable[[Request, Completion], None],
    on_failure: Callable[[Request, Failure], None],
    on_progress: Callable[[Progress], None] | None = None,
    fit: RequestFit = _AS_IS,
    allowance: Allowance | None = None,
    on_tick: Callable[[], None] | None = None,
    texts: KeptTexts | None = None,
) -> Progress:
    """Send every request; return when each has completed or failed.

    requests: an iterable, pulled lazily when a slot is free; None in it means that there is nothing to send now, and
    it is asked again. client: an openai client (sync or async), from which
    base_url, api_key, default headers and query, and timeouts are read; or a list of Targets, servers that share the
    requests. The callbacks are called one at a time, in the
    order in which requests end, from the run's thread; on_progress about once a second, and once at the end. fit: how
    requests differ from OpenAI's first API, for servers that need it; without it, replies are not streamed. allowance:
    asked before each attempt; when it admits none and nothing is in flight, its refusal is raised. on_tick: called when
    the replies that arrived together have been passed to the callbacks, so that their rows can be written together.
    texts: keeps what arrives of each reply; a request that was cut continues from there on servers that prove that they
    can.

    Works inside a running event loop (a notebook) and outside. Raises whatever a callback or `requests` raises,
    SdgError when no request can succeed (wrong key, unknown model), and ServerGone when the server stays unreachable.
    An interrupt of the calling thread (Ctrl-C, a notebook's stop button) drops requests in flight and is re-raised.
    """
    targets = client if isinstance(client, list) else [Target(client)]
    transports = [Transport(target.client, model, sampling, limits.timeout_s, fit, texts) for target in targets]
    transport: Transport | Balancer = transports[0]
    if len(transports) > 1:
        transport = Balancer(transports, [target.weight for target in targets], limits.concurrency)
    _allow_open_files(limits.concurrency + 200)
    dispatcher = Dispatcher(requests, transport, limits, on_completion, on_failure, on_progress, allowance, on_tick)
    run = _Run(dispatcher)
    try:
        run.start()
        run.wait()
    except BaseException:
        run.interrupt()  # wherever we are: the thread may be about to start
        run.wait()
        raise
    run.join()
    if run.error is not None:
        raise run.error
    assert run.progress is not None
    return run.progress


class _Run(threading.Thread):
    """A thread with an event loop that runs one dispatcher."""

    def __init__(self, dispatcher: Dispatcher):
        super().__init__(name="completions", daemon=True)
        self.error: BaseException | None = None
        self.progress: Progress | None = None
        self._dispatcher, self._loop = dispatcher, _new_loop()
        self._ended, self._beginning = threading.Event(), threading.Lock()
        self._begun = False

    def run(self) -> None:
        if not self._begin():
            return
        try:
            self.progress = self._loop.run_until_complete(self._dispatcher.run())
        except BaseException as error:
            self.error = error
        finally:
            self._loop.close()
            self._ended.set()

    def wait(self) -> None:
        """Wait for the end. A signal that the system gave to another thread is handled at the next waking."""
        while not self._ended.wait(_WAKE_S):
            pass

    def interrupt(self) -> None:
        """Stop as soon as the current callback, if any, returns; a run that has not begun does nothing at all."""
        if self._begin():
            self._loop.close()
            self._ended.set()
        else:
            with suppress(RuntimeError):  # the loop is closed: the run has just ended
                self._loop.call_soon_threadsafe(self._dispatcher.stop, KeyboardInterrupt())

    def _begin(self) -> bool:
        """Return True to the first caller only."""
        with self._beginning:
            first, self._begun = not self._begun, True
            return first


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _allow_open_files(wanted: int) -> None:
    """Raise this process's limit on open files, as far as allowed: every connection is a file."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
