"""Blocks that servers take from a shared folder: whatever is killed, stopped or answered, every row is there once."""

import os
import signal

import numpy as np
import pytest

from sdg_helpers.cluster.servers import SharedBlocks
from sdg_helpers.cluster.slurm_jobs import SlurmJob
from sdg_helpers.completions.types import Request
from sdg_helpers.errors import SdgError
from sdg_helpers.leases import blocks, lease_folder
from sdg_helpers.leases.feed import Feed
from sdg_helpers.leases.heartbeats import Heartbeat, Observer
from sdg_helpers.leases.lease_folder import LeaseFolder, job_of
from tests.helpers.leasing import IN_FLIGHT, PROBLEMS, SEEDS, FaultyFiles, Shared, code_of
from tests.helpers.watching import eventually

TOTAL = PROBLEMS * SEEDS


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """The rows of a stage that nothing disturbs."""
    shared = Shared(tmp_path_factory.mktemp("calm"))
    shared.finish()
    assert set(shared.asked().values()) == {1} and shared.asked().total() == TOTAL
    return shared.rows()


@pytest.fixture
def shared(tmp_path):
    """A stage with blocks for four servers."""
    stage = Shared(tmp_path)
    assert stage.driver.unfinished(4, []) == [0, 1, 2, 3]
    return stage


def check(shared, calm, victims=1):
    """Complete, the same bytes, and nothing asked again but what was in flight."""
    shared.finish()
    assert shared.leases.free() == [] and shared.leases.taken() == []
    assert TOTAL <= shared.asked().total() <= TOTAL + victims * IN_FLIGHT
    assert shared.rows() == calm


# --- blocks


@pytest.mark.parametrize("count, seeds, servers, sizes", [(480, 16, 2, {16, 1}), (40, 2, 4, {1}), (3, 1, 8, {1})])
def test_blocks_cover_the_unfinished_items_once(count, seeds, servers, sizes):
    rng = np.random.default_rng(0)
    for share in (1.0, 0.3):
        unfinished = rng.random(count) < share
        names = blocks.split(unfinished, seeds, servers)
        covered = np.zeros(count, dtype=int)
        for name in names:
            assert blocks.is_block(name)
            covered[list(blocks.items_of(name))] += 1
        assert names == sorted(names) and (covered[unfinished] == 1).all() and covered.max() <= 1
        held = {int(unfinished[list(blocks.items_of(name))].sum()) for name in names}
        assert held <= {*range(max(sizes) + 1)} and max(held) == max(sizes) if share == 1.0 else True
    assert blocks.split(np.zeros(5, dtype=bool), 1, 1) == []


# --- the folder


@pytest.fixture
def leases(tmp_path):
    folder = LeaseFolder(tmp_path / "leases")
    folder.create([f"{i:08d}-{i + 1:08d}" for i in range(100)])
    return folder


def test_a_block_is_always_in_one_place(leases):
    lease = leases.take("a")
    assert leases.holds(lease) and lease.former == ()
    assert len(leases.free()) == 99 and [one.name for one in leases.taken()] == [lease.name]
    stolen = leases.steal(lease, "b")
    assert stolen.former == ("a",) and not leases.holds(lease)
    assert not leases.finish(lease) or leases.done() == 0  # the first owner's done changes nothing
    leases.give_back(lease)
    assert leases.holds(stolen) and len(leases.free()) == 99 and leases.done() == 0
    assert leases.steal(lease, "c") is None
    leases.give_back(stolen)
    assert len(leases.free()) == 100
    while (again := leases.take("c")).block != lease.block:
        leases.finish(again)
    assert again.former == ("a", "b")
    assert leases.finish(again) and leases.taken() == []


def test_a_block_is_split_and_its_second_part_is_free(leases):
    leases.create(["00000010-00000020"])
    first = leases.take("a")
    assert not leases.has_free()
    rest = leases.split(leases.steal(first, "b"), 13)
    assert (rest.block, rest.former) == ("00000010-00000013", ("a",)) and leases.holds(rest)
    assert leases.has_free() and leases.free() == ["00000013-00000020"]
    assert leases.take("c").former == ("a",)  # b has sent nothing of it
    assert leases.split(first, 12) is None and leases.free() == []


@pytest.mark.parametrize("faults", [{"enoent": 0.5}, {"stale": 20}, {"enoent": 0.5, "stale": 20}, {}])
def test_owners_share_all_blocks_whatever_the_file_system_answers(leases, monkeypatch, faults):
    monkeypatch.setattr(lease_folder, "os", FaultyFiles(**faults))
    owners = {name: LeaseFolder(leases.folder) for name in "abcd"}
    taken = []
    for _ in range(100):
        for name, own in owners.items():
            if lease := own.take(name):
                taken.append(lease.block)
                assert own.finish(lease) or own.finish(lease)
    assert len(taken) == len(set(taken)) == 100 == len(os.listdir(leases.folder / "done"))


