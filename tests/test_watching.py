"""`sdg watch`: what it reads from a stage's folder, which server is slow, and the time that is left."""

import json
import math
import time
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sdg_helpers import files
from sdg_helpers.cli.main import main
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.cluster.slurm_jobs import SlurmJob
from sdg_helpers.completions.meter import Meter
from sdg_helpers.completions.sessions import Session, keep_history
from sdg_helpers.completions.types import Completion
from sdg_helpers.leases.lease_folder import LeaseFolder
from sdg_helpers.profiles import Profile
from sdg_helpers.serving.sglang.health import load_of
from sdg_helpers.watching.estimates import Worker, own_time_left, time_left
from sdg_helpers.watching.job_files import JobFiles
from sdg_helpers.watching.monitor import Monitor
from sdg_helpers.watching.notifying import news, notify
from sdg_helpers.watching.run_view import RunView
from sdg_helpers.watching.server_lines import ServerLine, lines_of
from sdg_helpers.watching.stage_view import StageView
from tests.helpers.solving import generate, write_problems
from tests.helpers.standin import StandIn
from tests.helpers.watching import eventually

BASE = {
    "updated_at": 0.0,
    "failed": 0,
    "retried": 0,
    "pushed_back": 0,
    "in_flight": 32,
    "limit": 32,
    "prompt_tokens": 0,
    "elapsed_s": 1000.0,
    "latency_p50_s": 4.0,
    "latency_p90_s": 8.0,
    "latency_p99_s": 12.0,
    "latency_mean_s": 5.0,
    "trouble": "",
    "open_rows": 40,
    "blocks": 2,
    "idle_s": 0.1,
    "host": "n1",
}


@pytest.fixture
def stage(tmp_path, monkeypatch):
    monkeypatch.setenv("SDG_OUTPUTS", str(tmp_path))
    folder = tmp_path / "a" / "math" / "solutions"
    (folder / "partial").mkdir(parents=True)
    (folder / "jobs" / "attempts").mkdir(parents=True)
    (tmp_path / "a" / "servers").mkdir()
    (tmp_path / "a" / "run.yaml").write_text("run: a\n")
    return folder


def job(number, state="RUNNING", reason=""):
    return SlurmJob(f"7_{number}", number, "sdg-a-0001", state, f"n{number}", "", reason)


def begin(stage, number, restart=0):
    """Write an attempt's report; the raw id of its job is 100 + its number."""
    report = {"slurm_id": str(100 + number), "began_at": time.time() - 500}
    files.write_json(stage / "jobs" / "attempts" / f"{number:04d}-7_{number}-{restart}-rank0.json", report)


def session(stage, number, rate, **more):
    now = time.time()
    counts = {"done": int(900 * rate), "rows": int(900 * rate), "completion_tokens": int(900_000 * rate)}
    rates = {f"{kind}{name}": value for kind in ("", "recent_") for name, value in rates_of(rate).items()}
    content = {**BASE, **counts, **rates, "attempt": f"7_{number}-0", "began_at": now - 900, "updated_at": now}
    files.write_json(stage / "partial" / f"session-{100 + number}-1.json", {**content, **more})
    return {**content, **more}


def rates_of(rate):
    return {"requests_per_s": rate, "tokens_per_s": 1000 * rate}


def events(stage, number, *names):
    with files.AppendLog(stage.parent.parent / "servers" / f"sglang-{100 + number}-events.jsonl") as log:
        for place, name in enumerate(names):
            log.append({"at": time.time() - 100 + place, "event": name, "server": 0, "attempt": 1})


def lines(stage, jobs, sessions=()):
    return {line.number: line for line in lines_of(JobFiles(stage, jobs), list(sessions))}


@pytest.mark.parametrize(
    "names, state, restarts",
    [
        (("start",), "loading", 0),
        (("start", "up"), "at work", 0),
        (("start", "up", "down", "start"), "restarting", 1),
        (("start", "did not come up", "start"), "restarting", 1),
        (("start", "up", "down", "start", "up"), "at work", 1),
        (("start", "up", "down", "given up"), "failed", 0),
    ],
)
def test_the_state_follows_from_what_sglang_reported(stage, names, state, restarts):
    begin(stage, 0)
    events(stage, 0, *names)
    line = lines(stage, [job(0)], [session(stage, 0, 2.0)])[0]
    assert (line.state, line.restarts) == (state, restarts)
    assert (line.load_s is not None) == ("up" in names)


