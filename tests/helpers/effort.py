"""How the effort of a function grows with its input. Processor time is compared with processor time, so that a slow or
busy machine changes both sides; there is no limit in seconds."""

import time
from collections.abc import Callable

_FACTOR = 16
_ALLOWED = 4 * _FACTOR  # a linear function takes 16 times as long for 16 times the input, a quadratic one 256 times
_FLOOR_S = 0.0005  # below it, fixed costs and the clock's steps decide


def _processor_s(work: Callable[[], object], repeats: int = 3) -> float:
    """The least processor time of some runs, in seconds."""
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)


def assert_grows_linearly(work: Callable[[int], object], size: int) -> None:
    """Fail when work(size) takes far more than 16 times the processor time of work(size / 16)."""
    small = _processor_s(lambda: work(size // _FACTOR))
    large = _processor_s(lambda: work(size), repeats=1)
    if large > _ALLOWED * max(small, _FLOOR_S):
        large = _processor_s(lambda: work(size))
    assert large <= _ALLOWED * max(small, _FLOOR_S), f"{large / small:.0f} times the effort for 16 times the input"
