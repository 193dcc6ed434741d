"""Runs that grow: more seeds, more problems, a longer limit. The end is that of a run which asked for all at once."""

import os
import random
import shutil
import signal
import sys
import time

import pytest
import yaml

from sdg_helpers import files
from sdg_helpers.completions.types import Sampling
from sdg_helpers.errors import SdgError
from sdg_helpers.runs import verify
from sdg_helpers.runs.fork import fork_run
from tests.helpers.forks import exit_code, run_in_child
from tests.helpers.standin import StandIn
from tests.helpers.whole_run import contents, counts, run_stages, write_source

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

STORE = "rejudged/comparisons.jsonl"  # keeps comparisons with labels that later votes have replaced
FEW, SOME, MANY = 2, 4, 8  # seeds


@pytest.fixture(scope="module")
def server():
    with StandIn(accuracy=0.6, limited=True) as server:
        yield server


class Growing:
    """A run that is taken from one size to the next, beside runs that asked for a size at once."""

    def __init__(self, folder, server, max_tokens=200):
        self.folder, self.server, self.max_tokens = folder, server, max_tokens

    def source(self, problems):
        """The file from which all runs read their problems, with this many of them."""
        return write_source(self.folder / "problems.jsonl", problems)

    def run(self, name, problems, seeds, **more):
        more = {"max_tokens": self.max_tokens, **more}
        run_stages(self.folder / name, self.source(problems), self.server.base_url, seeds, **more)

    def requests(self):
        return self.server.stats()["requests"]

    def check(self, name, problems, seeds, **more):
        """Compare a run with one of the same size that was asked for at once."""
        at_once = f"at-once-{problems}-{seeds}-{more}"
        if not (self.folder / at_once).exists():
            self.run(at_once, problems, seeds, **more)
        grown, whole = self.folder / name, self.folder / at_once
        assert _without(contents(grown), STORE) == _without(contents(whole), STORE)
        assert counts(grown) == counts(whole)
        assert set(_lines(whole / "math" / STORE)) <= set(_lines(grown / "math" / STORE))
        assert all(not one.problems for one in verify.verify_run(grown))


def _without(mapping, key):
    return {name: value for name, value in mapping.items() if name != key}


def _lines(path):
    return path.read_bytes().splitlines()


@pytest.fixture
def growing(tmp_path, server):
    return Growing(tmp_path, server)


def manifest(growing, name, stage):
    return files.read_json(growing.folder / name / "math" / stage / "manifest.json")


@pytest.mark.slow
def test_a_run_grows_by_seeds_and_by_problems(growing):
    for problems, seeds in ((8, FEW), (8, SOME), (16, SOME)):
        growing.run("run", problems, seeds)
    growing.check("run", 16, SOME)
    solutions = manifest(growing, "run", "solutions")
    states = [(state["parameters"]["num_seeds"], state["counts"]["rows_in"]) for state in solutions["growth"]]
    assert states == [(FEW, 8 * FEW), (SOME, 8 * SOME)]
    assert solutions["requests"]["done"] == 16 * SOME


def test_only_what_is_new_is_asked(growing):
    growing.run("run", 8, FEW, upto="judged")
    before = growing.requests()
    growing.run("run", 8, FEW, upto="judged")
    assert growing.requests() == before
    growing.run("run", 12, SOME, upto="solutions")
    assert growing.requests() == before + 12 * SOME - 8 * FEW


@pytest.mark.slow
def test_files_of_finished_seeds_are_not_written_again(growing):
    growing.run("run", 8, FEW, upto="solutions")
    old = (growing.folder / "run" / "math" / "solutions" / "output-rs0.jsonl").stat()
    growing.run("run", 8, SOME, upto="solutions")
    assert (growing.folder / "run" / "math" / "solutions" / "output-rs0.jsonl").stat().st_ino == old.st_ino
    growing.run("run", 8, SOME)
    growing.check("run", 8, SOME)


def test_cut_solutions_are_generated_again_with_a_longer_limit(growing):
    growing.run("run", 12, FEW, max_tokens=25)
    cut = manifest(growing, "run", "solutions")["finish_reasons"]["length"]
    before = growing.requests()
    growing.run("run", 12, FEW, max_tokens=200, upto="solutions")
    assert 0 < cut < 12 * FEW and growing.requests() == before + cut
    growing.run("run", 12, FEW, max_tokens=200)
    growing.check("run", 12, FEW, max_tokens=200)


@pytest.mark.slow
def test_growing_may_be_given_up(growing):
    """Whoever finds 4 seeds too dear gets the finished run with 2 back, and what was paid for is used later."""
    growing.run("run", 8, FEW)
    finished, before = contents(growing.folder / "run"), growing.requests()
    _interrupted(growing, "run", 8, SOME, after_requests=3)
    growing.run("run", 8, FEW)
    assert contents(growing.folder / "run") == finished
    growing.run("run", 8, SOME, upto="solutions")
    assert growing.requests() <= before + 8 * SOME + 8
    growing.run("run", 8, SOME)
    growing.check("run", 8, SOME)


def _interrupted(growing, name, problems, seeds, after_requests):
    """Let the solving stage send some requests, then kill its process."""
    growing.source(problems)
    before = growing.requests()
    pid = run_in_child(lambda: growing.run(name, problems, seeds, upto="solutions"))
    while growing.requests() < before + after_requests and os.waitpid(pid, os.WNOHANG) == (0, 0):
        time.sleep(0.001)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    exit_code(pid)