def test_events_of_an_earlier_attempt_do_not_count(stage):
    events(stage, 0, "start", "up")
    begin(stage, 0)
    report = stage / "jobs" / "attempts" / "0000-7_0-1-rank0.json"
    files.write_json(report, {"slurm_id": "100", "began_at": time.time()})
    line = lines(stage, [job(0)])[0]
    assert (line.state, line.restarts) == ("starting", 1)


def test_states_of_jobs_that_have_no_server(stage):
    jobs = [job(0, "PENDING", "Resources"), job(1, "FAILED"), job(2, "COMPLETED"), job(3)]
    found = lines(stage, jobs)
    assert [found[number].state for number in range(4)] == ["pending", "failed", "ended", "starting"]
    assert found[0].why == "Resources" and found[1].why == "FAILED"


def test_the_running_job_of_a_number_counts_and_not_the_one_that_waits_for_its_end(stage):
    follower = SlurmJob("8_0", 0, "sdg-a-0002", "PENDING", "", "", "Dependency")
    begin(stage, 0)
    assert lines(stage, [job(0), follower])[0].job == "7_0"


def test_a_server_that_has_not_reported_for_two_minutes_is_silent(stage):
    begin(stage, 0)
    line = lines(stage, [job(0)], [session(stage, 0, 2.0, updated_at=time.time() - 200)])[0]
    assert (line.state, line.rows_per_s, line.eta_s) == ("silent", 0.0, None)


def test_a_drained_server_says_so(stage):
    begin(stage, 0)
    LeaseFolder(stage / "partial" / "leases").create(["00000000-00000016"])
    LeaseFolder(stage / "partial" / "leases").drain("7_0")
    assert lines(stage, [job(0)], [session(stage, 0, 2.0)])[0].state == "draining"


def test_below_half_the_median_is_slow_and_idle_or_few_servers_are_not(stage):
    for number in range(4):
        begin(stage, number)
    jobs, rates = [job(number) for number in range(4)], [2.0, 2.2, 1.8, 0.9]
    found = lines(stage, jobs, [session(stage, number, rate) for number, rate in enumerate(rates)])
    assert [found[number].slow for number in range(4)] == [False, False, False, True]
    idle = [session(stage, number, rate, idle_s=60.0 if rate < 1 else 0) for number, rate in enumerate(rates)]
    assert not any(line.slow for line in lines(stage, jobs, idle).values())
    assert not any(line.slow for line in lines(stage, jobs[2:], idle[2:]).values())


def test_a_server_that_came_up_again_has_the_rate_of_what_it_has_in_flight(stage):
    begin(stage, 0)
    events(stage, 0, "start", "up", "down", "start", "up")  # 96 s ago
    line = lines(stage, [job(0)], [session(stage, 0, 0.5, latency_p50_s=40.0, latency_mean_s=50.0)])[0]
    assert line.rows_per_s == pytest.approx(32 / 50)


def test_sglangs_own_load_is_shown(stage):
    metrics = b"""# HELP sglang:num_running_reqs The number of running requests.
sglang:num_running_reqs{engine_type="unified",model_name="m",tp_rank="0"} 31.0
sglang:num_running_reqs{dp_rank="1"} 1.0
sglang:num_queue_reqs{tp_rank="0"} 5.0
sglang:cache_hit_rate{tp_rank="0"} 0.93
sglang:cache_hit_rate{tp_rank="1"} 0.95
sglang:cache_hit_rate_other 7
"""
    load = load_of(metrics)
    assert load == {"running": 32.0, "queued": 5.0, "cache_hit": pytest.approx(0.94)}
    assert load_of(b"") == {}
    begin(stage, 0)
    events(stage, 0, "start", "up")
    files.write_json(stage.parent.parent / "servers" / "sglang-100-load.json", [load, load])
    line = lines(stage, [job(0)], [session(stage, 0, 2.0)])[0]
    assert (line.running, line.queued, round(line.cache_hit, 2)) == (64.0, 10.0, 0.94)


# --- how long it takes


def worker(rate=1.0, **more):
    return Worker(rate, **{"in_flight": 10, "tail_s": 10.0, **more})


