"""Stage 03 against a real server process: exact rows, resume after kill -9, failures with reasons, flat memory."""

import os
import random
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from sdg_helpers import files, solutions
from sdg_helpers.completions.meter import Meter
from sdg_helpers.completions.replies import Reply, conclude
from sdg_helpers.completions.types import Completion, Limits, Sampling
from sdg_helpers.errors import SdgError
from sdg_helpers.problems.problem_file import ProblemIndex
from sdg_helpers.prompts import load_prompt
from sdg_helpers.solutions import compare_limits, seed_files
from tests.helpers.forks import exit_code, run_in_child
from tests.helpers.solving import HOSTILE, generate, rows_of, write_problems
from tests.helpers.standin import StandIn

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture
def problems(tmp_path):
    return write_problems(tmp_path / "problems" / "problems.jsonl", 40)


def test_every_seed_has_each_problem_in_order(problems, tmp_path):
    with StandIn() as server:
        manifest = generate(problems, tmp_path / "solutions", server.base_url)
        assert server.stats()["requests"] == 120
    of_one = solutions.solutions_of(tmp_path / "solutions", list(files.read_jsonl(problems))[7]["id"])
    assert [row["seed"] for row in of_one] == [0, 1, 2] and {row["expected_answer"] for row in of_one} == {"7"}
    assert solutions.solutions_of(tmp_path / "solutions", "nobody") == []
    ids = [row["id"] for row in files.read_jsonl(problems)]
    for seed, path in seed_files.seed_files(tmp_path / "solutions").items():
        rows = list(files.read_jsonl(path))
        assert [row["id"] for row in rows] == ids and {row["seed"] for row in rows} == {seed}
        assert list(rows[1]) == [
            "id",
            "problem",
            "expected_answer",
            "seed",
            "generation",
            "finish_reason",
            "num_generated_tokens",
        ]
        assert rows[1]["problem"] == HOSTILE
        assert all(re.fullmatch(r"(?s)<think>.*</think>.*\\boxed\{.*\}.*", row["generation"]) for row in rows)
    assert manifest["counts"] == {"rows_in": 120, "rows_out": 120, "dropped": {}}
    assert manifest["finish_reasons"] == {"stop": 120} and manifest["thinking"] == {"closed": 120}
    assert sum(manifest["requests"]["thinking"].values()) == 120
    assert manifest["distinct_solutions"] > 60
    assert sum(manifest["length_counts"]) == 120
    assert not (tmp_path / "solutions" / "partial").exists()


def test_a_finished_stage_sends_no_request_and_starts_no_server(problems, tmp_path):
    with StandIn() as server:
        first = generate(problems, tmp_path / "s", server.base_url)
    before = rows_of(tmp_path / "s")
    assert generate(problems, tmp_path / "s", "http://127.0.0.1:9/v1") == first
    assert rows_of(tmp_path / "s") == before


@pytest.mark.parametrize("shape", [{}, {"reasoning_field": "reasoning_content"}, {"reasoning_field": "reasoning"}])
def test_every_form_of_reasoning_output_gives_the_same_rows(problems, tmp_path, shape):
    """Fault 13 of the reference: its client removed the thinking, and its filter then dropped every row."""
    with StandIn() as plain, StandIn(**shape) as server:
        generate(problems, tmp_path / "plain", plain.base_url, num_seeds=1)
        generate(problems, tmp_path / "other", server.base_url, num_seeds=1)
    assert rows_of(tmp_path / "plain") == rows_of(tmp_path / "other")


@pytest.mark.slow
def test_server_faults_do_not_change_the_rows(problems, tmp_path):
    faults = "429=0.1,503=0.05,500=0.1,disconnect=0.05,cut_json=0.05,garbage=0.05,empty=0.05"
    with StandIn() as calm, StandIn(faults=faults) as server:
        generate(problems, tmp_path / "calm", calm.base_url)
        manifest = generate(
            problems, tmp_path / "faults", server.base_url, limits=Limits(concurrency=32, timeout_s=30, max_retries=20)
        )
    assert rows_of(tmp_path / "calm") == rows_of(tmp_path / "faults")
    assert manifest["requests"]["retried"] > 0


def test_persistent_failures_are_recorded_and_retried_by_the_next_run(tmp_path):
    """Fault 6 of the reference: one failed request ended the whole job."""
    problems = write_problems(tmp_path / "problems.jsonl", 20)
    with open(problems, "ab") as out:
        out.write(files.dumps({"id": "bad", "problem": "[[400 x2]] What is 1 + 1?", "expected_answer": "2"}))
    with StandIn() as server:
        with pytest.raises(
            SdgError, match=r"1 of 21 solutions are missing \(1 × http_400: HTTP 400: .*\); at most 1.0% may be"
        ):
            generate(problems, tmp_path / "s", server.base_url, num_seeds=1)
        assert not (tmp_path / "s" / "manifest.json").exists()
        with pytest.raises(SdgError, match="1 × http_400"):
            generate(problems, tmp_path / "s", server.base_url, num_seeds=1)
        manifest = generate(problems, tmp_path / "s", server.base_url, num_seeds=1)
        assert server.stats()["requests"] == 20 + 3
    assert manifest["counts"] == {"rows_in": 21, "rows_out": 21, "dropped": {}} and manifest["resumed_rows"] == 20


