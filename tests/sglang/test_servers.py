"""SGLang itself: served, killed, stopped dead, sharded over two nodes, two copies of a model."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sdg_helpers import files
from sdg_helpers.checkpoints.sharding import shard_checkpoint
from sdg_helpers.cluster import ranks
from sdg_helpers.completions.types import Limits, Sampling
from sdg_helpers.judging.asking import Judge
from sdg_helpers.judging.judge import judge_solutions
from sdg_helpers.prompts import load_prompt
from sdg_helpers.serving.engines import open_server
from sdg_helpers.serving.server import ask
from sdg_helpers.serving.sglang import command_lines
from sdg_helpers.serving.sglang.sharded import check_sharded
from sdg_helpers.solutions.generate import generate_solutions
from sdg_helpers.solutions.reading import read_solutions
from tests.helpers.stages import stage_at
from tests.helpers.watching import ask_many, events, eventually, gone
from tests.sglang.make_problems import PROMPT_JUDGE, PROMPT_SOLVE, write_problems

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# the second node of two, on this machine: argv MEETING_POINT SPEC SOURCE FOLDER LOGS
SECOND = """
import json, os, sys
from pathlib import Path
from sdg_helpers.cluster import ranks
from sdg_helpers import serving
from sdg_helpers.serving.server_specs import parse_server_spec
from sdg_helpers.checkpoints.sharding import shard_checkpoint
meeting, spec, source, folder, logs = sys.argv[1:]
spec = parse_server_spec(json.loads(spec))
with ranks.join(Path(meeting), 1, 2) as group:
    group.listen(lambda why, code: os._exit(code))
    shard_checkpoint(Path(source), Path(folder), spec, Path(logs))
    print("sharded", flush=True)
    serving.follow(spec.model_copy(update={"model": folder}), logs)
    print("served", flush=True)
    group.receive(60)
"""
QUESTIONS = [f"{a}+{b}=?" for a in range(1, 6) for b in range(1, 6)] + ["7~7", "7~8", "qqqq", "1+"]


def greedy(server):
    """What it says to every question, with nothing left to chance."""
    return [ask(server, question, max_tokens=48) for question in QUESTIONS]


def schedulers(name):
    """SGLang's own processes of that kind among our descendants."""
    return [one for one in psutil.Process().children(recursive=True) if f"sglang::{name}" in " ".join(one.cmdline())]


@pytest.fixture(scope="module")
def kept():
    """What a test leaves for the next one."""
    return {}


def test_dead_or_stalled_server_is_restarted(spec, tmp_path, kept):
    server = open_server(spec(), tmp_path)
    try:
        kept["unsharded"] = greedy(server)
        assert kept["unsharded"][:2] == [f"<think>\n1+{b}\n</think>\n\\boxed{{{1 + b}}}" for b in (1, 2)]
        assert kept["unsharded"][25:27] == ["Judgement: Yes", "Judgement: No"]
        (scheduler,) = schedulers("scheduler")
        found = ask_many(server, 30, act=lambda: scheduler.kill(), timeout_s=600)
        assert len(found) == 30 and all(isinstance(text, str) for text in found.values())
        assert events(tmp_path) == ["start", "up", "down", "start", "up"]
        (scheduler,) = schedulers("scheduler")
        found = ask_many(server, 30, act=lambda: os.kill(scheduler.pid, signal.SIGSTOP), timeout_s=600)
        assert len(found) == 30 and all(isinstance(text, str) for text in found.values())
        assert events(tmp_path)[5:] == ["down", "start", "up"]
        (log,) = tmp_path.glob("*-events.jsonl")
        told = [row["why"] for row in files.read_jsonl(log) if "why" in row]
        assert "generated no token in 2 checks" in told[1]
        assert greedy(server) == kept["unsharded"]
    finally:
        server.stop()
    assert eventually(lambda: not schedulers("scheduler"))


