"""Whether a profile's SGLang servers can run in the jobs that the profile requests for them. Asks no cluster."""

from __future__ import annotations

from pathlib import Path

from sdg_helpers import notebooks
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.errors import SdgError
from sdg_helpers.notebooks import values
from sdg_helpers.profiles import Profile
from sdg_helpers.serving.server_specs import ServerSpec, SglangSpec
from sdg_helpers.serving.sglang.command_lines import layout
from sdg_helpers.serving.sglang.sharded import MANIFEST, check_sharded

SERVER_ROLES = {"generate": "solver", "judge": "judge"}  # role of the jobs -> role of their server
_SHARDING = "math/02_shard_checkpoint"
_ASKING = {  # role of the server -> notebooks that ask it
    "solver": ("math/03_generate_solutions", "code/02_generate_solutions", "science/04_solve_questions"),
    "judge": ("math/04_judge_solutions", "math/06_rejudge_solutions"),
}


def make_row(what: str, found: str, ok: bool, todo: str = "") -> dict[str, str]:
    """Return a row of the check: what, found, ok ("yes" or "no"), and what to do if not."""
    return {"what": what, "found": found, "ok": "yes" if ok else "no", "what to do": "" if ok else todo}


def find_misfit(jobs: JobSpec, server: ServerSpec) -> str:
    """Return why a job of this size cannot run its servers; "" when it can, or when it requests no GPUs by number."""
    if server.engine != "sglang":
        return ""
    try:
        parts = layout(server, jobs.nodes)
    except SdgError as error:
        return str(error)
    needed = max(sum(server.tp_size // part.nnodes for part in node) for node in parts)
    if jobs.gpus_per_node and needed > jobs.gpus_per_node:
        return (
            f"tp_size {server.tp_size} × num_servers {server.num_servers} on {jobs.nodes} nodes needs {needed} GPUs a "
            f"node, but gpus_per_node is {jobs.gpus_per_node}."
        )
    return ""


def check_servers(profile: Profile, roles: list[str]) -> list[dict[str, str]]:
    """Return the rows about the servers of these roles of jobs: size, context, shards."""
    every = notebooks.discover()
    given = values.values_for(every, every, profile)
    rows = []
    for role, name in SERVER_ROLES.items():
        if role in roles and (server := profile.server(name)).engine == "sglang":
            rows.append(_check_size(role, profile.jobs.spec(role), server))
            tokens = {key: given[key]["MAX_TOKENS"] for key in _ASKING[name] if "MAX_TOKENS" in given.get(key, {})}
            if server.context_length and tokens:
                rows.append(_check_context(name, server.context_length, tokens))
            if server.load_format == "sharded_state":
                rows.append(_check_shards(name, server, given.get(_SHARDING, {}).get("TP_SIZE", server.tp_size)))
    return rows


def _check_size(role: str, jobs: JobSpec, server: SglangSpec) -> dict[str, str]:
    misfit = find_misfit(jobs, server)
    return make_row(
        f"servers of {role}: {server.num_servers} × tp_size {server.tp_size} on {jobs.nodes} nodes",
        misfit or (f"{jobs.gpus_per_node} GPUs a node" if jobs.gpus_per_node else "no number of GPUs requested"),
        not misfit,
        f"change tp_size or num_servers of the server, or nodes or gpus_per_node under jobs: {role}",
    )


def _check_context(name: str, context: int, tokens: dict[str, int]) -> dict[str, str]:
    key = max(tokens, key=lambda one: tokens[one])
    return make_row(
        f"context of the {name}: {context} tokens",
        f"{key} has MAX_TOKENS {tokens[key]}, besides the prompt",
        tokens[key] < context,
        "raise context_length of the server (MAX_TOKENS + 2000, so that the prompt fits), or lower MAX_TOKENS",
    )


def _check_shards(name: str, server: SglangSpec, tp_size: int) -> dict[str, str]:
    what, folder = f"shards of the {name} for tp_size {server.tp_size}", Path(server.model).expanduser()
    if tp_size != server.tp_size:
        found = f"{_SHARDING} has TP_SIZE {tp_size}"
        return make_row(what, found, False, f"set tp_size of the server and TP_SIZE of {_SHARDING} to the same value")
    if not (folder / MANIFEST).exists():
        return make_row(what, f"{folder}: not there yet; {_SHARDING} writes them", True)
    try:
        manifest = check_sharded(folder, server.tp_size)
    except SdgError as error:
        return make_row(what, str(error), False, "fix what the error names")
    return make_row(what, f"{folder}: complete, SGLang {manifest['sglang']} loaded them", True)
