"""One copy of the model in a job, supervised from a thread of its own: start it, wait, ask a canary question, watch the
tokens that it generates, and restart it a bounded number of times when it dies or hangs."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from sdg_helpers.cluster.exit_codes import TryAgain
from sdg_helpers.errors import SdgError
from sdg_helpers.serving.server import Server
from sdg_helpers.serving.sglang.health import HealthCheck, ask_canary
from sdg_helpers.serving.sglang.job_nodes import JobNodes, ServerDown
from sdg_helpers.serving.sglang.proxy import Proxy

_JOIN_TIMEOUT_S = 10
_STABLE_S = 3600  # after this long without a crash, reset the restart count
_FIRST_ATTEMPTS = 2  # a port may be taken, or a node slow


class ModelCopy:
    """Copy `number`, behind a proxy whose address outlives its restarts.

    healthy: set once it has been up; fatal_error: why it is down for good, if it is; thread: its owner starts it.
    """

    def __init__(self, number: int, nodes: JobNodes, stopped: threading.Event):
        """stopped: set when the job's servers are no longer needed."""
        self.number, self.healthy = number, threading.Event()
        self.fatal_error: SdgError | None = None
        self._nodes, self._spec, self._proxy, self._stopped = nodes, nodes.spec, Proxy(), stopped
        self._check = HealthCheck("", nodes.key, nodes.spec)
        self._restarts, self._up_since = 0, 0.0
        self.thread = threading.Thread(target=self._supervise, name=f"server watch {number}", daemon=True)

    def server(self) -> Server:
        """Return a handle on this copy."""
        return Server(
            f"http://127.0.0.1:{self._proxy.port}/v1",
            self._spec.served_model,
            "sglang",
            self._nodes.key,
            log_path=self._nodes.log(self.number),
            restart_s=self._spec.deadline_s * (self._spec.max_restarts + 1),
        )

    def stop(self) -> None:
        """Close the proxy for good, once the thread has noticed that `stopped` is set."""
        if self.thread.is_alive():
            self.thread.join(_JOIN_TIMEOUT_S)  # it may be in the middle of a restart
        self._proxy.stop()

    def _supervise(self) -> None:
        """Start the copy, then react when it dies or generates no tokens, until stopped."""
        try:
            self._bring_up(_FIRST_ATTEMPTS)
            self.healthy.set()
            while True:
                try:
                    self._watch()
                except ServerDown as down:
                    if self._stopped.is_set():
                        return
                    self._restart(down)
        except Exception as error:
            if not self._stopped.is_set():
                self._give_up(error)

    # --- starting

    def _bring_up(self, attempts: int) -> None:
        """Start the copy until it is healthy; raise SdgError or TryAgain when all attempts fail."""
        for left in reversed(range(attempts)):
            try:
                self._check = HealthCheck(self._nodes.start(self.number), self._nodes.key, self._spec)
                self._wait_until_healthy()
                return
            except ServerDown as down:
                self._nodes.servers.stop(self.number)
                self._nodes.record_event("did not come up", self.number, down.why)
                if down.final_error or not left or self._stopped.is_set():
                    error = down.final_error or TryAgain
                    raise error(
                        f"SGLang did not start: {down.why}\nFix what the log reports (or raise start_deadline_s, if it "
                        "only needed longer), then run again: finished requests are kept."
                    ) from None

    def _wait_until_healthy(self) -> None:
        """Wait until the server answers, and answers correctly; then open the proxy."""
        end = time.monotonic() + self._spec.deadline_s
        while not self._check.is_up():
            if time.monotonic() > end:
                raise ServerDown(f"it was still loading after {self._spec.deadline_s:g} s. {self._log()}", TryAgain)
            self._poll()
        if wrong := ask_canary(self._check.server, self._spec):
            raise ServerDown(f"{wrong}. {self._log()}")
        self._proxy.open(self._check.address)
        self._up_since = time.monotonic()
        self._nodes.record_event("up", self.number)

    # --- watching

    def _watch(self) -> None:
        """Check the copy until it fails; raises ServerDown then."""
        due = time.monotonic() + self._spec.check_every_s
        while True:
            self._poll()
            if time.monotonic() >= due:
                misses = self._check.count_misses()
                self._nodes.record_load(self.number, self._check.load)
                if misses >= self._spec.max_misses:
                    raise ServerDown(
                        f"{self._check.address} generated no token in {self._spec.max_misses} checks, "
                        f"{self._spec.check_every_s:g} s apart. {self._log()}"
                    )
                due = time.monotonic() + self._spec.check_every_s

    def _poll(self) -> None:
        """Wait half a second; raise ServerDown when a process of this copy has exited, or the job stops."""
        self._nodes.poll(self.number)
        if self._stopped.is_set():
            raise ServerDown("stopped")

    def _log(self) -> str:
        return self._nodes.servers.describe_log(self.number)

    def _restart(self, down: ServerDown) -> None:
        """Close the proxy and start the copy again. Raises SdgError when that fails or no restarts are left."""
        self._proxy.close()
        self._nodes.record_event("down", self.number, down.why)
        if time.monotonic() - self._up_since > _STABLE_S:
            self._restarts = 0
        left, before = self._spec.max_restarts - self._restarts, self._nodes.attempts[self.number]
        if left <= 0:
            raise TryAgain(
                f"SGLang went down again after {self._restarts} restarts: {down.why}\nRun again to resume: finished "
                "requests are kept."
            )
        self._bring_up(left)
        self._restarts += self._nodes.attempts[self.number] - before

    def _give_up(self, error: Exception) -> None:
        """Set `fatal_error`; also after a bug of the watch itself, since no server may run without a watch."""
        with suppress(SdgError):
            self._proxy.close()
        if isinstance(error, SdgError):
            self.fatal_error, why = error, ""
        else:
            why = f"The supervision of SGLang failed: {type(error).__name__}: {error}"
            self.fatal_error = TryAgain(why)
        with suppress(SdgError):
            self._nodes.record_event("given up", self.number, why)
