"""What we say to SGLang: which node runs what, every command line against SGLang's own options, and what is refused.

accepted_options.json is recorded from SGLang's own parsers; tests/sglang/test_arguments.py parses the same command
lines with them and sees to it that the record is the present one.
"""

import json
import re
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from sdg_helpers.cluster.jobs import Jobs, JobSpec
from sdg_helpers.cluster.server_checks import find_misfit
from sdg_helpers.errors import SdgError
from sdg_helpers.profiles import Profile, Servers
from sdg_helpers.runs.run import Run
from sdg_helpers.serving.server_specs import SglangSpec
from sdg_helpers.serving.sglang import command_lines
from sdg_helpers.serving.sglang.command_lines import Part, layout
from tests.helpers.sglang_commands import commands

ACCEPTED = json.loads((Path(__file__).parent / "sglang" / "accepted_options.json").read_text())


@pytest.mark.parametrize(
    ("servers", "nodes", "tp_size", "expected"),
    [
        (1, 1, 8, [[Part(0, 0, 1, 0, 0)]]),
        (1, 2, 16, [[Part(0, 0, 2, 0, 0)], [Part(0, 1, 2, 0, 0)]]),
        (2, 1, 4, [[Part(0, 0, 1, 0, 0), Part(1, 0, 1, 0, 4)]]),
        (2, 2, 8, [[Part(0, 0, 1, 0, 0)], [Part(1, 0, 1, 1, 0)]]),
        (4, 2, 4, [[Part(0, 0, 1, 0, 0), Part(1, 0, 1, 0, 4)], [Part(2, 0, 1, 1, 0), Part(3, 0, 1, 1, 4)]]),
        (2, 4, 16, [[Part(0, 0, 2, 0, 0)], [Part(0, 1, 2, 0, 0)], [Part(1, 0, 2, 2, 0)], [Part(1, 1, 2, 2, 0)]]),
    ],
)
def test_layout_of_servers_on_nodes(servers, nodes, tp_size, expected):
    assert layout(SglangSpec(model="m", num_servers=servers, tp_size=tp_size), nodes) == expected


@pytest.mark.parametrize(
    ("servers", "nodes", "tp_size", "said"),
    [
        (3, 2, 8, "num_servers must divide, or be a multiple of, the job's 2 nodes; it is 3"),
        (1, 3, 8, "tp_size must be a multiple of the 3 nodes of each server; it is 8"),
    ],
)
def test_layouts_that_do_not_fit_the_job_are_rejected(servers, nodes, tp_size, said):
    with pytest.raises(SdgError, match=said):
        layout(SglangSpec(model="m", num_servers=servers, tp_size=tp_size), nodes)


@pytest.mark.parametrize(
    ("jobs", "server", "said"),
    [
        ({"nodes": 2, "gpus_per_node": 8}, {"tp_size": 16}, ""),
        ({"nodes": 2, "gpus_per_node": 8}, {"tp_size": 4, "num_servers": 4}, ""),
        ({"nodes": 2}, {"tp_size": 16}, ""),  # a whole node, however many GPUs it has
        (
            {"nodes": 1, "gpus_per_node": 8},
            {"tp_size": 16},
            "tp_size 16 × num_servers 1 on 1 nodes needs 16 GPUs a node, but gpus_per_node is 8.",
        ),
        (
            {"nodes": 2, "gpus_per_node": 8},
            {"tp_size": 4, "num_servers": 3},
            "num_servers must divide, or be a multiple of, the job's 2 nodes; it is 3.",
        ),
    ],
)
def test_servers_that_do_not_fit_their_job_are_refused_early(jobs, server, said, tmp_path):
    spec, jobs = SglangSpec(model="m", **server), {"where": "slurm", **jobs}
    assert find_misfit(JobSpec(**jobs), spec) == said
    profile = Profile(servers=Servers(solver=spec), jobs=Jobs(generate=JobSpec(**jobs)))
    run = Run("run", tmp_path, profile)
    if said:
        with pytest.raises(SdgError, match=re.escape(f"jobs of generate: {said} Nothing was submitted")):
            run.jobs("generate")
    else:
        assert run.jobs("generate") == profile.jobs.spec("generate")