def test_sixty_four_servers_find_their_blocks_in_few_steps(tmp_path, monkeypatch):
    leases = LeaseFolder(tmp_path / "leases")
    leases.create(f"{16 * i:08d}-{16 * i + 16:08d}" for i in range(1000))
    steps = {"rename": 0, "listdir": 0}

    class Counting(FaultyFiles):
        def rename(self, *words):
            steps["rename"] += 1
            super().rename(*words)

        def listdir(self, folder):
            steps["listdir"] += 1
            return os.listdir(folder)

    monkeypatch.setattr(lease_folder, "os", Counting())
    owners = {f"owner{i}": LeaseFolder(leases.folder) for i in range(64)}
    left = set(owners)
    while left:
        for name in sorted(left):
            if lease := owners[name].take(name):
                owners[name].finish(lease)
            else:
                left.discard(name)
    assert leases.done() == 1000 and steps["rename"] <= 10 * 1000 and steps["listdir"] <= 1000


def test_the_job_of_an_owner():
    assert job_of("1764210000000000000-solve-123_4-2-0a1b2c3d") == "123_4"
    assert job_of("1764210000000000000-solve-123_4@a-1-f-2-0a1b2c3d") == "123_4@a-1-f"
    assert job_of("1764210000000000000-solve-77-0-0a1b2c3d") == "77" and job_of("someone") == ""


# --- heartbeats


def test_an_owner_expires_by_the_observers_own_clock_only(tmp_path):
    now = [0.0]
    beats = {"alive": 0, "dead": 0}
    observer = Observer(tmp_path, 600, lambda: now[0])
    for minute in range(30):
        now[0] = 60.0 * minute
        for path in tmp_path.iterdir():
            path.unlink()
        beats["alive"] += 1
        for owner, count in beats.items():
            path = tmp_path / f"{owner}.{count}"
            path.touch()
            os.utime(path, (3600.0 * minute, -3600.0 * minute))  # the clocks of nodes, anywhere
        expired = observer.look({"alive", "dead", "never seen"})
        assert expired == ({"dead", "never seen"} if minute > 10 else set())
    now[0] += 3600  # this machine was suspended: the others get their ten minutes again
    assert observer.look({"alive", "dead"}) == set()


def test_a_full_or_hanging_disk_does_not_end_the_heartbeat(tmp_path, monkeypatch):
    looks, full = [], [True]
    real = os.rename

    def rename(source, target):
        if full[0]:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)

    def on_beat():
        looks.append(1)
        if full[0]:
            raise OSError(5, "Input/output error")

    heart = Heartbeat(tmp_path, "me", on_beat, 0.01)
    heart.start()
    assert eventually(lambda: len(looks) > 3)
    full[0] = False
    first = max(os.listdir(tmp_path), default="")
    assert eventually(lambda: max(os.listdir(tmp_path), default="") > first)
    heart.stop()
    heart.join()
    assert os.listdir(tmp_path) == []


# --- servers as processes


RENAMES = [f"{when} rename {number}" for number in (1, 2, 3, 4) for when in ("before", "after")]


@pytest.mark.parametrize("die", [*RENAMES, "before sync 1", "after sync 1", "before sync 3"])
def test_a_server_killed_at_any_step_loses_nothing(shared, calm, die):
    assert code_of(shared.start(die=die, answer_s=0.002)) == -signal.SIGKILL
    check(shared, calm)


@pytest.mark.parametrize(
    "faults", [{"enoent": 0.5}, {"stale": 30}, {"clock_s": 3600.0}, {"enoent": 0.3, "stale": 5, "clock_s": -3600.0}]
)
def test_a_strange_file_system_or_clock_changes_nothing(shared, calm, faults):
    servers = [shared.start(answer_s=0.01, **faults), shared.start(answer_s=0.01)]
    assert [code_of(server) for server in servers] == [0, 0]
    check(shared, calm, victims=0)


def test_a_server_that_is_stopped_and_continued_does_no_harm(shared, calm):
    victim = shared.start(answer_s=0.05, expiry_s=5.0)
    assert eventually(lambda: len(shared.leases.taken()) >= 2)
    os.kill(victim.pid, signal.SIGSTOP)
    held = {lease.name for lease in shared.leases.taken()}
    thief = shared.start(answer_s=0.1, expiry_s=5.0)
    assert eventually(lambda: not held & {lease.name for lease in shared.leases.taken()})
    assert code_of(thief) == 0
    assert shared.leases.free() == [] and shared.leases.taken() == []
    os.kill(victim.pid, signal.SIGCONT)
    assert code_of(victim) == 0
    check(shared, calm)


def test_the_next_start_of_a_job_takes_its_blocks_at_once(shared, calm):
    first = shared.start(answer_s=0.05, job="77")
    assert eventually(lambda: len(shared.leases.taken()) >= 2)
    first.kill()
    code_of(first)
    held = {lease.block for lease in shared.leases.taken()}
    assert code_of(shared.start(job="77")) == 0
    assert held and shared.leases.free() == [] and shared.leases.taken() == []
    check(shared, calm)


