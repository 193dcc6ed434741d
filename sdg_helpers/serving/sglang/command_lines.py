"""SGLang's command lines: which node of a job runs which part of which server, and with which words."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sdg_helpers.errors import SdgError
from sdg_helpers.serving.server_specs import SglangSpec
from sdg_helpers.serving.sglang import shard_script
from sdg_helpers.serving.sglang.sharded import check_sharded

PORTS_A_PART = 2  # one for HTTP, one on which the nodes of a server meet
PART_BYTES = 5 << 30  # a larger rank is cut into parts
_VERSION = "from importlib.metadata import version; print(version('sglang'))"


@dataclass(frozen=True)
class Part:
    """What one process of SGLang does: node `node_rank` of `nnodes` of server number `server`. `head`: the rank, within
    the job, of the server's first node; `first_gpu`: of those that the server uses on this node."""

    server: int
    node_rank: int
    nnodes: int
    head: int
    first_gpu: int


def layout(spec: SglangSpec, num_nodes: int) -> list[list[Part]]:
    """The parts that each node of a job runs, by rank: a server over several nodes, or several servers on each.

    Raises SdgError when the servers do not divide among the nodes, or the GPUs of a server among its nodes.
    """
    servers = spec.num_servers
    if servers % num_nodes and num_nodes % servers:
        raise SdgError(
            f"num_servers: expected a divisor or a multiple of the job's {num_nodes} nodes, found {servers}."
        )
    span, on_a_node = max(1, num_nodes // servers), max(1, servers // num_nodes)
    if spec.tp_size % span:
        raise SdgError(f"tp_size: expected a multiple of the {span} nodes that a server has, found {spec.tp_size}.")
    parts: list[list[Part]] = []
    for rank in range(num_nodes):
        head = rank - rank % span
        parts.append(
            [
                Part(rank // span * on_a_node + number, rank - head, span, head, number * spec.tp_size // span)
                for number in range(on_a_node)
            ]
        )
    return parts


def server_command(spec: SglangSpec, part: Part, *, host: str, port: int, meet_at: str, config: Path) -> list[str]:
    """The command of one part. meet_at: host:port where the nodes of the server find each other; config: a private file
    with the key, because everybody on a node can read command lines."""
    given = {
        "--config": config,
        "--model-path": model_path(spec),
        "--served-model-name": spec.served_model,
        "--tp-size": spec.tp_size,
        "--load-format": spec.load_format,
        "--host": host,
        "--port": port,
    }
    if spec.context_length:
        given["--context-length"] = spec.context_length
    if spec.reasoning_parser:
        given["--reasoning-parser"] = spec.reasoning_parser
    if spec.mem_fraction_static:
        given["--mem-fraction-static"] = spec.mem_fraction_static
    if part.first_gpu:
        given["--base-gpu-id"] = part.first_gpu
    if part.nnodes > 1:
        given |= {
            "--nnodes": part.nnodes,
            "--node-rank": part.node_rank,
            "--dist-init-addr": meet_at,
            "--dist-timeout": spec.dist_timeout_s,
        }
    return [
        python_of(spec),
        "-m",
        "sglang.launch_server",
        *(str(word) for pair in given.items() for word in pair),
        "--enable-metrics",
        *spec.extra_args,
    ]


def shard_command(command: list[str], folder: Path) -> list[str]:
    """The command that, in place of a part of a server, loads the same and writes it to `folder`, a file a rank."""
    python, _, _, *words = command
    return [python, shard_script.__file__, str(folder), str(PART_BYTES), *words]


def router_command(spec: SglangSpec, *, port: int, metrics_port: int, servers: list[str]) -> list[str]:
    """The command of the router in front of several servers; servers: their addresses, http://host:port.

    It hands every request on once, with its key: asking again is the client's business, which knows when to stop.
    """
    return [
        python_of(spec),
        "-m",
        "sglang_router.launch_router",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--prometheus-host",
        "127.0.0.1",
        "--prometheus-port",
        str(metrics_port),
        "--disable-retries",
        "--request-timeout-secs",
        "86400",
        "--policy",
        "cache_aware",
        "--worker-urls",
        *servers,
    ]


def model_path(spec: SglangSpec) -> str:
    """The folder or the name of the model, as SGLang is told."""
    return str(Path(spec.model).expanduser()) if spec.model.startswith("~") else spec.model


def python_of(spec: SglangSpec) -> str:
    """The interpreter of the environment that SGLang lives in."""
    return str(Path(spec.python).expanduser()) if spec.python else sys.executable


def environment_of(spec: SglangSpec) -> dict[str, str]:
    """The variables of SGLang's processes: ours, without what is meant for our own interpreter alone."""
    foreign = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"} if spec.python else set()
    own = {name: value for name, value in os.environ.items() if name not in foreign}
    return {**own, "PYTHONUNBUFFERED": "1", **spec.environment}


def check_installed(spec: SglangSpec) -> str:
    """The version of SGLang. Raises SdgError, before anything is started, for a model or an interpreter that is not
    there, and for a sharded model that is not one of this tp_size."""
    python, model = python_of(spec), Path(model_path(spec))
    told = None
    if os.access(python, os.X_OK):
        told = subprocess.run([python, "-c", _VERSION], env=environment_of(spec), capture_output=True, text=True)
    if told is None or told.returncode:
        raise SdgError(
            f"python: expected an interpreter that has SGLang, found none at {python}. Give the path of "
            "bin/python in SGLang's environment, or install it there: pip install sglang."
        )
    if spec.model.startswith(("/", "~", ".")) and not (model / "config.json").is_file():
        raise SdgError(
            f"model: expected a model's folder, found no config.json in {model}. Download it first (stage "
            "02), or mend the path; a node must see it too."
        )
    if spec.load_format == "sharded_state":
        check_sharded(model, spec.tp_size)
    return told.stdout.strip()
