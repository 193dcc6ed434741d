"""A job's SGLang servers as one: started on all nodes, awaited, asked a canary question, watched by the tokens that
they make, and started anew a bounded number of times when they die or fall silent."""

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
from sdg_helpers.serving.sglang.health import Pulse, ask_canary, is_up
from sdg_helpers.serving.sglang.job_nodes import Crew, Down
from sdg_helpers.serving.sglang.proxy import Gate

_JOIN_S = 10
_WELL_S = 3600  # after so long a life, a death is the first one again
_FIRST_TRIES = 2  # before it was ever up: once more, in case a port was taken or a node was slow
_fleets: dict[tuple[str, str], tuple[Fleet, int]] = {}  # what this process has opened, and how often


def open_sglang(spec: SglangSpec, folder: Path) -> Server:
    """Start the job's servers (first rank; the others call follow_sglang), or share those that this process has open.

    Raises SdgError when they cannot run at all, TryAgain when they did not come up.
    """
    group, place = ranks.current(), (spec.model_dump_json(), str(folder.absolute()))
    if group.rank:
        raise SdgError(f"rank {group.rank}: expected serving.follow on every rank but the first, found open_server.")
    fleet, users = _fleets.get(place, (None, 0))
    if fleet is None or fleet.trouble:
        if fleet is not None:
            fleet.stop()  # what is left of one that was given up
            del _fleets[place]
        if group.num_nodes > 1 and _fleets:
            raise SdgError("A job of several nodes has one server at a time: stop it before you open another.")
        command_lines.check_installed(spec)
        fleet, users = Fleet(spec, folder.absolute(), group), 0
        fleet.open()
    _fleets[place] = fleet, users + 1
    return fleet.server(partial(_release, place))


def follow_sglang(spec: SglangSpec, folder: Path) -> None:
    """Every rank but the first: run this node's part until the first rank says that all is done."""
    job_nodes.follow(spec, folder.absolute(), ranks.current())


def _release(place: tuple[str, str]) -> None:
    fleet, users = _fleets.pop(place, (None, 0))
    if fleet is not None and users > 1:
        _fleets[place] = fleet, users - 1
    elif fleet is not None:
        fleet.stop()