@pytest.mark.parametrize(
    "rows, workers, load_s, seconds",
    [
        (110, [worker()], None, 110),  # one server: what waits, then the tail
        (10, [worker(idle_s=4.0)], None, 6),  # nothing waits: the tail that is left
        (10, [worker(idle_s=40.0)], None, 0.5),
        (1020, [worker(), worker()], None, 510),  # two servers share them
        (1120, [worker(), worker(0.1, tail_s=100.0)], None, 1100),  # the slow one takes some in the end
        (2130, [worker(2.0, queued=210), worker(queued=300, tail_s=100.0)], None, 713),  # which gives some back
        (1010, [worker(), worker(0.0)], None, 1010),  # one without a rate does not count
        (1010, [worker(), worker(0.0, in_flight=0, loading_for_s=100.0)], 300.0, 610),  # but one that loads does
        (100, [worker(0.0)], None, None),
    ],
)
def test_the_time_left(rows, workers, load_s, seconds):
    found = time_left(rows, workers, load_s)
    assert found == seconds if seconds is None else found == pytest.approx(seconds, rel=0.01)


def test_a_server_without_work_is_done_and_one_without_a_rate_is_not_known():
    assert own_time_left(Worker(0.0)) == 0.0
    assert own_time_left(worker(0.0)) is None


# --- the command


def submitted(stage, states):
    """Record jobs with these states, as their driver saw them."""
    with JobRecords.open(stage) as records:
        records.new_submission(list(range(len(states))), len(states), None, shared=True)
        for number, state in enumerate(states):
            fields = {"chunk": number, "state": state, "nodes": f"n{number}", "reason": ""}
            records.append("state", job=f"7_{number}", name=records.submissions[-1].name, **fields)