def test_a_drained_server_finishes_what_it_has_sent_and_gives_back_the_rest(shared, calm):
    server = shared.start(answer_s=0.05, job="77")
    assert eventually(lambda: shared.asked().total() >= 8)
    shared.leases.drain("77")
    assert code_of(server) == 0
    assert shared.leases.free() and shared.leases.taken() == []
    assert shared.asked().total() < TOTAL
    check(shared, calm, victims=0)


def test_servers_that_join_late_take_over_from_a_slow_one(shared, calm):
    slow = shared.start(answer_s=0.3)
    assert eventually(lambda: shared.asked().total() >= IN_FLIGHT)
    late = [shared.start(answer_s=0.01) for _ in range(2)]
    assert [code_of(server) for server in (slow, *late)] == [0, 0, 0]
    asked = len((shared.folder / f"asked-{slow.pid}").read_text().splitlines())
    assert asked < TOTAL / 3
    check(shared, calm, victims=0)


def test_a_slow_server_gives_back_what_it_has_not_sent(shared, calm):
    shared.leases.create([blocks.block_of(0, PROBLEMS // 2), blocks.block_of(PROBLEMS // 2, PROBLEMS)])
    slow = shared.start(answer_s=0.3)
    assert eventually(lambda: shared.asked().total() >= IN_FLIGHT)
    fast = shared.start(answer_s=0.005)
    assert [code_of(server) for server in (slow, fast)] == [0, 0]
    assert len((shared.folder / f"asked-{slow.pid}").read_text().splitlines()) < TOTAL / 4
    check(shared, calm, victims=0)


def test_a_server_gives_back_blocks_that_it_has_not_begun(leases):
    def requests_of(lease):
        return [Request((item, seed), []) for item in blocks.items_of(lease.block) for seed in (0, 1)]

    with Feed(leases, "slow", requests_of, lambda: None, ahead=200) as feed:
        assert eventually(lambda: not leases.free())
        first = next(feed)
        fast, taken = LeaseFolder(leases.folder), []
        assert eventually(lambda: take_into(taken, fast) == 99)  # all but that of the first request
        assert not any(lease.former for lease in taken)
        assert next(feed).key == (first.key[0], 1)
        for key in (first.key, (first.key[0], 1)):
            feed.ended(Request(key, []))
    assert leases.done() == 1


def take_into(taken, leases):
    if lease := leases.take("fast"):
        taken.append(lease)
    return len(taken)


@pytest.mark.parametrize("die", [f"{when} rename {number}" for number in (2, 3, 4, 5) for when in ("before", "after")])
def test_a_server_killed_while_it_gives_back_loses_nothing(shared, calm, die):
    shared.leases.create([blocks.block_of(0, PROBLEMS)])
    assert code_of(shared.start(die=die, answer_s=0.1)) == -signal.SIGKILL
    check(shared, calm)


def test_a_second_driver_that_sees_no_jobs_makes_new_blocks_and_loses_nothing(shared, calm):
    server = shared.start(answer_s=0.05)
    assert eventually(lambda: shared.asked().total() >= 8)
    other = Shared(shared.folder.parent.parent)
    assert other.driver.unfinished(2, []) == [0, 1]
    assert code_of(server) == 0
    check(other, calm, victims=3)


def test_a_live_server_keeps_its_blocks_when_another_driver_begins(shared, calm):
    server, live = shared.start(answer_s=0.05, job="77"), [SlurmJob("77", 0, "x", "RUNNING")]
    assert eventually(lambda: shared.asked().total() >= 8)
    held = shared.leases.taken()
    other = Shared(shared.folder.parent.parent)
    for _ in range(5):
        assert other.driver.unfinished(2, live) == [0, 1]
    assert held and all(shared.leases.holds(lease) or shared.leases.done() for lease in held)
    server.kill()
    code_of(server)
    for _ in range(2):  # two polls without it
        other.driver.unfinished(2, [SlurmJob("78", 1, "x", "RUNNING")])
    assert other.leases.taken() == []
    check(other, calm)


def test_a_spent_budget_ends_the_stage_when_no_server_is_live(shared):
    def spent():
        raise SdgError("the budget is spent")

    driver, live = SharedBlocks(shared.leases, lambda again: np.ones((4, 1), dtype=bool), spent), []
    for _ in range(2):  # with new blocks, and with what servers that stopped have given back
        with pytest.raises(SdgError, match="budget is spent"):
            driver.unfinished(2, live)
    assert driver.unfinished(2, [SlurmJob("77", 0, "x", "RUNNING")]) == [0, 1]  # it stops by itself


def test_the_driver_may_be_dead_while_servers_go_on(shared, calm):
    servers = [shared.start(answer_s=0.02), shared.start(answer_s=0.02)]
    assert [code_of(server) for server in servers] == [0, 0]
    assert shared.leases.free() == [] and shared.leases.done()
    check(shared, calm, victims=0)
