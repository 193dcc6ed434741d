"""In SGLang's environment, what its own parsers say: `python parse.py options` prints every option that they have,
`python parse.py commands < LIST.json` parses command lines (without the interpreter) and prints what was understood."""

import argparse
import json
import sys


def parsers():
    """SGLang's own parsers, by the module that a command runs."""
    from sglang.srt.server_args import ServerArgs
    from sglang_router.router_args import RouterArgs

    found = {name: argparse.ArgumentParser() for name in ("sglang.launch_server", "sglang_router.launch_router")}
    ServerArgs.add_cli_args(found["sglang.launch_server"])
    RouterArgs.add_cli_args(found["sglang_router.launch_router"], use_router_prefix=False)
    return found


def options():
    """Module -> option -> how many values it takes ("one", "many", "none") and which are allowed (null: any)."""
    found = {}
    for module, parser in parsers().items():
        found[module] = {
            name: [takes(action), sorted(map(str, action.choices)) if action.choices else None]
            for action in parser._actions
            for name in action.option_strings
            if name.startswith("--")
        }
    return found


def takes(action):
    return {0: "none", None: "one"}.get(action.nargs, "many")


def parsed(command):
    """What SGLang understands a command as; it exits with status 2 for one that it does not."""
    module, words = command[1], command[2:]
    if module == "sglang.launch_server":
        from sglang.srt.server_args import prepare_server_args

        understood = prepare_server_args(words)
        return {
            name: getattr(understood, name)
            for name in (
                "model_path",
                "served_model_name",
                "tp_size",
                "load_format",
                "host",
                "port",
                "context_length",
                "nnodes",
                "node_rank",
                "dist_init_addr",
                "dist_timeout",
                "reasoning_parser",
                "mem_fraction_static",
                "base_gpu_id",
                "enable_metrics",
                "api_key",
                "trust_remote_code",
            )
        }
    parser = parsers()[module]
    return {
        name: value
        for name, value in vars(parser.parse_args(words)).items()
        if name
        in (
            "host",
            "port",
            "worker_urls",
            "policy",
            "disable_retries",
            "request_timeout_secs",
            "prometheus_port",
            "prometheus_host",
        )
    }


if __name__ == "__main__":
    told = options() if sys.argv[1] == "options" else [parsed(command) for command in json.load(sys.stdin)]
    print(json.dumps(told, sort_keys=True))