def test_watch_prints_a_line_a_server_without_slurm_too(stage, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    submitted(stage, ["RUNNING", "RUNNING", "RUNNING", "FAILED"])
    for number, rate in enumerate((2.0, 2.0, 0.5)):
        begin(stage, number)
        session(stage, number, rate)
    files.write_json(stage / "progress.json", {"done": 0, "total": 10_000, "base": 100, "updated_at": 0})
    assert main(["watch", "a"]) == 0
    shown = capsys.readouterr().out
    assert "math/solutions  4,150 of 10,000 rows" in shown and "Slurm cannot be asked" in shown
    assert "server 2 is below half the median" in shown and "drain a 2" in shown and "server 3: FAILED" in shown
    assert main(["watch", "a", "--json"]) == 0
    view = json.loads(capsys.readouterr().out)["stages"][0]
    assert [server["slow"] for server in view["servers"]] == [False, False, True, False]
    assert view["done"] == 4150 and math.isclose(view["eta_s"], 5850 / 4.5, rel_tol=0.1)


def test_words_of_a_server_cannot_steer_the_terminal(stage, capsys):
    submitted(stage, ["RUNNING"])
    begin(stage, 0)
    session(stage, 0, 2.0, trouble="down \x1b[2J\x07 again")
    files.write_json(stage / "progress.json", {"done": 0, "total": 10, "base": 0, "updated_at": 0})
    main(["watch", "a"])
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\x07" not in shown and "again" in shown


def test_drain_names_the_servers_that_can_be_drained(stage, capsys, monkeypatch):
    submitted(stage, ["RUNNING"])
    monkeypatch.setattr("sdg_helpers.cluster.slurm.list_jobs", lambda names: [job(0)])
    LeaseFolder(stage / "partial" / "leases").create(["00000000-00000016"])
    assert main(["drain", "a", "5"]) == 2 and "Servers with one: 0." in capsys.readouterr().err
    assert main(["drain", "a", "0"]) == 0
    assert LeaseFolder(stage / "partial" / "leases").is_draining("7_0")


# --- what stays


def test_the_sessions_stay_when_the_stage_is_complete(stage, tmp_path, capsys):
    problems = write_problems(tmp_path / "a" / "problems.jsonl", 8)
    with StandIn() as server:
        generate(problems, stage, server.base_url, num_seeds=2)
    (row,) = files.read_jsonl(stage / "sessions.jsonl")
    assert row["rows"] == row["done"] == 16 and row["host"] and not (stage / "partial").exists()
    assert main(["watch", "a"]) == 0
    assert "math/solutions  complete, in 1 sessions" in capsys.readouterr().out


def test_sessions_are_kept_once(tmp_path):
    meter = Meter()
    meter.reply(Completion("x", "inline", "stop", 1, 2, 0.5))
    for _ in range(2):
        Session(tmp_path).save(meter.progress(0, 0, 4, "", {}), 1, force=True)
        keep_history(tmp_path, tmp_path / "sessions.jsonl")
    assert len(list(files.read_jsonl(tmp_path / "sessions.jsonl"))) == 2


# --- messages and metrics


@pytest.fixture
def pager(tmp_path):
    """A command that appends its last word and the event's name to a file."""
    script = tmp_path / "pager"
    script.write_text(f'#!/bin/sh\nprintf "%s|%s|%s\\n" "$SDG_EVENT" "$SDG_RUN" "$1" >>{tmp_path}/pages\n')
    script.chmod(0o755)
    return [str(script)], tmp_path / "pages"


def test_a_message_is_one_word_whatever_is_in_it(pager):
    command, pages = pager
    assert notify(command, "a", "server failed", "$(touch /tmp/x) `id` {run} %s\n\x1b[2J; rm -rf /")
    assert pages.read_text() == "server failed|a|$(touch /tmp/x) `id` {run} %s \\x1b[2J; rm -rf /\n"


@pytest.mark.parametrize(
    "command, why",
    [(["sh", "-c", "sleep 60"], "took more than 2 s"), (["false"], "exit code 1"), (["/none"], "No such file")],
)
def test_a_command_that_fails_or_hangs_is_warned_of(command, why):
    with pytest.warns(UserWarning, match=f"notify: .* failed: .*{why}"):
        assert not notify(command, "a", "x", "y", 2)


def test_what_happens_to_servers_is_told_once(stage):
    def view(**more):
        servers = [replace(ServerLine(number, f"7_{number}", f"n{number}", "at work"), **more) for number in range(2)]
        return RunView("a", [StageView("math/solutions", 1, 2, 0, 0.0, servers)])

    assert news(RunView("a"), view()) == []
    failed = view(state="failed", why="NODE_FAIL")
    assert [event for event, _ in news(view(), failed)] == ["server failed"] * 2
    assert "server 1 on n1 is failed: NODE_FAIL" in news(view(), failed)[1][1]
    assert news(failed, failed) == []
    assert "sdg drain a 0" in news(view(), view(slow=True))[0][1] and news(view(slow=True), view(slow=True)) == []


def test_a_run_is_monitored_until_it_ends(stage, pager, tmp_path):
    command, pages = pager
    submitted(stage, ["RUNNING", "RUNNING", "RUNNING", "FAILED"])
    for number, rate in enumerate((2.0, 2.0, 0.5)):
        begin(stage, number)
        session(stage, number, rate)
    files.write_json(stage / "progress.json", {"done": 0, "total": 10_000, "base": 100, "updated_at": 0})
    profile = Profile(notify=command, metrics_folder=str(tmp_path / "metrics"))
    with pytest.raises(RuntimeError), Monitor(tmp_path / "a", profile, look_s=0.05):
        assert eventually(lambda: pages.exists() and pages.read_text().count("\n") >= 2)
        raise RuntimeError("out of luck")
    told = pages.read_text().splitlines()
    assert sorted(line.partition("|")[0] for line in told) == ["run stopped", "server failed", "server slow"]
    assert told[-1] == "run stopped|a|a: stopped: out of luck"
    samples = {
        (sample.name, sample.labels.get("server")): sample.value
        for family in text_string_to_metric_families((tmp_path / "metrics" / "sdg-a.prom").read_text())
        for sample in family.samples
    }
    assert samples["sdg_rows_done", None] == 4150 and samples["sdg_rows_total", None] == 10_000
    assert [samples["sdg_server_slow", str(number)] for number in range(4)] == [0, 0, 1, 0]
    assert samples["sdg_server_up", "3"] == 0 and ("sdg_server_requests_running", "0") not in samples


def test_a_run_without_wishes_is_not_looked_at(tmp_path):
    with Monitor(tmp_path / "nowhere", Profile()) as monitor:
        assert not monitor._thread.is_alive()