def test_allowed_failures_are_counted_and_kept(tmp_path):
    problems = write_problems(tmp_path / "problems.jsonl", 9)
    with open(problems, "ab") as out:
        out.write(files.dumps({"id": "bad", "problem": "[[400 x9]] What is 1 + 1?", "expected_answer": "2"}))
    with StandIn() as server:
        manifest = generate(problems, tmp_path / "s", server.base_url, num_seeds=1, max_failed_fraction=0.1)
    assert manifest["counts"] == {"rows_in": 10, "rows_out": 9, "dropped": {"http_400": 1}}
    failures = list(files.read_jsonl(tmp_path / "s" / "failures.jsonl"))
    assert [(row["id"], row["seed"], row["reason"]) for row in failures] == [("bad", 0, "http_400")]


@pytest.mark.parametrize(
    "change, said",
    [
        ({"run_seed": 1}, "run_seed: was 0, now 1"),
        ({"model": "other"}, "model: was 'standin', now 'other'"),
        ({"prompt": load_prompt("math/solve")}, "prompt: was"),
        ({"sampling": Sampling(0.7, 0.95, 200)}, "temperature: was 0.6, now 0.7"),
    ],
)
def test_changed_settings_are_rejected_on_resume(problems, tmp_path, change, said):
    with StandIn() as server:
        server.kill()
        with pytest.raises(SdgError, match="reach"):
            generate(problems, tmp_path / "s", server.base_url, limits=Limits(outage_deadline_s=0.1))
        with pytest.raises(SdgError, match=f"begun with other settings(.|\n)*{said}"):
            generate(problems, tmp_path / "s", server.base_url, **change)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks with libraries loaded: Linux only")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_twenty_kills_give_the_same_bytes(tmp_path):
    """Kill -9 at random moments: each kill costs at most the requests in flight, as counted by the server."""
    problems, kills, concurrency = write_problems(tmp_path / "p" / "problems.jsonl", 300), 20, 8
    with StandIn(latency="0.02") as server:

        def solve():
            generate(problems, tmp_path / "killed", server.base_url, concurrency=concurrency)

        generate(problems, tmp_path / "calm", server.base_url, concurrency=64)
        server.reset()
        rng = random.Random(7)
        for asked_before in sorted(rng.sample(range(1, 850), kills)):
            pid = run_in_child(solve)
            while server.stats()["requests"] < asked_before:
                assert os.waitpid(pid, os.WNOHANG) == (0, 0)  # still running
                time.sleep(rng.uniform(0.0, 0.01))
            os.kill(pid, signal.SIGKILL)
            assert exit_code(pid) == -signal.SIGKILL
        assert exit_code(run_in_child(solve)) == 0
        asked = server.stats()["requests"]
    assert rows_of(tmp_path / "killed") == rows_of(tmp_path / "calm")
    assert 900 <= asked <= 900 + kills * concurrency
    assert files.read_json(tmp_path / "killed" / "manifest.json")["resumed_rows"] > 0


def test_torn_and_duplicate_partial_rows_are_harmless(problems, tmp_path):
    """A power cut tears the last line, and a node that was thought lost finishes a solution a second time."""
    with StandIn() as server:
        generate(problems, tmp_path / "calm", server.base_url)
        partial = tmp_path / "s" / "partial" / "rs1"
        partial.mkdir(parents=True)
        lines = (tmp_path / "calm" / "output-rs1.jsonl").read_bytes().splitlines(keepends=True)
        (partial / "solve-a.jsonl").write_bytes(b"".join(lines[5:9]) + lines[9][:50])
        (partial / "solve-b.jsonl").write_bytes(b"".join(reversed(lines[3:7])))
        server.reset()
        generate(problems, tmp_path / "s", server.base_url)
        assert server.stats()["requests"] == 120 - 6
    assert rows_of(tmp_path / "s") == rows_of(tmp_path / "calm")


def test_a_kill_during_the_merge_is_resumed(problems, tmp_path):
    """The manifest is written last, so an interrupted merge is resumed from the files that exist."""
    with StandIn() as server:
        generate(problems, tmp_path / "calm", server.base_url)
        generate(problems, tmp_path / "s", server.base_url)
        manifest = files.read_json(tmp_path / "s" / "manifest.json")
        files.write_json(tmp_path / "s" / "begun.json", manifest)
        (tmp_path / "s" / "manifest.json").unlink()
        (tmp_path / "s" / "partial" / "rs2").mkdir(parents=True)
        (tmp_path / "s" / "output-rs2.jsonl").rename(tmp_path / "s" / "partial" / "rs2" / "solve-x.jsonl")
        server.reset()
        generate(problems, tmp_path / "s", server.base_url)
        assert server.stats()["requests"] == 0
    assert rows_of(tmp_path / "s") == rows_of(tmp_path / "calm")