@pytest.mark.parametrize("name", commands("key.yaml"))
def test_sglang_has_every_option_that_we_use(name):
    _, dash_m, module, *words = commands("key.yaml")[name]
    assert dash_m == "-m"
    options, position = ACCEPTED[module], 0
    while position < len(words):
        option, equals, value = words[position].partition("=")
        takes, allowed = options[option]  # a KeyError names the option that SGLang does not have
        position += 1
        values = [value] if equals else []
        while takes != "none" and not equals and position < len(words) and not words[position].startswith("--"):
            values.append(words[position])
            position += 1
        assert len(values) == {"none": 0, "one": 1}.get(takes, max(1, len(values))), (option, values)
        assert allowed is None or set(values) <= set(allowed), (option, values)


def test_nodes_of_one_server_differ_only_in_their_rank():
    first, second = (words for name, words in commands("key.yaml").items() if "solver" in name)
    assert [(a, b) for a, b in zip(first, second, strict=True) if a != b] == [("0", "1")]
    assert second[second.index("1") - 1] == "--node-rank"
    said = " ".join(first)
    for words in (
        "--tp-size 16",
        "--nnodes 2",
        "--dist-init-addr n1:29500",
        "--dist-timeout 7200",
        "--load-format sharded_state",
        "--context-length 34768",
        "--reasoning-parser deepseek-r1",
        "--served-model-name deepseek-ai/DeepSeek-R1-0528",
        "--enable-metrics --trust-remote-code",
    ):
        assert words in said


def test_context_length_is_omitted_by_default():
    assert "--context-length" not in commands("key.yaml")["least, rank 0, server 0"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"extra_args": ["--tp-size", "4"]}, "--tp-size is set by the cookbook and not allowed here; key: tp_size"),
        (
            {"extra_args": ["--api-key=abc"]},
            "--api-key=abc is set by the cookbook and not allowed here; key: none, every job",
        ),
        ({"extra_args": "--x"}, "valid list"),
        ({"canary_expects": "("}, "not a valid regular expression: '\\('"),
        ({"slots": 4}, "slots\n +Extra inputs are not permitted"),
        ({"mem_fraction_static": 1.5}, "less than 1"),
        ({"tp_size": 0}, "greater than 0"),
        ({"max_restarts": -1}, "greater than or equal to 0"),
        ({"tp-size": 1}, "tp-size"),
    ],
)
def test_invalid_settings_are_rejected(values, said):
    with pytest.raises(ValidationError, match=said):
        SglangSpec(**{"model": "m", **values})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"python": "/nowhere/bin/python"},
            "SGLang is not installed for /nowhere/bin/python",
        ),
        ({"python": sys.executable}, "SGLang is not installed for .*pip install sglang"),
    ],
)
def test_interpreter_without_sglang_is_rejected_early(values, said):
    with pytest.raises(SdgError, match=said):
        command_lines.check_installed(SglangSpec(model="m", **values))


def test_missing_model_folder_is_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr(command_lines, "_VERSION", "print(1)")
    with pytest.raises(SdgError, match="there is no config.json in .*/model"):
        command_lines.check_installed(SglangSpec(model=f"{tmp_path}/model"))
    command_lines.check_installed(SglangSpec(model="org/name"))


def test_sglang_gets_a_clean_environment(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/ours")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    theirs = command_lines.environment_of(SglangSpec(model="m", python="/x", environment={"A": "1"}))
    assert "PYTHONPATH" not in theirs and theirs["CUDA_VISIBLE_DEVICES"] == "0,1" and theirs["A"] == "1"
    assert command_lines.environment_of(SglangSpec(model="m"))["PYTHONPATH"] == "/ours"
