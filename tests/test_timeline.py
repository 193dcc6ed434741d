"""Speed over time: points of a session stay few, and sessions add up."""

import pytest

from sdg_helpers import files
from sdg_helpers.completions import sessions
from sdg_helpers.completions.meter import Meter
from sdg_helpers.completions.timeline import Timeline, merge


def test_points_of_a_long_session_stay_few_and_keep_its_ends():
    timeline = Timeline()
    for second in range(100_000):
        timeline.add(second, 8, 10 * second)
    timeline.add(100_000, 0, 1_000_000, last=True)
    assert len(timeline.points) <= 121
    assert timeline.points[0] == (0, 8, 0) and timeline.points[-1] == (100_000, 0, 1_000_000)
    gaps = [later[0] - one[0] for one, later in zip(timeline.points, timeline.points[1:], strict=False)]
    assert max(gaps) < 4000


def test_sessions_that_overlap_add_up_and_a_pause_is_empty():
    first, second = [(0, 4, 0), (100, 4, 1000)], [(50, 2, 0), (100, 2, 500)]
    third = [(300, 4, 0), (400, 4, 2000)]
    merged = merge([third, first, second, [(0, 1, 1)], []])
    assert merged["begun_at"] == 0 and merged["starts"] == [0, 50, 300]
    speeds, step = merged["tokens_per_s"], merged["step_s"]
    assert sum(speeds) * step == pytest.approx(3500, rel=0.01)
    assert speeds[0] == pytest.approx(10) and speeds[20] == pytest.approx(20) and speeds[60] == 0
    assert merged["in_flight"][20] == pytest.approx(6)


def test_a_stage_hands_on_what_its_sessions_recorded(tmp_path):
    for _ in range(2):
        session, meter = sessions.Session(tmp_path), Meter()
        session.save(meter.progress(4, 0, 4, "", {}), 0)
        meter.completed(5, 100, 0.2)
        session.save(meter.progress(0, 0, 4, "", {}), 1, force=True)
    assert len(list(tmp_path.glob("session-*.json"))) == 2
    for number, path in enumerate(sorted(tmp_path.glob("session-*.json"))):
        record = files.read_json(path)
        record["points"] = [
            [100 * number + when, busy, tokens] for when, (_, busy, tokens) in enumerate(record["points"])
        ]
        files.write_json(path, record)
    found = sessions.total_usage(tmp_path)["timeline"]
    assert found == sessions.timeline(tmp_path) and found["starts"] == [0, 100]
    assert sum(found["tokens_per_s"]) * found["step_s"] == pytest.approx(200, rel=0.05)
