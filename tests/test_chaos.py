"""Seeded schedules of disasters on whole runs (tests/helpers/chaos.py). `make chaos N=1000` plays more of them."""

import random
import sys
import time

import pytest

from sdg_helpers.completions.engine import complete
from sdg_helpers.completions.types import Limits, Request, Sampling
from tests.helpers import damaging
from tests.helpers.chaos import Campaign
from tests.helpers.standin import StandIn

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="forks with libraries loaded: Linux only"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    with Campaign(tmp_path_factory.mktemp("chaos")) as campaign:
        yield campaign


@pytest.mark.slow
@pytest.mark.parametrize("number", range(30))
def test_every_schedule_ends_like_an_undisturbed_run(campaign, number):
    assert campaign.play(number).violations == []


def cut_seed(schedule):
    """Lose rows of a seed that is finished and judged."""
    schedule.expect(schedule.start(upto="judged"), (0,))
    assert schedule.violations == []
    path = schedule.track / "solutions" / "output-rs1.jsonl"
    damaging.cut_rows(path)
    schedule.damaged(path)
    (schedule.track / "judged" / "manifest.json").unlink()


@pytest.mark.slow
def test_a_cut_seed_is_found_and_repaired(campaign):
    schedule = campaign.play(0, [cut_seed])
    assert schedule.violations == [] and schedule.found == {"the next stage": 1}


def test_the_campaign_notices_a_silent_loss(campaign, monkeypatch):
    """Without the checks of manifests.py, the campaign must fail: else it proves nothing."""
    monkeypatch.setattr("sdg_helpers.manifests._flaw", lambda *_, **__: "")
    monkeypatch.setattr("sdg_helpers.fingerprints.Check.passes", lambda _: True)
    schedule = campaign.play(0, [cut_seed])
    assert schedule.silent and "other content than after an undisturbed run" in schedule.violations[0]


def raise_a_bug(schedule):
    schedule.expect(schedule.start(first=lambda: 1 / 0), (0, 3))


def test_the_campaign_notices_a_traceback(campaign):
    (violation,) = campaign.play(0, [raise_a_bug]).violations
    assert "the run raised: ZeroDivisionError" in violation


def test_a_server_that_dies_and_returns_loses_no_request():
    """Kill -9 the server twice; the same client continues."""
    server, rng, answered = StandIn(latency="0.02").start(), random.Random(5), []
    kills = iter([40, 90])
    upcoming = next(kills)

    def on_completion(request, completion):
        nonlocal server, upcoming
        answered.append(request.key)
        if len(answered) == upcoming:
            upcoming = next(kills, 0)
            server.kill()
            time.sleep(rng.uniform(0.1, 0.5))
            server = server.again()

    requests = (Request(i, [{"role": "user", "content": f"What is {i} + 1?"}], i) for i in range(150))
    progress = complete(
        requests,
        server.client(),
        model="standin",
        sampling=Sampling(0.6),
        limits=Limits(8, timeout_s=5, outage_deadline_s=30),
        on_completion=on_completion,
        on_failure=lambda request, failure: pytest.fail(str(failure)),
    )
    server.stop()
    assert sorted(answered) == list(range(150)) and progress.failed == 0
