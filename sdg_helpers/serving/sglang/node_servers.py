"""The server processes of one node of a job, started and stopped together."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from sdg_helpers import files
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
    """This node's part of a job's servers.

    Logs are FOLDER/sglang-JOB-rankR-….log, readable by their owner only, because SGLang writes its key into them.
    """

    def __init__(self, spec: SglangSpec, folder: Path, group: Group):
        self._spec, self._folder, self._group = spec, folder, group
        self._parts = command_lines.layout(spec, group.num_nodes)[group.rank]
        self._processes: list[_Process] = []
        self._key = ""
        self.name = f"sglang-{os.environ.get('SLURM_JOB_ID') or f'{socket.gethostname()}-{os.getpid()}'}"

    @property
    def log(self) -> Path:
        """The log of this node's first server."""
        return self._log_path(f"server{self._parts[0].server}")

    def free_ports(self) -> list[int]:
        """Return free ports of this node, PORTS_PER_PART for each of its parts."""
        return free_ports(command_lines.PORTS_PER_PART * len(self._parts))

    def start(self, ports: list[list[int]], config: Path, shard_from: Path | None = None) -> None:
        """Start all parts.

        ports: each node's free ports, by rank; config: the private file with the key; shard_from: load this model and
        write it, sharded, to the spec's model folder, instead of serving that.
        """
        self._key, spec = _read_key(config), self._spec
        if shard_from:
            spec = spec.model_copy(update={"model": str(shard_from), "load_format": "auto"})
        for number, part in enumerate(self._parts):
            mine = ports[self._group.rank][command_lines.PORTS_PER_PART * number :]
            head = self._group.head if part.head == 0 else self._group.hosts[part.head]
            # listen on the network only where the first rank must connect from another node
            host = "0.0.0.0" if part.node_rank == 0 and self._group.rank else "127.0.0.1"
            command = command_lines.server_command(
                spec, part, host=host, port=mine[0], meet_at=f"{head}:{ports[part.head][1]}", config=config
            )
            if shard_from:
                self._run("shard", command_lines.shard_command(command, Path(command_lines.model_path(self._spec))))
            else:
                self._run(f"server{part.server}", command)

    def start_router(self, port: int, servers: list[str]) -> None:
        """Start the router in front of several servers; `stop` stops it too."""
        (metrics_port,) = free_ports(1)
        self._run(
            "router", command_lines.router_command(self._spec, port=port, metrics_port=metrics_port, servers=servers)
        )

    def find_exited(self) -> tuple[str, int] | None:
        """Return (description with the end of its log, exit code) of a process that exited; None while all run."""
        for process in self._processes:
            status = process.wrapper.poll()
            if status is not None:
                where = f"rank {self._group.rank} on {self._group.hosts[self._group.rank]}"
                return f"{process.name} of {where} exited with status {status}. {self._describe_log(process)}", status
        return None

    def describe_log(self) -> str:
        """Return the end of the first process's log, for an error."""
        return self._describe_log(self._processes[0]) if self._processes else ""

    def stop(self) -> None:
        """Stop every process and wait for them to exit."""
        processes, self._processes = self._processes, []
        for process in processes:
            process.wrapper.terminate()
        for process in processes:
            try:
                process.wrapper.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.wrapper.kill()  # the server dies with its wrapper
                process.wrapper.wait()

    def _run(self, name: str, command: list[str]) -> None:
        log = self._log_path(name)
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
        self._processes.append(_Process(name, child, log, log_start))

    def _log_path(self, name: str) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / f"{self.name}-rank{self._group.rank}-{name}.log"

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
