"""SGLang's command lines: which node of a job runs which part of which server, and with which options."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdg_helpers.errors import SdgError
from sdg_helpers.serving.server_specs import SglangSpec
from sdg_helpers.serving.sglang import shard_script
from sdg_helpers.serving.sglang.sharded import check_sharded

FILE_BYTES = 5 << 30  # larger shards are split into several files
_VERSION = "from importlib.metadata import version; print(version('sglang'))"


@dataclass(frozen=True)
class Part:
    """One process of SGLang: node `node_rank` of the `nnodes` of server number `server`.

    head: the rank within the job of the server's first node; first_gpu: the first GPU it uses on this node.
    """

    server: int
    node_rank: int
    nnodes: int
    head: int
    first_gpu: int


def layout(spec: SglangSpec, num_nodes: int) -> list[list[Part]]:
    """Return the parts that each node of a job runs, by rank: one server over several nodes, or several on each.

    Raises SdgError when the servers cannot be divided among the nodes, or a server's GPUs among its nodes.
    """
    servers = spec.num_servers
    if servers % num_nodes and num_nodes % servers:
        raise SdgError(f"num_servers must divide, or be a multiple of, the job's {num_nodes} nodes; it is {servers}.")
    span, servers_per_node = max(1, num_nodes // servers), max(1, servers // num_nodes)
    if spec.tp_size % span:
        raise SdgError(f"tp_size must be a multiple of the {span} nodes of each server; it is {spec.tp_size}.")
    parts: list[list[Part]] = []
    for rank in range(num_nodes):
        head = rank - rank % span
        parts.append(
            [
                Part(rank // span * servers_per_node + number, rank - head, span, head, number * spec.tp_size // span)
                for number in range(servers_per_node)
            ]
        )
    return parts


def server_command(spec: SglangSpec, part: Part, *, host: str, port: int, meet_at: str, config: Path) -> list[str]:
    """Return the command of one part.

    meet_at: host:port where the nodes of the server find each other; config: a private file with the key, because every
    user of a node can read command lines.
    """
    options: dict[str, Any] = {
        "--config": config,
        "--model-path": model_path(spec),
        "--served-model-name": spec.served_model,
        "--tp-size": spec.tp_size,
        "--load-format": spec.load_format,
        "--host": host,
        "--port": port,
    }
    if spec.context_length:
        options["--context-length"] = spec.context_length
    if spec.reasoning_parser:
        options["--reasoning-parser"] = spec.reasoning_parser
    if spec.mem_fraction_static:
        options["--mem-fraction-static"] = spec.mem_fraction_static
    if part.first_gpu:
        options["--base-gpu-id"] = part.first_gpu
    if part.nnodes > 1:
        options |= {
            "--nnodes": part.nnodes,
            "--node-rank": part.node_rank,
            "--dist-init-addr": meet_at,
            "--dist-timeout": spec.dist_timeout_s,
        }
    return [
        python_of(spec),
        "-m",
        "sglang.launch_server",
        *(str(word) for pair in options.items() for word in pair),
        "--enable-metrics",
        *spec.extra_args,
    ]


def shard_command(command: list[str], folder: Path) -> list[str]:
    """Turn a part's command into one that loads the model and writes it to `folder`, one shard per rank."""
    python, _, _, *words = command
    return [python, shard_script.__file__, str(folder), str(FILE_BYTES), *words]


def model_path(spec: SglangSpec) -> str:
    """Return the model's folder or name, as SGLang expects it."""
    return str(Path(spec.model).expanduser()) if spec.model.startswith("~") else spec.model


def python_of(spec: SglangSpec) -> str:
    """Return the Python interpreter of SGLang's environment."""
    return str(Path(spec.python).expanduser()) if spec.python else sys.executable


def environment_of(spec: SglangSpec) -> dict[str, str]:
    """Return the environment variables of SGLang's processes: this process's, without those for its own interpreter."""
    foreign = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"} if spec.python else set()
    own = {name: value for name, value in os.environ.items() if name not in foreign}
    return {**own, "PYTHONUNBUFFERED": "1", **spec.environment}


def check_installed(spec: SglangSpec) -> str:
    """Return SGLang's version.

    Raises SdgError, before anything is started, when SGLang or the model's folder is missing, or when a sharded model
    has another tp_size.
    """
    python, model = python_of(spec), Path(model_path(spec))
    found = None
    if os.access(python, os.X_OK):
        found = subprocess.run([python, "-c", _VERSION], env=environment_of(spec), capture_output=True, text=True)
    if found is None or found.returncode:
        raise SdgError(
            f"python: SGLang is not installed for {python}. Set python to bin/python of SGLang's environment, or "
            "install it there: pip install sglang."
        )
    if spec.model.startswith(("/", "~", ".")) and not (model / "config.json").is_file():
        raise SdgError(
            f"model: there is no config.json in {model}. Download the model first (stage 02), or correct the path; "
            "every node must see this folder."
        )
    if spec.load_format == "sharded_state":
        check_sharded(model, spec.tp_size)
    return found.stdout.strip()