def test_sharding_over_two_nodes_gives_the_same_answers(spec, tiny, tmp_path, kept, monkeypatch):
    monkeypatch.setattr(command_lines, "FILE_BYTES", 40_000)  # several files per rank
    folder, logs = tmp_path / "adder-tp2", tmp_path / "servers"
    two = spec(model=str(folder), tp_size=2, load_format="sharded_state")
    other = subprocess.Popen(
        [
            sys.executable,
            "-c",
            SECOND,
            str(tmp_path / "meet"),
            json.dumps(two.model_dump(exclude_unset=True)),
            str(tiny),
            str(folder),
            str(logs),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with ranks.join(tmp_path / "meet", 0, 2) as group:
            ended = []
            group.listen(lambda why, code: ended.append(why))
            manifest = shard_checkpoint(tiny, folder, two, logs)
            assert other.stdout.readline() == "sharded\n"
            assert (manifest["tp_size"], manifest["nodes"]) == (2, 2) and check_sharded(folder, 2) == manifest
            assert manifest["sglang"] == "0.5.23" and len(manifest["files"]) >= 4
            server = open_server(two, logs)
            assert greedy(server) == kept["unsharded"]
            rows = solve_and_judge(server, tmp_path)
            assert rows == {(True, "exact"): 9, (False, "model"): 3}
            mine, there = schedulers("scheduler"), psutil.Process(other.pid)
            theirs = [one for one in there.children(recursive=True) if "scheduler" in " ".join(one.cmdline())]
            assert len(mine) == 2 and len(theirs) == 1  # the other node's are descendants of ours too, in this test
            server.stop()
            assert other.stdout.readline() == "served\n" and not ended
            assert eventually(lambda: all(gone(one.pid) for one in mine))
            group.end(0)
    finally:
        other.kill()
        other.communicate()


def test_shards_of_latent_attention_load_after_a_reply(spec, tiny_deepseek, tmp_path, monkeypatch):
    """As SGLang saves them after a forward pass, loading them ends in a KeyError."""
    server = open_server(spec(model=str(tiny_deepseek)), tmp_path)
    said = greedy(server)
    server.stop()
    assert said[:2] == [f"<think>\n1+{b}\n</think>\n\\boxed{{{1 + b}}}" for b in (1, 2)]
    folder, script = tmp_path / "deepseek-tp2", HERE / "shard_after_reply.py"
    monkeypatch.setenv("SHARD_SCRIPT", command_lines.shard_script.__file__)
    monkeypatch.setattr(command_lines.shard_script, "__file__", str(script))
    two = spec(model=str(folder), tp_size=2, load_format="sharded_state")
    (shards,) = shard_checkpoint(tiny_deepseek, folder, two, tmp_path / "servers")["loaded"]
    names = {name for name in shards["tensors"] if "kv_b_proj" in name}
    assert shards["ranks"] == [0, 1] and names == {f"model.layers.{n}.self_attn.kv_b_proj.weight" for n in (0, 1)}
    server = open_server(two, tmp_path / "servers")
    assert greedy(server) == said
    server.stop()


def solve_and_judge(server, folder):
    """Stages 03 and 04 on a few problems; verdicts by (correct, how)."""
    import pandas as pd

    problems = write_problems(folder / "problems" / "problems.jsonl")
    limits = Limits(concurrency=4, timeout_s=300)
    generate_solutions(
        problems,
        stage_at(folder / "solutions"),
        open_server=lambda: server,
        model=server.model,
        num_seeds=1,
        prompt=load_prompt(str(PROMPT_SOLVE)),
        sampling=Sampling(0.0, None, 48),
        limits=limits,
    )
    assert [row["finish_reason"] for row in read_solutions(folder / "solutions")] == ["stop"] * 12
    judge_solutions(
        stage_at(folder / "solutions"),
        problems,
        stage_at(folder / "judged"),
        judge=Judge(lambda: server, server.model, load_prompt(str(PROMPT_JUDGE)), limits, max_tokens=32),
        tiers="exact",
    )
    table = pd.read_parquet(folder / "judged" / "verdicts.parquet")
    return table.groupby(["correct", "how"]).size().to_dict()


def test_two_copies_share_the_requests(spec, tmp_path, kept):
    server = open_server(spec(num_servers=2), tmp_path)
    try:
        for copy in (server, *server.others):
            assert greedy(copy) == kept["unsharded"]
        found = ask_many(server, 40, timeout_s=300)
        assert len(found) == 40 and all(isinstance(text, str) for text in found.values())
        worked = [path for path in tmp_path.glob("*-server*.log") if "Decode batch" in path.read_text()]
        assert len(worked) == 2 and len(schedulers("scheduler")) == 2
    finally:
        server.stop()
    time.sleep(0.5)
    assert not [one for one in psutil.Process().children(recursive=True) if "sglang" in " ".join(one.cmdline())]