def test_a_foreign_row_among_the_solutions_is_rejected(problems, tmp_path):
    partial = tmp_path / "s" / "partial" / "rs0"
    partial.mkdir(parents=True)
    (partial / "x.jsonl").write_bytes(b'{"id":"nobody","generation":""}\n')
    with pytest.raises(SdgError, match="not a solution of a problem of this run"):
        generate(problems, tmp_path / "s", "http://127.0.0.1:9/v1")


def test_chunk_files_and_other_names_are_not_seeds(tmp_path):
    """Fault 2 of the reference: output-rs1_chunk_0.jsonl was picked up as a seed."""
    for name in (
        "output-rs0.jsonl",
        "output-rs10.jsonl",
        "output-rs2.jsonl",
        "output-rs1_chunk_0.jsonl",
        "output-rs3.jsonl-async",
        "output.jsonl",
        "output-rs3.jsonl.done",
    ):
        (tmp_path / name).touch()
    assert list(seed_files.seed_files(tmp_path)) == [0, 2, 10]


def test_sampling_seeds_are_distinct_and_reproducible():
    seeds = {solutions.sampling_seed(run, problem, k) for run in (0, 1) for problem in ("a", "b") for k in range(500)}
    assert len(seeds) == 2000 and all(0 <= seed < 2**31 for seed in seeds)
    assert solutions.sampling_seed(0, "a", 3) == solutions.sampling_seed(0, "a", 3)


def test_a_problem_with_our_own_keys_gives_a_valid_row(tmp_path):
    problems = tmp_path / "problems.jsonl"
    problems.write_bytes(
        files.dumps(
            {
                "id": "a",
                "generation": "old",
                "finish_reason": "x",
                "problem": "What is 2 + 2?",
                "expected_answer": "4",
                "num_generated_tokens": 1,
                "seed": 99,
            }
        )
    )
    with StandIn() as server:
        generate(problems, tmp_path / "s", server.base_url, num_seeds=2)
    rows = list(solutions.read_solutions(tmp_path / "s"))
    assert [row["seed"] for row in rows] == [0, 1] and all("<think>" in row["generation"] for row in rows)


def test_finished_solutions_are_found_on_disk(problems, tmp_path):
    with StandIn() as server:
        generate(problems, tmp_path / "s", server.base_url)
    assert seed_files.find_done(tmp_path / "s", ProblemIndex.build(problems), 3).all()


def test_mostly_unfinished_solutions_stop_the_stage_before_anything_is_judged(problems, tmp_path):
    with StandIn(faults="length=1") as server:
        with pytest.raises(SdgError, match=r"40 of 40 solutions are unfinished .*Raise MAX_TOKENS"):
            generate(problems, tmp_path / "s", server.base_url, num_seeds=1)
        manifest = generate(problems, tmp_path / "s", server.base_url, num_seeds=1, max_unfinished_fraction=1.0)
        assert server.stats()["requests"] == 40  # nothing was lost, nothing is asked again
    assert manifest["finish_reasons"] == {"length": 40}


def test_thinking_is_counted_by_its_shape_and_by_how_it_was_sent(problems, tmp_path):
    replies = {
        0: ("<think>\na\n</think>\n\nb", ""),
        1: ("b", "a"),
        2: ("b", ""),
        3: ("", "a"),
        4: ("<think>a</think>b", "a"),
    }
    position = {row["id"]: number % 5 for number, row in enumerate(files.read_jsonl(problems))}

    class Answering:
        batch = None

        def complete(self, requests, *, on_completion, **_):
            meter = Meter()
            for request in requests:
                content, reasoning = replies[position[request.key[2]["id"]]]
                finish = "stop" if content else "length"
                reply = conclude(Reply(content, reasoning, finish, 1, 1), 1.0)
                assert isinstance(reply, Completion)
                meter.reply(reply)
                on_completion(request, reply)
            return meter.progress(0, 0, 1, "", {})

    manifest = generate(problems, tmp_path / "s", None, num_seeds=1, open_server=Answering, model="m")
    assert manifest["thinking"] == {"closed": 24, "none": 8, "unclosed": 8}
    assert manifest["requests"]["thinking"] == {"inline": 8, "apart": 16, "none": 8, "twice": 8}


def test_lower_limits_are_compared_with_the_runs_own():
    """60 solutions of 4 to 8 tokens, 30 of 8 to 16, and 10 that were cut at 20."""
    table = compare_limits([4, 8, 16, 32], [0, 60, 30, 10, 0], 20)
    tokens = 60 * 6 + 30 * 12 + 10 * 18
    assert list(table.index) == ["8", "16"]
    assert table.loc["8"].tolist() == pytest.approx([0.6, (360 + 40 * 8) / tokens, (360 + 40 * 8 + 360 + 180) / tokens])
    assert table.loc["16"].tolist() == pytest.approx([0.9, (720 + 160) / tokens, (720 + 160 + 180) / tokens])
    assert compare_limits([4, 8], [0, 0, 0], 20).empty
