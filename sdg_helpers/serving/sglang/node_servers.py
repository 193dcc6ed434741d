"""The server processes of one node of a job: started together, looked at, ended together."""

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
from sdg_helpers.errors import SdgError
from sdg_helpers.processes import free_ports
from sdg_helpers.serving.server_specs import SglangSpec
from sdg_helpers.serving.sglang import command_lines, die_with_owner

_TAIL_LINES = 25
_CONFIG_S = 60  # what a shared file system may take to show the key's file to another node
_ENDS_S = 30
USAGE = 2  # the status of a program that does not understand its command line


@dataclass
class _Process:
    name: str
    guard: subprocess.Popen
    log: Path
    begin: int  # bytes of the log that were there before


class Node:
    """This node's part of a job's servers. Logs: FOLDER/sglang-JOB-rankR-….log, for their user only, because SGLang
    writes its key into them."""

    def __init__(self, spec: SglangSpec, folder: Path, group: Group):
        self._spec, self._folder, self._group = spec, folder, group
        self._parts = command_lines.layout(spec, group.num_nodes)[group.rank]
        self._processes: list[_Process] = []
        self._key = ""
        self.name = f"sglang-{os.environ.get('SLURM_JOB_ID') or f'{socket.gethostname()}-{os.getpid()}'}"

    @property
    def log(self) -> Path:
        """The log of this node's first process."""
        return self._log(f"server{self._parts[0].server}")

    def free_ports(self) -> list[int]:
        """Ports of this node for its parts: sglang.PORTS_A_PART for each."""
        return free_ports(command_lines.PORTS_A_PART * len(self._parts))

    def start(self, ports: list[list[int]], config: Path, shard_to: Path | None = None) -> None:
        """Start all parts. ports: by rank, as every node offered them; config: the private file with the key; shard_to:
        write the model there instead of serving it."""
        self._key = _key(config)
        for number, part in enumerate(self._parts):
            mine = ports[self._group.rank][command_lines.PORTS_A_PART * number :]
            met_at = self._group.head if part.head == 0 else self._group.hosts[part.head]
            # only what the first rank must reach over the network listens there
            host = "0.0.0.0" if part.node_rank == 0 and self._group.rank else "127.0.0.1"
            command = command_lines.server_command(
                self._spec, part, host=host, port=mine[0], meet_at=f"{met_at}:{ports[part.head][1]}", config=config
            )
            name = f"server{part.server}" if shard_to is None else "shard"
            self._run(name, command if shard_to is None else command_lines.shard_command(command, shard_to))

    def start_router(self, port: int, servers: list[str]) -> None:
        """Start the router in front of several servers; it ends with the others."""
        (metrics_port,) = free_ports(1)
        self._run(
            "router", command_lines.router_command(self._spec, port=port, metrics_port=metrics_port, servers=servers)
        )

    def dead(self) -> tuple[str, int] | None:
        """What is known of a process that has ended, with the end of its log, and its status; None while all live."""
        for process in self._processes:
            status = process.guard.poll()
            if status is not None:
                where = f"rank {self._group.rank} on {self._group.hosts[self._group.rank]}"
                return f"{process.name} of {where} ended with status {status}. {self._tail(process)}", status
        return None

    def tail(self) -> str:
        """The end of the first process's log."""
        return self._tail(self._processes[0]) if self._processes else ""

    def stop(self) -> None:
        """End every process and wait until they are gone."""
        processes, self._processes = self._processes, []
        for process in processes:
            process.guard.terminate()
        for process in processes:
            try:
                process.guard.wait(_ENDS_S)
            except subprocess.TimeoutExpired:
                process.guard.kill()  # the server ends with its guard
                process.guard.wait()

    def _run(self, name: str, command: list[str]) -> None:
        log = self._log(name)
        with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as out:
            begin = out.tell()
            # a session of its own: an interrupt in Jupyter or a closed terminal is not meant for the server
            child = subprocess.Popen(
                [sys.executable, "-I", die_with_owner.__file__, str(os.getpid()), "--", *command],
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=command_lines.environment_of(self._spec),
            )
        self._processes.append(_Process(name, child, log, begin))

    def _log(self, name: str) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / f"{self.name}-rank{self._group.rank}-{name}.log"

    def _tail(self, process: _Process) -> str:
        with open(process.log, "rb") as log:
            log.seek(max(process.begin, log.seek(0, os.SEEK_END) - (1 << 16)))
            lines = log.read().decode("utf-8", "replace").replace(self._key, "(key)").splitlines()[-_TAIL_LINES:]
        return f"The end of its log, {process.log}:\n  " + "\n  ".join(line[:300] for line in lines)


def _key(config: Path) -> str:
    end = time.monotonic() + _CONFIG_S
    while (found := files.read_json(config)) is None:
        if time.monotonic() > end:
            raise SdgError(
                f"{config}: expected the file that the first rank left there, found none on "
                f"{socket.gethostname()}. Is the run's folder on a file system that all nodes share?"
            )
        os.listdir(config.parent)  # makes a network file system look again
        time.sleep(0.3)
    return found["api-key"]
