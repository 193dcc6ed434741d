"""Judging what an unfinished stage has so far: at any moment, several times, and nothing of it is asked again."""

import shutil

import pytest

from sdg_helpers.errors import SdgError
from sdg_helpers.judging import judge_ahead
from sdg_helpers.solutions import generate_solutions
from sdg_helpers.solutions.seed_files import PartialWriter
from tests.helpers.adaptive_run import Adaptive
from tests.helpers.standin import StandIn


@pytest.fixture(scope="module")
def server():
    with StandIn(accuracy=0.5) as server:
        yield server


class Interrupted(Exception):
    """The machine is needed for something else."""


def solve(run):
    generate_solutions(run.problems, run.track.stage("solutions"), **run.settings)


def solve_some(run, monkeypatch, rows):
    """Run Math 03 until it has written so many more rows."""
    left, add = [rows], PartialWriter.add

    def count(self, seed, line):
        add(self, seed, line)
        left[0] -= 1
        if not left[0]:
            raise Interrupted

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(PartialWriter, "add", count)
        solve(run)


def verdicts(run):
    return (run.track.judged / "verdicts.parquet").read_bytes()


def test_an_unfinished_stage_is_judged_and_nothing_is_asked_again(tmp_path, server, monkeypatch):
    calm = Adaptive(tmp_path / "calm", server)
    server.reset()
    solve(calm)
    calls = calm.judged(calm.track.stage("judged"))["model_calls"]
    asked = server.stats()["requests"]

    server.reset()
    run = Adaptive(tmp_path / "ahead", server)
    solutions, total = run.track.stage("solutions"), 0
    with pytest.raises(SdgError, match="no solutions yet"):
        judge_ahead(solutions, run.problems, judge=run.judge)
    for rows in (40, 90):
        solve_some(run, monkeypatch, rows)
        with open(next(run.track.solutions.glob("partial/rs0/*.jsonl")), "ab") as file:
            file.write(b'{"id": "torn')  # as a writer at work leaves it for a moment
        total += rows
        counts = judge_ahead(solutions, run.problems, judge=run.judge)
        assert counts.total() == total and counts["right"] and counts["wrong"]
        before = server.stats()["requests"]
        assert judge_ahead(solutions, run.problems, judge=run.judge) == counts
        assert server.stats()["requests"] == before
    left = [path.name for path in (run.track.solutions / "ahead").iterdir() if path.name[0] != "."]
    assert left == ["comparisons.jsonl"]
    solve(run)
    manifest = run.judged(run.track.stage("judged"))
    assert verdicts(run) == verdicts(calm) and manifest["model_calls"] < calls
    assert server.stats()["requests"] <= asked + 2 * run.settings["limits"].concurrency


def test_a_stage_that_grows_is_judged_ahead_beside_its_finished_verdicts(tmp_path, server, monkeypatch):
    run = Adaptive(tmp_path, server)
    solutions, judged = run.track.stage("solutions"), run.track.stage("judged")
    run.settings["num_seeds"] = 2
    solve(run)
    run.judged(judged)
    run.settings["num_seeds"] = 4
    solve_some(run, monkeypatch, 20)
    counts = judge_ahead(solutions, run.problems, judge=run.judge)
    assert counts.total() == 2 * 30 + 20
    solve(run)
    run.judged(judged)
    grown = verdicts(run)
    for folder in (run.track.judged, run.track.solutions / "ahead"):
        shutil.rmtree(folder)
    run.judged(judged)
    assert verdicts(run) == grown
