"""What is sent next: what fell due first, then new input, as long as not too many wait."""

import time

from sdg_helpers.completions.backlog import Backlog, PendingRequest
from sdg_helpers.completions.types import Request


def backlog(count, max_waiting=3):
    return Backlog((Request(number, []) for number in range(count)), max_waiting)


def keys(queue, now=None):
    """Everything that can be sent now, in order."""
    taken = []
    while (pending := queue.next(time.monotonic() if now is None else now)) is not None:
        taken.append(pending.request.key)
    return taken


def test_due_requests_come_first_and_others_wait():
    queue = backlog(4)
    first, second = queue.next(0.0), queue.next(0.0)
    queue.schedule(first, 50.0)
    queue.schedule(second, 0.0)
    assert keys(queue) == [1, 2, 3] and not queue.empty and queue.waiting == 1
    assert keys(queue, queue.next_due) == [0] and queue.empty


def test_no_input_is_pulled_while_too_many_requests_wait():
    queue = backlog(10)
    for wait in (10.0, 20.0, 30.0):
        queue.schedule(queue.next(0.0), wait)
    assert queue.crowded and keys(queue) == []
    assert keys(queue, queue.next_due) == [0, *range(3, 10)]


def test_an_input_with_nothing_to_send_now_is_asked_again_later():
    queue = Backlog(iter([Request(0, []), None, None, Request(1, []), None]), 3)
    now = time.monotonic()
    first = queue.next(now)
    assert first.request.key == 0 and queue.next(now) is None and not queue.empty
    assert now < queue.next_due < now + 1
    assert queue.next(now) is None  # too early to ask again
    queue.schedule(first, 0.01)
    assert queue.next_due < now + 0.1  # the retry comes before that
    assert keys(queue, now + 0.1) == [0]
    assert keys(queue, now + 1) == []
    assert keys(queue, now + 2) == [1] and not queue.empty
    assert keys(queue, now + 3) == [] and queue.empty


def test_while_too_many_requests_wait_the_input_says_nothing_about_the_next_one():
    queue = Backlog(iter([Request(0, []), None, Request(1, [])]), 1)
    first = queue.next(0.0)
    assert queue.next(0.0) is None and queue.next_due > 0
    queue.schedule(first, 50.0)
    assert queue.next(1.0) is None and queue.next_due > time.monotonic() + 40


def test_lost_connections_are_forgiven_a_bounded_number_of_times():
    queue, now = backlog(0), time.monotonic()
    for key, lost_at, failures in (("lost now", now - 1, 2), ("lost long ago", now - 60, 2), ("failed else", 0.0, 2)):
        pending = PendingRequest(Request(key, []))
        pending.lost_at, pending.failures = lost_at, failures
        queue.schedule(pending, 0.0)
    queue.pardon_lost(now)
    queue.pardon_lost(now)  # once for each loss
    jobs = {pending.request.key: pending for pending in (queue.next(now + 1), queue.next(now + 1), queue.next(now + 1))}
    assert {key: pending.failures for key, pending in jobs.items()} == {
        "lost now": 1,
        "lost long ago": 2,
        "failed else": 2,
    }
    poison = jobs["lost now"]
    for _ in range(100):
        poison.failures, poison.lost_at = poison.failures + 1, now
        queue.schedule(poison, 0.0)
        queue.pardon_lost(now)
        queue.next(now + 1)
    assert poison.failures > 90
