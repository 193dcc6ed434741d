"""In SGLang's environment, what its own parser says: `python parse.py options` prints every option that it has,
`python parse.py commands < LIST.json` parses command lines (without the interpreter) and prints what was understood."""

import argparse
import json
import sys


def options():
    """Module -> option -> how many values it takes ("one", "many", "none") and which are allowed (null: any)."""
    from sglang.srt.server_args import ServerArgs

    parser = argparse.ArgumentParser()
    ServerArgs.add_cli_args(parser)
    found = {
        name: [takes(action), sorted(map(str, action.choices)) if action.choices else None]
        for action in parser._actions
        for name in action.option_strings
        if name.startswith("--")
    }
    return {"sglang.launch_server": found}


def takes(action):
    return {0: "none", None: "one"}.get(action.nargs, "many")


def parsed(command):
    """What SGLang understands a command as; it exits with status 2 for one that it does not."""
    from sglang.srt.server_args import prepare_server_args

    understood = prepare_server_args(command[2:])
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


if __name__ == "__main__":
    told = options() if sys.argv[1] == "options" else [parsed(command) for command in json.load(sys.stdin)]
    print(json.dumps(told, sort_keys=True))
