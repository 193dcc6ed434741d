"""The limit on requests in flight: against a simulated server whose capacity it cannot see."""

import heapq
import random
import time
from email.utils import formatdate

import pytest

from sdg_helpers.completions.pacing import Pace, backoff_s, retry_after_s


class Simulated:
    """A server of some capacity in simulated time: refusals take 2 ms, answers about a second."""

    def __init__(self, ceiling, capacity, noise=0.0, chance=0):
        self.pace, self.capacity, self.noise, self.random = Pace(ceiling), capacity, noise, random.Random(chance)
        self.now = self.busy = 0.0
        self.events, self.in_flight, self.working, self.order = [], 0, 0, 0
        self.accepted = self.refused = 0

    def send(self):
        self.in_flight += 1
        self.order += 1
        probe = self.pace.sent(self.in_flight)
        good = self.working < self.capacity and self.random.random() >= self.noise
        self.working += good
        wait = self.random.uniform(0.5, 1.5) * (1.0 if good else 0.002)
        heapq.heappush(self.events, (self.now + wait, self.order, good, probe))

    def run(self, seconds):
        """Keep as much in flight as the limit allows; returns the share of the capacity that was used."""
        end, begin, busy = self.now + seconds, self.now, self.busy
        while self.now < end:
            while self.in_flight < int(self.pace.limit):
                self.send()
            when, _, good, probe = heapq.heappop(self.events)
            self.busy += self.working * (when - self.now)
            self.now, self.in_flight = when, self.in_flight - 1
            self.working -= good
            self.accepted, self.refused = self.accepted + good, self.refused + (not good)
            if good:
                self.pace.accepted(probe, grow=True)
            else:
                self.pace.refused(probe)
        return (self.busy - busy) / (self.now - begin) / min(self.capacity, self.pace.ceiling)


@pytest.mark.parametrize(
    ("ceiling", "capacity", "most_refused"),
    [(64, 64, 0), (512, 64, 0.25), (512, 300, 0.25), (64, 8, 0.2), (64, 4, 0.2), (64, 1, 0.3), (4096, 100, 0.6)],
)
def test_a_hidden_capacity_is_found_and_kept_busy(ceiling, capacity, most_refused):
    server = Simulated(ceiling, capacity)
    assert server.run(60) >= 0.97
    assert server.refused <= most_refused * server.accepted + ceiling - capacity
    assert capacity <= server.pace.limit <= 1.3 * capacity + 2


def test_without_pushback_the_limit_never_moves():
    server = Simulated(64, 1000)
    server.run(20)
    assert server.pace.limit == 64 and server.refused == 0


def test_limit_follows_a_capacity_that_shrinks_and_returns():
    server = Simulated(64, 64)
    server.run(10)
    server.capacity = 8
    server.run(5)  # what was accepted before must end first
    assert server.run(20) >= 0.97 and server.pace.limit <= 14
    server.capacity = 64
    server.run(15)
    assert server.run(10) >= 0.97 and server.pace.limit == 64


@pytest.mark.parametrize(("noise", "least"), [(0.01, 0.95), (0.05, 0.92), (0.1, 0.9)])
def test_refusals_unrelated_to_our_load_cost_little(noise, least):
    server = Simulated(64, 64, noise)
    server.run(10)
    assert server.run(60) >= least


def test_each_refusal_takes_one_slot_but_never_the_last():
    pace = Pace(3)
    for expected in (2, 1, 1):
        pace.refused(False)
        assert pace.limit == expected


def test_backoff_doubles_within_its_jitter_and_ends_at_the_longest():
    for failures, middle in ((1, 0.5), (2, 1.0), (5, 8.0), (50, 30.0), (10**6, 30.0)):
        drawn = [backoff_s(failures) for _ in range(200)]
        assert middle / 2 <= min(drawn) and max(drawn) <= middle * 1.5
        assert max(drawn) - min(drawn) > middle / 2  # jitter


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        ("0.5", 0.5),
        ("-4", 0.0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("1e400", None),
        ("Wed, 32 Foo 2025 99:99:99 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_retry_after(value, seconds):
    assert retry_after_s(value) == seconds


def test_retry_after_as_a_date(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1e9)
    assert retry_after_s(formatdate(1e9 + 60, usegmt=True)) == 60
