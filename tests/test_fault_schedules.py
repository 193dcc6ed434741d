"""Seeded schedules of faults during the solving stage: kills, torn and duplicate lines, full disks, servers that fail,
send garbage and die. In the end the files have the same bytes as after an undisturbed run.

    SCHEDULES=1000 python -m pytest tests/test_fault_schedules.py      # `make bench` does it
"""

import os
import random
import shutil
import signal
import sys
import time

import pytest

from sdg_helpers import files, solutions
from sdg_helpers.completions.engine import complete
from sdg_helpers.completions.types import Limits, Sampling
from sdg_helpers.prompts import load_prompt
from sdg_helpers.solutions import seed_files
from tests.helpers.forks import exit_code, run_in_child
from tests.helpers.solving import endpoint_server, rows_of, write_problems
from tests.helpers.stages import stage_at
from tests.helpers.standin import StandIn

FIRST, ALL = 5, int(os.environ.get("SCHEDULES", "15"))
FAULTS = (
    "",
    "429=0.2,503=0.1",
    "500=0.2,disconnect=0.1,cut_json=0.1",
    "garbage=0.1,empty=0.1,no_message=0.1,truncated=0.1,huge=0.001",
    "duplicate=0.2,late_copy=0.1,error_200=0.1",
    "hang=0.02,abort=0.1,parts=0.1",
)
SETTINGS = {
    "prompt": load_prompt("math/solve-few-shot"),
    "sampling": Sampling(0.6, 0.95, 200),
    "model": "standin",
    "limits": Limits(concurrency=8, timeout_s=1.0, max_retries=30, outage_deadline_s=20),
}


@pytest.fixture(scope="module")
def servers():
    """One stand-in per set of faults. Texts depend on prompt and seed alone, so all stand-ins give the same ones."""
    started = [StandIn(latency="tail:0.003:0.03:0.1", faults=faults).start() for faults in FAULTS]
    yield started
    for server in started:
        server.stop()


def solve(problems, folder, base_url, num_seeds):
    return solutions.generate_solutions(
        problems, stage_at(folder), open_server=lambda: endpoint_server(base_url), num_seeds=num_seeds, **SETTINGS
    )


def killed(rng, problems, folder, server, num_seeds):
    pid = run_in_child(lambda: solve(problems, folder, server.base_url, num_seeds))
    time.sleep(rng.choice([rng.uniform(0, 0.03), rng.uniform(0, 0.3)]))
    os.kill(pid, signal.SIGKILL)
    assert exit_code(pid) in (-signal.SIGKILL, 0)


def full_disk(rng, problems, folder, server, num_seeds):
    limit = rng.randrange(500, 20_000)
    assert exit_code(run_in_child(lambda: solve(problems, folder, server.base_url, num_seeds), limit)) in (0, 3)


def torn(rng, problems, folder, server, num_seeds):
    """A power cut during a write: only a part of the last line of any partial file is left."""
    partial = sorted((folder / "partial").glob("rs*/*.jsonl"))
    if partial:
        path = rng.choice(partial)
        data = path.read_bytes()
        last = data.rstrip(b"\n").rfind(b"\n") + 1
        path.write_bytes(data[: rng.randrange(last, len(data) + 1)])


def doubled(rng, problems, folder, server, num_seeds):
    """A node that was thought lost wrote some of the same rows."""
    partial = sorted((folder / "partial").glob("rs*/*.jsonl"))
    if partial:
        path = rng.choice(partial)
        lines = path.read_bytes().splitlines(keepends=True)
        lines = [line for line in lines if line.endswith(b"\n")]
        copies = rng.sample(lines, rng.randint(0, len(lines)))
        path.with_name(f"other-{rng.randrange(10**6)}.jsonl").write_bytes(b"".join(copies))


def two_drivers(rng, problems, folder, server, num_seeds):
    """Two drivers at once: one works and the other one is rejected, or both are."""
    pids = [run_in_child(lambda: solve(problems, folder, server.base_url, num_seeds)) for _ in range(2)]
    assert set(map(exit_code, pids)) <= {0, 3}


DISASTERS = (killed, killed, killed, full_disk, torn, torn, doubled, two_drivers)


@pytest.mark.skipif(sys.platform != "linux", reason="forks with libraries loaded: Linux only")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    "numbers",
    [pytest.param(range(FIRST), id="first"), pytest.param(range(FIRST, ALL), id="others", marks=pytest.mark.slow)],
)
def test_files_are_the_same_after_every_schedule(tmp_path, servers, numbers):
    calm = {}
    for number in numbers:
        rng = random.Random(number)
        count, num_seeds = rng.choice([1, 7, 25]), rng.choice([1, 3])
        problems = write_problems(tmp_path / f"p{count}" / "problems.jsonl", count)
        if (count, num_seeds) not in calm:
            folder = tmp_path / f"calm-{count}-{num_seeds}"
            assert (
                exit_code(run_in_child(lambda p=problems, f=folder, n=num_seeds: solve(p, f, servers[0].base_url, n)))
                == 0
            )
            calm[count, num_seeds] = rows_of(folder), files.read_json(folder / "manifest.json")["counts"]
        server, folder = rng.choice(servers), tmp_path / "s"
        for disaster in rng.choices(DISASTERS, k=rng.randint(1, 4)):
            disaster(rng, problems, folder, server, num_seeds)
        code = exit_code(run_in_child(lambda p=problems, f=folder, s=server, n=num_seeds: solve(p, f, s.base_url, n)))
        rows, counts = calm[count, num_seeds]
        assert code == 0 and rows_of(folder) == rows, f"schedule {number}"
        assert files.read_json(folder / "manifest.json")["counts"] == counts, f"schedule {number}"
        assert list(seed_files.seed_files(folder)) == list(range(num_seeds))
        shutil.rmtree(folder)


def test_a_server_that_dies_and_returns_loses_no_request(tmp_path):
    """Kill -9 the server twice; the same client continues."""
    from sdg_helpers.completions.types import Request

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
