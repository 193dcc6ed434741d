"""A stage in jobs, without Slurm: interrupted and resumed jobs repeat no request and report every row."""

from collections import Counter
from contextlib import suppress
from time import sleep

import pytest

from sdg_helpers import files, solutions
from sdg_helpers.cluster import servers
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.completions.meter import Progress
from sdg_helpers.completions.types import Completion, Limits, Sampling
from sdg_helpers.judging import asking
from sdg_helpers.judging.judge import judge_solutions
from sdg_helpers.leases.lease_folder import leases_of
from sdg_helpers.prompts import Prompt, load_prompt
from sdg_helpers.stages import Stage, Work
from tests.helpers.stages import stage_at

ROWS = 40


class Cut(BaseException):
    """A job reaches its time limit, or a driver is killed."""


class Server:
    """Answers `left` requests, then raises Cut: a job's server until the job is interrupted."""

    batch = None

    def __init__(self):
        self.left, self.asked = 0, Counter()
        self.unreadable = Counter()  # id -> further replies about it that are unreadable

    def complete(self, requests, *, on_completion, on_progress, **_):
        done = 0
        for request in requests:
            if request is None:
                sleep(0.01)
                continue
            if not self.left:
                on_progress(progress(done))
                raise Cut
            row = request.key if isinstance(request.key, dict) else request.key[2]
            self.asked[row["id"]] += 1
            done, self.left = done + 1, self.left - 1
            self.unreadable[row["id"]] -= 1
            reply = "Judgement: Yes" if self.unreadable[row["id"]] < 0 else "Who knows?"
            on_completion(request, Completion(reply, "none", "stop", 1, 2, 0.1))
        return progress(done)


def progress(done):
    """Return the progress of a session of 10 seconds."""
    return Progress(done, 0, 0, 0, 0, 0, 1, done, 2 * done, 10.0, done / 10, done / 5, 0.0, 0.0, 3.0, 4.0, 5.0, "")


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def problems(tmp_path):
    path = tmp_path / "problems.jsonl"
    path.write_bytes(
        b"".join(
            files.dumps({"id": f"{i:04x}", "problem": f"What is {i}?", "expected_answer": "one"}) for i in range(ROWS)
        )
    )
    return path


@pytest.fixture
def drive(monkeypatch, server):
    """drive(stage, driver) runs a stage with `driver(job, left, shown)` instead of Slurm.

    job(number, count, rows) runs a job that is interrupted after that many rows; left(count) returns the numbers of the
    jobs with work left; shown() returns (done, total) as the progress line has them.
    """

    def drive(stage, driver):
        def run_jobs(function, spec, folder, tasks, on_poll):
            def job(number, count, rows=ROWS):
                server.left = rows
                with suppress(Cut):
                    function(number, count)

            def shown():
                on_poll([])
                return reports[-1]

            driver(job, lambda count: tasks.unfinished(count, []), shown)

        reports = []
        monkeypatch.setattr(Work, "progress", lambda self, done, total, **more: reports.append((done, total)))
        monkeypatch.setattr(servers, "run_jobs", run_jobs)
        monkeypatch.setattr("sdg_helpers.completions.sessions._SAVE_EVERY_S", 0)
        return stage()

    return drive


def solve(problems, server, count):
    return lambda: solutions.generate_solutions(
        problems,
        stage_at(problems.parent / "math" / "solutions"),
        open_server=lambda: server,
        model="m",
        num_seeds=1,
        prompt=Prompt(name="x", user="{problem}"),
        sampling=Sampling(),
        limits=Limits(),
        jobs=JobSpec(where="slurm", servers=count),
    )


def test_rows_of_an_earlier_driver_are_not_requested_again(problems, server, drive):
    def first(job, left, shown):
        assert left(4) == [0, 1, 2, 3]
        raise Cut  # the driver is killed, its jobs keep running

    def second(job, left, shown):
        for number in range(4):
            job(number, 4, rows=8)
        assert left(1) == [0]
        job(0, 1)
        assert left(1) == []

    with pytest.raises(Cut):
        drive(solve(problems, server, 4), first)
    drive(solve(problems, server, 1), second)
    assert server.asked.total() == ROWS and set(server.asked.values()) == {1}


