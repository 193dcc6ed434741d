"""Plans are arithmetic that a person can check; measured figures come from manifests."""

import math

import pytest

from sdg_helpers import files, machine, planning, runs
from sdg_helpers.completions import sessions
from sdg_helpers.errors import SdgError
from sdg_helpers.planning.report import loss_lines
from sdg_helpers.planning.scale import losses
from sdg_helpers.profiles import Profile
from sdg_helpers.runs import history


def test_a_plan_adds_up():
    scale = planning.Scale(
        problems=1000,
        num_seeds=4,
        mean_tokens=500,
        gpus_per_server=8,
        tokens_per_s=1000,
        servers=2,
        comparisons_per_problem=2,
        judge_tokens=100,
        judge_gpus=4,
        judge_tokens_per_s=1000,
    )
    table = planning.plan(scale)
    solving = table.loc["03 solutions"]
    assert (solving["requests"], solving["tokens"]) == (4000, 2_000_000)
    assert solving["gpu_hours"] == pytest.approx(2000 * 8 / 3600) and solving["hours"] == pytest.approx(1000 / 3600)
    assert solving["gigabytes"] == pytest.approx(4000 * (500 * 4 + 1500) / 1e9)
    assert table.loc["04 judged", "gpu_hours"] == pytest.approx(200 * 4 / 3600)
    assert table.loc["all", "tokens"] == pytest.approx(2_000_000 + 200_000 * 1.05)


def test_the_full_recipe_is_of_the_right_order():
    table = planning.plan(planning.Scale())
    assert 10_000 < table.loc["all", "gpu_hours"] < 100_000 and 200 < table.loc["03 solutions", "gigabytes"] < 600


@pytest.mark.parametrize(
    "changed, advice",
    [
        ({}, ""),  # two servers work for 20 hours
        ({"hours_per_job": 1.0}, "raise `time_limit_min` (now 60)"),
        ({"servers": 100}, "lower `servers`"),
    ],
)
def test_a_plan_says_what_writes_no_tokens(changed, advice):
    known = {"num_seeds": 1, "mean_tokens": 1000, "tokens_per_s": 1000, "gpus_per_server": 1, "servers": 2}
    scale = planning.Scale(problems=144_000, **{**known, "load_min": 15, "hours_per_job": 10, "tail_s": 450, **changed})
    shares = losses(scale)
    solving = planning.plan(scale).filter(like="03", axis=0)["gpu_hours"].sum()
    gpu_hours = {name: share * solving for name, share in shares.items()}
    if not changed:
        assert gpu_hours == pytest.approx({"starts": 0.5, "restarts": 0.5, "tails": 0.25})
    told = loss_lines(scale)
    assert f"{shares['restarts']:.1%} to restarts" in told[0]
    assert advice in told[-1] and len(told) == 1 + bool(advice)


def test_what_a_run_took_is_read_from_its_manifests(tmp_path, monkeypatch):
    monkeypatch.setenv("SDG_OUTPUTS", str(tmp_path))
    track = runs.Track(tmp_path / "a" / "math", "math")
    with pytest.raises(SdgError, match="Run notebook math/03_generate_solutions first"):
        planning.scale_from_run(tmp_path / "a", 10, 2)
    for stage, more in (
        (
            "solutions",
            {
                "generated_tokens": 600,
                "problems": 3,
                "requests": {"done": 6, "failed": 0, "completion_tokens": 600, "elapsed_s": 20.0, "tokens_per_s": 30.0},
            },
        ),
        ("judged", {"comparisons_asked": 6, "requests": {}}),
    ):
        with track.stage(stage).work({}, {}) as work:
            work.finish(rows_in=6, rows_out=6, **more)
    table = planning.measure_run(tmp_path / "a")
    assert list(table.index) == ["solutions", "judged"] and table.loc["solutions", "tokens"] == 600
    scale = planning.scale_from_run(tmp_path / "a", 500, 16)
    assert (scale.mean_tokens, scale.tokens_per_s) == (100, 30.0)
    assert scale.comparisons_per_problem == pytest.approx(2 * 8**0.5), "with the root of eight times as many seeds"
    assert (scale.judge_tokens_per_s, scale.judge_gpus) == (4000, 8), "no judge was asked: the full recipe's"


def session(began_at, elapsed_s, updated_at=None, attempt="", **more):
    """The record of a session; without a later report it ends when its requests do."""
    record = dict.fromkeys((*sessions._COUNTS, *sessions._LATENCIES, *sessions._CURRENT), 0)
    times = {"began_at": began_at, "updated_at": updated_at or began_at + elapsed_s, "elapsed_s": elapsed_s}
    return {**record, "rows": 1, "done": 1, "host": "n1", "attempt": attempt, **times, **more}


