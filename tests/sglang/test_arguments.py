"""Every command line that we build, parsed by SGLang's own parsers; and the record of them that quicker tests use."""

import json
import subprocess
from pathlib import Path

from tests.helpers.sglang_commands import commands

HERE = Path(__file__).resolve().parent
RECORD = HERE / "accepted_options.json"


def ask(python, *arguments, **more):
    done = subprocess.run([python, HERE / "parse.py", *arguments], capture_output=True, text=True, **more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_recorded_options_match_the_installed_sglang(python):
    told = ask(python, "options")
    text = (
        "{\n"
        + ",\n".join(
            f"{json.dumps(module)}: {{\n"
            + ",\n".join(f"{json.dumps(name)}: {json.dumps(one)}" for name, one in sorted(options.items()))
            + "}"
            for module, options in sorted(told.items())
        )
        + "}\n"
    )
    if RECORD.read_text() != text:
        RECORD.write_text(text)
        raise AssertionError(f"SGLang's options have changed: {RECORD.name} is written anew, look at it and commit it")


def test_sglang_parses_our_command_lines(python, tmp_path):
    config = tmp_path / "key.yaml"
    config.write_text('{"api-key": "the-key"}')
    named = commands(str(config))
    told = dict(
        zip(named, ask(python, "commands", input=json.dumps([words[1:] for words in named.values()])), strict=True)
    )
    solver = {rank: told[f"the recipe's solver, rank {rank}, server 0"] for rank in (0, 1)}
    assert solver[1] == {**solver[0], "node_rank": 1}
    assert solver[0] == {
        "model_path": "/models/DeepSeek-R1-0528-tp16",
        "served_model_name": "deepseek-ai/DeepSeek-R1-0528",
        "tp_size": 16,
        "load_format": "sharded_state",
        "host": "0.0.0.0",
        "port": 30000,
        "context_length": 34768,
        "nnodes": 2,
        "node_rank": 0,
        "dist_init_addr": "n1:29500",
        "dist_timeout": 7200,
        "reasoning_parser": "deepseek-r1",
        "mem_fraction_static": 0.85,
        "base_gpu_id": 0,
        "enable_metrics": True,
        "api_key": "the-key",
        "trust_remote_code": True,
    }
    assert [told[f"several on a node, rank 0, server {n}"]["base_gpu_id"] for n in range(4)] == [0, 2, 4, 6]
    assert told["odd words, rank 0, server 0"]["model_path"] == "/a b/ü"