def test_progress_counts_the_rows_on_disk_of_every_job(problems, server, drive):
    def first(job, left, shown):
        assert left(2) == [0, 1]
        job(0, 2, rows=5)
        assert shown() == (5, ROWS)
        job(0, 2, rows=7)  # the job is requeued
        job(1, 2, rows=3)
        assert shown() == (15, ROWS)
        left(2)
        assert shown() == (15, ROWS)
        raise Cut

    def second(job, left, shown):
        assert shown() == (15, ROWS)
        job(0, 2, rows=8)
        assert shown() == (23, ROWS)  # a job of the first driver kept running
        left(3)
        job(0, 3, rows=9)
        for number in range(1, 3):
            job(number, 3)
        assert shown() == (ROWS, ROWS)
        left(3)

    with pytest.raises(Cut):
        drive(solve(problems, server, 2), first)
    took = drive(solve(problems, server, 3), second)["requests"]
    assert took == {
        "sessions": 6,
        "done": ROWS,
        "failed": 0,
        "retried": 0,
        "pushed_back": 0,
        "prompt_tokens": ROWS,
        "completion_tokens": 2 * ROWS,
        "elapsed_s": 60.0,
        "requests_per_s": ROWS / 60,
        "tokens_per_s": 2 * ROWS / 60,
        "latency_p50_s": 3.0,
        "latency_p90_s": 4.0,
        "latency_p99_s": 5.0,
        "thinking": {},
        "timeline": {},
    }


@pytest.fixture
def judge(problems, server):
    """judge(): judge one solution of every problem in 4 jobs; no rule decides any of them."""
    folder = problems.parent / "math" / "solutions"
    with Stage(folder, "solutions").work({}, {}) as work:
        path = folder / "output-rs0.jsonl"
        path.write_bytes(
            b"".join(
                files.dumps(
                    {
                        **row,
                        "seed": 0,
                        "generation": r"<think>a</think>\boxed{two}",
                        "finish_reason": "stop",
                        "num_generated_tokens": 3,
                    }
                )
                for row in files.read_jsonl(problems)
            )
        )
        work.finish(rows_in=ROWS, rows_out=ROWS, outputs=[path])
    return lambda: judge_solutions(
        stage_at(folder),
        problems,
        stage_at(problems.parent / "math" / "judged"),
        judge=asking.Judge(lambda: server, "m", load_prompt("math/judge"), Limits()),
        jobs=JobSpec(where="slurm", servers=4),
        max_failed_fraction=0,
    )


def test_judging_in_jobs_counts_every_comparison_and_every_call(problems, server, drive, judge):
    def first(job, left, shown):
        assert left(4) == [0, 1, 2, 3]
        for number in range(4):
            job(number, 4, rows=4)
        assert shown() == (16, ROWS)
        job(0, 4, rows=6)
        assert shown() == (22, ROWS)
        raise Cut

    def second(job, left, shown):
        assert shown() == (22, ROWS)
        job(3, 4)  # of the first driver
        assert shown() == (ROWS, ROWS) and left(2) == []

    with pytest.raises(Cut):
        drive(judge, first)
    manifest = drive(judge, second)
    assert manifest["comparisons_asked"] == manifest["model_calls"] == manifest["requests"]["done"] == ROWS
    assert set(server.asked.values()) == {1} and asking.answered_keys(problems.parent / "math/judged/partial") == set()


def test_unreadable_judgements_are_asked_for_again_before_their_blocks_are_done(problems, server, drive, judge):
    server.unreadable = Counter({"0003": 2, "0015": 9})
    leases = leases_of(problems.parent / "math" / "judged")

    def first(job, left, shown):
        left(4)
        job(0, 4, rows=ROWS + 1)  # it ends in the second round, with both questions in hand
        assert server.asked == Counter({**dict.fromkeys(server.asked, 1), "0003": 2}) and len(server.asked) == ROWS
        assert len(leases.free()) == 2 and leases.done() == ROWS - 2
        job(1, 4)  # asks them from the first round on, and nothing else
        assert server.asked == Counter({**dict.fromkeys(server.asked, 1), "0003": 3, "0015": 4})
        assert left(4) == [] and leases.taken() == []

    manifest = drive(judge, first)
    assert manifest["undecided"] == {"unreadable": 1} and manifest["comparisons_asked"] == ROWS
