"""How full the engine keeps a server: the share of its slots in use until the input ends.

python -m bench --only slots
"""

from __future__ import annotations

from collections.abc import Iterator

from bench import targets
from bench.completions import PROMPT
from bench.results import Figure, Part
from tests.helpers.standin import StandIn

# name, requests at a time, slots of the server, its options
CASES = (
    ("slow and failing requests", 64, 64, {"latency": "tail:0.2:1.5:0.04", "faults": "500=0.05"}),
    ("a capacity that the client does not know", 256, 32, {"latency": "lognormal:0.1:0.5", "capacity": 32}),
)


def measure(quick: bool) -> Part:
    """Ask a server with slow and failing requests, and one with a hidden capacity. quick: half of the requests."""
    part = Part()
    for name, concurrency, slots, options in CASES:
        used, pushed_back = play(500 if quick else 1000, concurrency, slots, options)
        part.figures += [
            Figure(name, "share of slots in use", used, targets.SLOTS_USED),
            Figure(name, "requests pushed back", pushed_back),
        ]
    return part


def play(count: int, concurrency: int, slots: int, options: dict[str, object]) -> tuple[float, int]:
    """Return the share of the slots in use until the input ends, and how many requests were pushed back."""
    from sdg_helpers.completions.engine import complete
    from sdg_helpers.completions.types import Limits, Request, Sampling

    at_the_end: dict[str, float] = {}
    with StandIn(**options) as server:

        def requests() -> Iterator[Request]:
            for number in range(count):
                yield Request(number, [{"role": "user", "content": PROMPT % (number, number * 7)}])
            at_the_end.update(server.stats())

        progress = complete(
            requests(),
            server.client(),
            model="standin",
            sampling=Sampling(0.6, 0.95, 4096),
            limits=Limits(concurrency),
            on_completion=lambda *_: None,
            on_failure=lambda *_: None,
        )
    return at_the_end["busy_s"] / (at_the_end["now"] - at_the_end["first"]) / slots, progress.pushed_back
