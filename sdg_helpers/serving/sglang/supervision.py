"""Supervise a job's SGLang servers: start them on all nodes, wait, ask a canary question, watch the tokens that they
generate, and restart them a bounded number of times when one dies or hangs."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from sdg_helpers.cluster import ranks
from sdg_helpers.cluster.exit_codes import TryAgain
from sdg_helpers.cluster.ranks import Group
from sdg_helpers.errors import SdgError
from sdg_helpers.processes import free_ports
from sdg_helpers.serving.server import Server
from sdg_helpers.serving.server_specs import SglangSpec
from sdg_helpers.serving.sglang import command_lines, job_nodes
from sdg_helpers.serving.sglang.health import HealthCheck, ask_canary, is_up
from sdg_helpers.serving.sglang.job_nodes import JobNodes, ServerDown
from sdg_helpers.serving.sglang.proxy import Proxy

_JOIN_TIMEOUT_S = 10
_STABLE_S = 3600  # after this long without a crash, reset the restart count
_FIRST_ATTEMPTS = 2  # a port may be taken, or a node slow
_open: dict[tuple[str, str], tuple[JobServers, int]] = {}  # (spec, folder) -> (servers, users in this process)


def open_sglang(spec: SglangSpec, folder: Path) -> Server:
    """Start the job's servers, or share those that this process already has. First rank; others call follow_sglang.

    Raises SdgError when they cannot run at all, TryAgain when they did not start this time.
    """
    group, key = ranks.current(), (spec.model_dump_json(), str(folder.absolute()))
    if group.rank:
        raise SdgError(
            f"rank {group.rank}: open_server is for the first rank of a job; other ranks call serving.follow."
        )
    servers, users = _open.get(key, (None, 0))
    if servers is None or servers.fatal_error:
        if servers is not None:
            servers.stop()
            del _open[key]
        if group.num_nodes > 1 and _open:
            raise SdgError("A job of several nodes has one server at a time: stop it before opening another.")
        command_lines.check_installed(spec)
        servers, users = JobServers(spec, folder.absolute(), group), 0
        servers.open()
    _open[key] = servers, users + 1
    return servers.server(partial(_release, key))


def follow_sglang(spec: SglangSpec, folder: Path) -> None:
    """Run this node's part, on every rank but the first, until the first rank says that the work is done."""
    job_nodes.follow(spec, folder.absolute(), ranks.current())


def _release(key: tuple[str, str]) -> None:
    servers, users = _open.pop(key, (None, 0))
    if servers is not None and users > 1:
        _open[key] = servers, users - 1
    elif servers is not None:
        servers.stop()


