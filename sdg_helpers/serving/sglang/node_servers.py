"""The server processes of one node of a job."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from sdg_helpers import files
from sdg_helpers.cluster import this_job
from sdg_helpers.cluster.ranks import Group
from sdg_helpers.completions.redaction import Redactor
from sdg_helpers.errors import SdgError
from sdg_helpers.processes import free_ports
from sdg_helpers.serving.server_specs import SglangSpec
from sdg_helpers.serving.sglang import command_lines, die_with_owner

_TAIL_LINES = 25
_CONFIG_S = 60  # a shared file system may show the key file to another node this late
_STOP_TIMEOUT_S = 30
USAGE_ERROR = 2  # exit code of a program that rejects its command line


@dataclass
class _Process:
    name: str
    wrapper: subprocess.Popen[bytes]  # die_with_owner
    log: Path
    log_start: int  # size of the log before this process started


class NodeServers:
    """This node's parts of a job's servers, by the number of their server. A node has at most one part of each.

    Logs are FOLDER/sglang-JOB-rankR-….log, readable by their owner only, because SGLang writes its key into them.
    """

    def __init__(self, spec: SglangSpec, folder: Path, group: Group):
        self._spec, self._folder, self._group = spec, folder, group
        self.parts = {part.server: part for part in command_lines.layout(spec, group.num_nodes)[group.rank]}
        self._processes: dict[int, _Process] = {}
        self._key = ""
        self.name = f"sglang-{this_job.slurm_id() or f'{socket.gethostname()}-{os.getpid()}'}"

    def free_ports(self) -> list[int]:
        """Return free ports of this node for one part: for HTTP, and where the nodes of a server meet."""
        return free_ports(2)

    def start(self, server: int, ports: list[list[int]], config: Path, shard_from: Path | None = None) -> None:
        """Start this node's part of a server.

        ports: `free_ports` of each node of the server, by node rank; config: the private file with the key; shard_from:
        load this model and write it, sharded, to the spec's model folder, instead of serving that.
        """
        self._key, spec, part = _read_key(config), self._spec, self.parts[server]
        if shard_from:
            spec = spec.model_copy(update={"model": str(shard_from), "load_format": "auto"})
        head = self._group.head if part.head == 0 else self._group.hosts[part.head]
        # listen on the network only where the first rank must connect from another node
        host = "0.0.0.0" if part.node_rank == 0 and self._group.rank else "127.0.0.1"
        command = command_lines.server_command(
            spec, part, host=host, port=ports[part.node_rank][0], meet_at=f"{head}:{ports[0][1]}", config=config
        )
        if shard_from:
            command = command_lines.shard_command(command, Path(command_lines.model_path(self._spec)))
        self._processes[server] = self._run(f"server{server}" if shard_from is None else "shard", command)

    def find_exited(self, server: int) -> tuple[str, int] | None:
        """Return (description with the end of its log, exit code) of a part that exited; None while it runs."""
        process = self._processes.get(server)
        status = process.wrapper.poll() if process else None
        if process is None or status is None:
            return None
        where = f"rank {self._group.rank} on {self._group.hosts[self._group.rank]}"
        return f"{process.name} of {where} exited with status {status}. {self._describe_log(process)}", status

    def describe_log(self, server: int) -> str:
        """Return the end of a part's log, for an error; "" when it has none here."""
        process = self._processes.get(server)
        return self._describe_log(process) if process else ""

    def stop(self, server: int) -> None:
        """Stop this node's part of a server, if it runs, and wait for its exit."""
        if (process := self._processes.pop(server, None)) is None:
            return
        process.wrapper.terminate()
        try:
            process.wrapper.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.wrapper.kill()  # the server dies with its wrapper
            process.wrapper.wait()

    def stop_all(self) -> None:
        """Stop every part, and wait for their exits."""
        for process in list(self._processes.values()):
            process.wrapper.terminate()
        for server in list(self._processes):
            self.stop(server)

    def _run(self, name: str, command: list[str]) -> _Process:
        log = self.log_path(name, self._group.rank)
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as out:
            log_start = out.tell()
            # a new session: an interrupt in Jupyter or a closed terminal must not reach the server
            child = subprocess.Popen(
                [sys.executable, "-I", die_with_owner.__file__, str(os.getpid()), "--", *command],
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=command_lines.environment_of(self._spec),
            )
        return _Process(name, child, log, log_start)

    def log_path(self, name: str, rank: int) -> Path:
        """Return the log of a process, such as "server0", on the node of this rank."""
        return self._folder / f"{self.name}-rank{rank}-{name}.log"

    def _describe_log(self, process: _Process) -> str:
        lines = files.read_tail(process.log, _TAIL_LINES, process.log_start, Redactor([self._key]).hide)
        return f"The end of its log, {process.log}:\n  " + "\n  ".join(lines)


def _read_key(config: Path) -> str:
    end = time.monotonic() + _CONFIG_S
    while (found := files.read_json(config)) is None:
        if time.monotonic() > end:
            raise SdgError(
                f"{config}: the first rank wrote this file, but it does not exist on {socket.gethostname()}. Put the "
                "run's folder on a file system that all nodes share."
            )
        os.listdir(config.parent)  # makes a network file system refresh its cache
        time.sleep(0.3)
    return found["api-key"]