def test_fewer_seeds_or_other_problems_are_refused(growing):
    growing.run("run", 8, SOME, upto="solutions")
    with pytest.raises(SdgError, match=r"num_seeds: was 4, now 2(.|\n)*A run only grows(.|\n)*max_seeds"):
        growing.run("run", 8, FEW)
    source = growing.source(12)
    rows = [files.parse_row(line, source, 0) for line in source.read_bytes().splitlines(keepends=True)]
    rows[2]["problem"] = "What is 1 + 1?"
    before = contents(growing.folder / "run")
    source.write_bytes(b"".join(map(files.dumps, rows)))
    with pytest.raises(SdgError, match=r"problems.jsonl, row 2: .*would become .*1 \+ 1.*nothing was changed"):
        run_stages(growing.folder / "run", source, growing.server.base_url, SOME, upto="problems")
    assert contents(growing.folder / "run") == before
    growing.run("run", 8, SOME, upto="solutions")


@pytest.mark.slow
def test_a_limit_that_cuts_too_many_may_be_raised_in_the_same_run(growing):
    with pytest.raises(SdgError, match="24 of 24 solutions are unfinished.* Raise MAX_TOKENS"):
        growing.run("run", 12, FEW, max_tokens=12)
    before = growing.requests()
    growing.run("run", 12, FEW, max_tokens=25)
    growing.check("run", 12, FEW, max_tokens=25)
    growing.run("run", 12, FEW)
    growing.check("run", 12, FEW)
    assert growing.requests() > before


def test_another_temperature_is_still_refused(growing, monkeypatch):
    growing.run("run", 8, FEW, upto="solutions")
    monkeypatch.setattr("tests.helpers.whole_run.Sampling", lambda *_: Sampling(0.9, 0.95, 200))
    with pytest.raises(SdgError, match=r"temperature: was 0.6, now 0.9"):
        growing.run("run", 8, SOME, upto="solutions")


def test_a_stage_of_which_the_input_was_reset_still_refuses(growing):
    """Other solutions are no growth."""
    growing.run("run", 8, FEW, upto="judged")
    shutil.rmtree(growing.folder / "run" / "math" / "solutions")
    growing.run("run", 8, FEW, upto="solutions", max_tokens=25)
    with pytest.raises(SdgError, match=r"input output-rs0.jsonl: its content has changed"):
        growing.run("run", 8, FEW, upto="judged", max_tokens=25)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks with libraries loaded: Linux only")
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_any_order_of_growing_ends_alike_also_killed_in_the_middle(tmp_path, server, order):
    """2, 4, 8 seeds and 100, 300 problems in four orders."""
    orders = (
        [(100, FEW), (100, SOME), (100, MANY), (300, MANY)],
        [(100, FEW), (300, FEW), (300, SOME), (300, MANY)],
        [(100, FEW), (300, SOME), (300, MANY)],
        [(100, FEW), (100, SOME), (300, SOME), (300, MANY)],
    )
    growing, rng = Growing(tmp_path, server), random.Random(order)
    server.reset()
    for problems, seeds in orders[order]:
        for _ in range(3):
            _killed(growing, problems, seeds, rng)
        growing.run("run", problems, seeds)
    assert manifest(growing, "run", "solutions")["counts"]["rows_out"] == 300 * MANY
    growing.check("run", 300, MANY)


def _killed(growing, problems, seeds, rng):
    growing.source(problems)
    pid = run_in_child(lambda: growing.run("run", problems, seeds))
    time.sleep(rng.uniform(0.05, 1.5))
    os.kill(pid, signal.SIGKILL)
    exit_code(pid)


def test_a_fork_shares_the_files_of_finished_stages_and_asks_nothing_again(growing):
    growing.run("run", 8, SOME, upto="sft")
    origin, new = growing.folder / "run", growing.folder / "trial"
    files.write_json(origin / "run.yaml", {"profile": "demo", "begun_at": "now", "sessions": [{"overrides": {}}]})
    before, asked = contents(origin), growing.requests()
    fork = fork_run(origin, new, "math", "05")
    assert fork.stages == ["problems", "solutions", "judged"] and fork.copied < fork.shared
    shared = "math/solutions/output-rs0.jsonl"
    assert (new / shared).stat().st_ino == (origin / shared).stat().st_ino
    assert yaml.safe_load((new / "run.yaml").read_text())["forked_from"]["run"] == "run"
    growing.run("trial", 8, SOME, upto="sft")
    assert growing.requests() == asked and contents(new) == before
    growing.run("trial", 8, MANY)
    growing.check("trial", 8, MANY)
    assert contents(origin) == before
    with pytest.raises(SdgError, match="run 'trial' exists already"):
        fork_run(origin, new, "math", "05")


def test_a_fork_takes_only_finished_stages(growing):
    growing.run("run", 8, FEW, upto="judged")
    (growing.folder / "run" / "math" / "judged" / "manifest.json").unlink()
    with pytest.raises(SdgError, match="judged: this stage is unfinished(.|\n)*--from"):
        fork_run(growing.folder / "run", growing.folder / "new", "math", "05")
    assert not (growing.folder / "new").exists()