class Fleet:
    """All servers of a job, seen from its first rank. When one of them dies, all are started anew."""

    def __init__(self, spec: SglangSpec, folder: Path, group: Group):
        self.trouble: SdgError | None = None  # why there will be no server any more
        self._spec, self._crew, self._gate = spec, Crew(spec, folder, group), Gate()
        self._restarts, self._up_since = 0, 0.0
        self._pulses: list[Pulse] = []
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="server watch", daemon=True)

    def server(self, stop: Callable[[], None]) -> Server:
        """The handle that a stage works with."""
        return Server(
            f"http://127.0.0.1:{self._gate.port}/v1",
            self._spec.served_model,
            "sglang",
            self._crew.key,
            log_path=self._crew.node.log,
            restart_s=self._spec.deadline_s * (self._spec.max_restarts + 1),
            _check=self.check,
            _stop=stop,
        )

    def check(self) -> None:
        """Raise what ended the servers for good, if anything did."""
        if self.trouble is not None:
            raise self.trouble

    def open(self) -> None:
        """Start, and watch from now on."""
        atexit.register(self.stop)
        try:
            self._bring_up(_FIRST_TRIES)
        except BaseException:
            self.stop()
            raise
        self._watcher.start()

    def stop(self) -> None:
        """End the servers on all nodes; a second call does nothing."""
        if self._ended.is_set():
            return
        self._ended.set()
        atexit.unregister(self.stop)
        if self._watcher.is_alive() and self._watcher is not threading.current_thread():
            self._watcher.join(_JOIN_S)  # it may be in the middle of a new start
        self._gate.end()
        self._crew.stop()

    # --- coming up

    def _bring_up(self, tries: int) -> None:
        """Start all until they are well; SdgError or TryAgain after so many tries."""
        for left in reversed(range(tries)):
            try:
                ports = self._crew.start()
                self._pulses = [Pulse(address, self._crew.key, self._spec) for address in self._addresses(ports)]
                self._await()
                return
            except Down as down:
                self._crew.node.stop()
                self._crew.tell("did not come up", down.why)
                if down.end_with or not left or self._ended.is_set():
                    error = down.end_with or TryAgain
                    raise error(
                        f"SGLang did not come up: {down.why}\nMend what the log tells (start_deadline_s, if it "
                        "only needed longer), then run again: nothing that was answered is lost."
                    ) from None

    def _addresses(self, ports: list[list[int]]) -> list[str]:
        """http://host:port of every server, in the order of their numbers."""
        found = {
            part.server: f"http://{self._crew.group.hosts[rank] if rank else '127.0.0.1'}:"
            f"{ports[rank][command_lines.PORTS_A_PART * number]}"
            for rank, parts in enumerate(command_lines.layout(self._spec, self._crew.group.num_nodes))
            for number, part in enumerate(parts)
            if part.node_rank == 0
        }
        return [found[number] for number in sorted(found)]

    def _await(self) -> None:
        """Return when every server answers, and answers rightly; then let the requests in."""
        end = time.monotonic() + self._spec.deadline_s
        for pulse in self._pulses:
            self._until(pulse.is_up, end)
            self._canary(pulse.server)
        port = int(self._pulses[0].address.rpartition(":")[2])
        if len(self._pulses) > 1:
            (port,) = free_ports(1)
            self._crew.node.start_router(port, [pulse.address for pulse in self._pulses])
            router = Server(f"http://127.0.0.1:{port}/v1", self._spec.served_model, "sglang", self._crew.key)
            self._until(lambda: is_up(router), end)
            self._canary(router)
        self._gate.open(port)
        self._up_since = time.monotonic()
        self._crew.tell("up")

    def _until(self, well: Callable[[], bool], end: float) -> None:
        while not well():
            if time.monotonic() > end:
                why = f"it was still loading after {self._spec.deadline_s:g} s. {self._crew.node.tail()}"
                raise Down(why, TryAgain)
            self._look()

    def _canary(self, server: Server) -> None:
        if wrong := ask_canary(server, self._spec):
            raise Down(f"{wrong}. {self._crew.node.tail()}")

    # --- being up

    def _watch(self) -> None:
        """Until the end: act on processes that die and on servers that make no tokens."""
        due = time.monotonic() + self._spec.check_every_s
        while not self._ended.is_set():
            try:
                self._look()
                if time.monotonic() >= due:
                    self._feel_pulses()
                    due = time.monotonic() + self._spec.check_every_s
            except Down as down:
                if self._ended.is_set() or not self._again(down):
                    return
            except Exception as error:
                self._give_up(error)
                return

    def _look(self) -> None:
        """Half a second; raises Down when a process somewhere has ended, or when we are told to stop."""
        self._crew.look()
        if self._ended.is_set():
            raise Down("it was told to stop")

    def _feel_pulses(self) -> None:
        for pulse in self._pulses:
            if pulse.misses() >= self._spec.max_misses:
                raise Down(
                    f"{pulse.address} made no token in {self._spec.max_misses} checks, "
                    f"{self._spec.check_every_s:g} s apart. {self._crew.node.tail()}"
                )

    def _again(self, down: Down) -> bool:
        """Close the gate and start anew, if there are restarts left; else the trouble is for good."""
        try:
            self._gate.close()
            self._crew.tell("down", down.why)
            if time.monotonic() - self._up_since > _WELL_S:
                self._restarts = 0
            left, before = self._spec.max_restarts - self._restarts, self._crew.attempt
            if left <= 0:
                raise TryAgain(
                    f"SGLang went down once more after {self._restarts} restarts: {down.why}\nRun again: "
                    "nothing that was answered is lost."
                )
            self._bring_up(left)
            self._restarts += self._crew.attempt - before
        except Exception as error:
            self._give_up(error)
        return self.trouble is None

    def _give_up(self, error: Exception) -> None:
        """`check` will raise this; a fault of ours too, for no server may go on without its watch."""
        ours = isinstance(error, SdgError)
        self.trouble = error if ours else TryAgain(f"The watch over SGLang broke: {type(error).__name__}: {error}")
        with suppress(SdgError):
            self._crew.tell("given up", "" if ours else str(self.trouble))
