"""SGLang command lines for every kind of server that profiles request."""

from sdg_helpers.serving.server_specs import SglangSpec
from sdg_helpers.serving.sglang.command_lines import layout, server_command

SPECS = {
    "least": {"model": "org/name"},
    "the recipe's solver": {
        "model": "/models/DeepSeek-R1-0528-tp16",
        "served_model_name": "deepseek-ai/DeepSeek-R1-0528",
        "tp_size": 16,
        "load_format": "sharded_state",
        "context_length": 34768,
        "reasoning_parser": "deepseek-r1",
        "mem_fraction_static": 0.85,
        "dist_timeout_s": 7200,
        "extra_args": ["--trust-remote-code"],
    },
    "the recipe's judge": {"model": "Qwen/Qwen2.5-32B-Instruct", "tp_size": 8, "context_length": 16384},
    "several on a node": {"model": "Qwen/Qwen2.5-7B-Instruct", "tp_size": 2, "num_servers": 4},
    "odd words": {
        "model": "/a b/ü",
        "served_model_name": "x y",
        "extra_args": [
            "--watchdog-timeout",
            "900",
            "--chunked-prefill-size=-1",
            "--random-seed",
            "7",
            "--enable-deterministic-inference",
            "--json-model-override-args",
            '{"a": 1}',
        ],
    },
}


NODES = {"the recipe's solver": 2}


def commands(config):
    """Return name -> command line for every part of every spec."""
    found = {}
    for name, given in SPECS.items():
        spec = SglangSpec(**given)
        for rank, parts in enumerate(layout(spec, NODES.get(name, 1))):
            for part in parts:
                found[f"{name}, rank {rank}, server {part.server}"] = server_command(
                    spec, part, host="0.0.0.0", port=30000 + part.server, meet_at="n1:29500", config=config
                )
    return found