def test_hours_of_servers_are_measured_by_stage(tmp_path, monkeypatch):
    """In jobs from their start to their last report, on one machine with requests in flight; with 8 GPUs a server."""
    monkeypatch.setenv("SDG_OUTPUTS", str(tmp_path))
    servers = {
        "solver": {"engine": "sglang", "model": "/m", "tp_size": 8},
        "judge": {"engine": "embedded", "model": "m"},
    }
    history.add_session(tmp_path / "a", Profile.model_validate({"servers": servers}), {})
    track = runs.Track(tmp_path / "a" / "math", "math")
    for number, report in enumerate(
        (
            {"job": "7_0", "restart": 0, "began_at": 0.0, "at": 3600.0},  # it ended by itself
            {"job": "7_0", "restart": 1, "began_at": 5000.0, "at": 5001.0},  # it was killed: its session saw more
            {"job": "7_1", "restart": 0, "began_at": 9000.0, "at": 9001.0},  # it never came so far
        )
    ):
        files.write_json(track.solutions / "jobs" / "attempts" / f"{number:04d}-x-0-rank0.json", report)
        files.write_json(track.solutions / "jobs" / "attempts" / f"{number:04d}-x-0-rank1.json", report)
    (track.solutions / "jobs" / "attempts" / "0009-x-0-rank0.json").write_text("{torn")
    kept = [session(600, 3000, attempt="7_0-0"), session(5100, 3400, attempt="7_0-1")]
    for place, one in enumerate(kept):
        files.write_json(track.solutions / "partial" / f"session-{place}.json", one)
    (track.solutions / "sessions.jsonl").write_bytes(files.dumps({"session": "session-0", **kept[0]}))
    (track.judged / "partial").mkdir(parents=True)
    files.write_json(track.judged / "partial" / "session-1.json", session(0, 1800))
    table = planning.measure_run(tmp_path / "a")
    assert table.loc["solutions", "server_hours"] == pytest.approx((3600 + 3500 + 1) / 3600, abs=1e-3)
    assert table.loc["solutions", "gpu_hours"] == pytest.approx(8 * table.loc["solutions", "server_hours"], abs=1e-3)
    assert table.loc["judged", "server_hours"] == 0.5 and math.isnan(table.loc["judged", "gpu_hours"])
    assert table["requests"].to_dict() == {"solutions": 2, "judged": 1} and table["hours"].isna().all()
    assert planning.held_hours(table) == ("GPU-hours", {"solutions": table.loc["solutions", "gpu_hours"]})
    assert planning.held_hours(table.loc[["judged"]]) == ("server-hours", {"judged": 0.5})


@pytest.mark.parametrize(
    "judge, gpus", [({}, 1), ({"judge": {"engine": "sglang", "model": "/m", "tp_size": 4, "num_servers": 2}}, 8)]
)
def test_more_of_the_same_is_judged_as_fast_as_it_was(tmp_path, judge, gpus):
    """The demo's 7 judgements took 28 s: 280 take about 19 minutes."""
    solver = {"engine": "embedded", "model": "m"}
    history.add_session(tmp_path / "a", Profile.model_validate({"servers": {"solver": solver, **judge}}), {})
    track = runs.Track(tmp_path / "a" / "math", "math")
    with track.stage("solutions").work({}, {}) as work:
        work.finish(
            rows_in=100,
            rows_out=100,
            generated_tokens=8000,
            problems=25,
            requests={"done": 100, "completion_tokens": 8000, "elapsed_s": 400.0},
        )
    with track.stage("judged").work({}, {}) as work:
        work.finish(
            rows_in=100,
            rows_out=100,
            comparisons_asked=7,
            requests={"done": 7, "completion_tokens": 84, "elapsed_s": 28.0},
        )
    judging = planning.plan(planning.scale_from_run(tmp_path / "a", 1000, 4)).loc["04 judged"]
    assert judging["requests"] == 280 and judging["hours"] == pytest.approx(280 * 4 / 3600)
    assert judging["gpu_hours"] == pytest.approx(gpus * judging["hours"])


def test_a_check_of_the_machine_says_what_to_do():
    rows = machine.check_machine()
    assert {row["ready"] for row in rows} <= {"yes", "no", "not needed here"}
    assert all(row["what to do"] for row in rows if row["ready"] == "no")