class JobServers:
    """All servers of a job, supervised from its first rank. When one of them fails, all are restarted."""

    def __init__(self, spec: SglangSpec, folder: Path, group: Group):
        self.fatal_error: SdgError | None = None  # why the servers are down for good
        self._spec, self.nodes, self._proxy = spec, JobNodes(spec, folder, group), Proxy()
        self._restarts, self._up_since = 0, 0.0
        self._checks: list[HealthCheck] = []
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="server watch", daemon=True)

    def server(self, stop: Callable[[], None]) -> Server:
        """Return the handle that a stage works with."""
        return Server(
            f"http://127.0.0.1:{self._proxy.port}/v1",
            self._spec.served_model,
            "sglang",
            self.nodes.key,
            log_path=self.nodes.servers.log,
            restart_s=self._spec.deadline_s * (self._spec.max_restarts + 1),
            _check=self.check,
            _stop=stop,
        )

    def check(self) -> None:
        """Raise the error that took the servers down for good, if any."""
        if self.fatal_error is not None:
            raise self.fatal_error

    def open(self) -> None:
        """Start the servers and the thread that watches them."""
        atexit.register(self.stop)
        try:
            self._bring_up(_FIRST_ATTEMPTS)
        except BaseException:
            self.stop()
            raise
        self._watcher.start()

    def stop(self) -> None:
        """Stop the servers on all nodes. A second call does nothing."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        atexit.unregister(self.stop)
        if self._watcher.is_alive() and self._watcher is not threading.current_thread():
            self._watcher.join(_JOIN_TIMEOUT_S)  # it may be in the middle of a restart
        self._proxy.stop()
        self.nodes.stop()

    # --- starting

    def _bring_up(self, attempts: int) -> None:
        """Start all servers until they are healthy; raise SdgError or TryAgain when all attempts fail."""
        for left in reversed(range(attempts)):
            try:
                ports = self.nodes.start()
                self._checks = [HealthCheck(address, self.nodes.key, self._spec) for address in self._addresses(ports)]
                self._wait_until_healthy()
                return
            except ServerDown as down:
                self.nodes.servers.stop()
                self.nodes.record_event("did not come up", down.why)
                if down.final_error or not left or self._stopped.is_set():
                    error = down.final_error or TryAgain
                    raise error(
                        f"SGLang did not start: {down.why}\nFix what the log reports (or raise start_deadline_s, if it "
                        "only needed longer), then run again: finished requests are kept."
                    ) from None

    def _addresses(self, ports: list[list[int]]) -> list[str]:
        """Return http://host:port of every server, by server number."""
        found = {
            part.server: f"http://{self.nodes.group.hosts[rank] if rank else '127.0.0.1'}:"
            f"{ports[rank][command_lines.PORTS_PER_PART * number]}"
            for rank, parts in enumerate(command_lines.layout(self._spec, self.nodes.group.num_nodes))
            for number, part in enumerate(parts)
            if part.node_rank == 0
        }
        return [found[number] for number in sorted(found)]

    def _wait_until_healthy(self) -> None:
        """Wait until every server answers, and answers correctly; then open the proxy."""
        end = time.monotonic() + self._spec.deadline_s
        for check in self._checks:
            self._wait_for(check.is_up, end)
            self._check_canary(check.server)
        port = int(self._checks[0].address.rpartition(":")[2])
        if len(self._checks) > 1:
            (port,) = free_ports(1)
            self.nodes.servers.start_router(port, [check.address for check in self._checks])
            router = Server(f"http://127.0.0.1:{port}/v1", self._spec.served_model, "sglang", self.nodes.key)
            self._wait_for(lambda: is_up(router), end)
            self._check_canary(router)
        self._proxy.open(port)
        self._up_since = time.monotonic()
        self.nodes.record_event("up")

    def _wait_for(self, ready: Callable[[], bool], end: float) -> None:
        while not ready():
            if time.monotonic() > end:
                why = f"it was still loading after {self._spec.deadline_s:g} s. {self.nodes.servers.describe_log()}"
                raise ServerDown(why, TryAgain)
            self._poll()

    def _check_canary(self, server: Server) -> None:
        if wrong := ask_canary(server, self._spec):
            raise ServerDown(f"{wrong}. {self.nodes.servers.describe_log()}")

    # --- watching

    def _watch(self) -> None:
        """React to processes that die and servers that generate no tokens, until stopped."""
        due = time.monotonic() + self._spec.check_every_s
        while not self._stopped.is_set():
            try:
                self._poll()
                if time.monotonic() >= due:
                    self._check_health()
                    due = time.monotonic() + self._spec.check_every_s
            except ServerDown as down:
                if self._stopped.is_set() or not self._restart(down):
                    return
            except Exception as error:
                self._give_up(error)
                return

    def _poll(self) -> None:
        """Wait half a second; raise ServerDown when a process of any node has exited, or `stop` was called."""
        self.nodes.poll()
        if self._stopped.is_set():
            raise ServerDown("stopped")

    def _check_health(self) -> None:
        for check in self._checks:
            if check.count_misses() >= self._spec.max_misses:
                raise ServerDown(
                    f"{check.address} generated no token in {self._spec.max_misses} checks, "
                    f"{self._spec.check_every_s:g} s apart. {self.nodes.servers.describe_log()}"
                )

    def _restart(self, down: ServerDown) -> bool:
        """Close the proxy and restart all servers; return False when that fails or no restarts are left."""
        try:
            self._proxy.close()
            self.nodes.record_event("down", down.why)
            if time.monotonic() - self._up_since > _STABLE_S:
                self._restarts = 0
            left, before = self._spec.max_restarts - self._restarts, self.nodes.attempt
            if left <= 0:
                raise TryAgain(
                    f"SGLang went down again after {self._restarts} restarts: {down.why}\nRun again to resume: "
                    "finished requests are kept."
                )
            self._bring_up(left)
            self._restarts += self.nodes.attempt - before
        except Exception as error:
            self._give_up(error)
        return self.fatal_error is None

    def _give_up(self, error: Exception) -> None:
        """Let `check` raise this error; also a bug of the watch itself, since no server may run without a watch."""
        if isinstance(error, SdgError):
            self.fatal_error, why = error, ""
        else:
            why = f"The supervision of SGLang failed: {type(error).__name__}: {error}"
            self.fatal_error = TryAgain(why)
        with suppress(SdgError):
            self.nodes.record_event("given up", why)
