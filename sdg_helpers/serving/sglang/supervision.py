"""A job's SGLang servers: opened by the first rank, shared by all users in its process, stopped with the last one."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from sdg_helpers.cluster import ranks
from sdg_helpers.cluster.ranks import Group
from sdg_helpers.errors import SdgError
from sdg_helpers.serving.server import Server
from sdg_helpers.serving.server_specs import SglangSpec
from sdg_helpers.serving.sglang import command_lines, job_nodes
from sdg_helpers.serving.sglang.job_nodes import JobNodes
from sdg_helpers.serving.sglang.local_copies import use_local_copy
from sdg_helpers.serving.sglang.model_copy import ModelCopy

_POLL_S = 0.1
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
        servers, users = JobServers(use_local_copy(spec, group), folder.absolute(), group), 0
        servers.open()
    _open[key] = servers, users + 1
    return servers.server(partial(_release, key))


def follow_sglang(spec: SglangSpec, folder: Path) -> None:
    """Run this node's parts, on every rank but the first, until the first rank says that the work is done."""
    group = ranks.current()
    job_nodes.follow(use_local_copy(spec, group), folder.absolute(), group)


def _release(key: tuple[str, str]) -> None:
    servers, users = _open.pop(key, (None, 0))
    if servers is not None and users > 1:
        _open[key] = servers, users - 1
    elif servers is not None:
        servers.stop()


class JobServers:
    """All copies of the model in a job, supervised from its first rank. One that fails is restarted alone."""

    def __init__(self, spec: SglangSpec, folder: Path, group: Group):
        self.nodes = JobNodes(spec, folder, group)
        self._stopped = threading.Event()
        self._copies = [ModelCopy(number, self.nodes, self._stopped) for number in range(spec.num_servers)]

    @property
    def fatal_error(self) -> SdgError | None:
        """Why a copy is down for good, if one is."""
        return next((copy.fatal_error for copy in self._copies if copy.fatal_error), None)

    def server(self, stop: Callable[[], None]) -> Server:
        """Return the handle that a stage works with; the client spreads its requests over all copies."""
        first, *others = (copy.server() for copy in self._copies)
        return replace(first, others=tuple(others), _check=self.check, _stop=stop)

    def check(self) -> None:
        """Raise the error that took a copy down for good, if any."""
        if error := self.fatal_error:
            raise error

    def open(self) -> None:
        """Start all copies, each with a thread that watches it; return once all are healthy.

        Raises SdgError or TryAgain when one of them is not.
        """
        atexit.register(self.stop)
        try:
            for copy in self._copies:
                copy.thread.start()
            while not all(copy.healthy.wait(_POLL_S) for copy in self._copies):
                self.check()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the servers on all nodes. A second call does nothing."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        atexit.unregister(self.stop)
        for copy in self._copies:
            copy.stop()
        self.nodes.stop()
