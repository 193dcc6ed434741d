"""Whether memory stays flat: the engine's peak at 10,000 and at 1,000,000 requests.

python -m bench --only memory
"""

from __future__ import annotations

from bench import targets
from bench.completions import Client, Setting
from bench.results import Figure, Part

FEW, MANY = 10_000, 1_000_000


def measure(quick: bool) -> Part:
    """Ask for few and for many completions, 512 in flight. quick: a tenth of the many."""
    many = MANY // 10 if quick else MANY
    peaks, figures = {}, []
    for count in (FEW, many):
        run = Client("ours").run(Setting(count, 512, 0.0))
        peaks[count] = run["peak_mb"]
        figures += [
            Figure(f"{count:,} requests", "peak MB", run["peak_mb"]),
            Figure(f"{count:,} requests", "requests/s", run["rps"]),
        ]
    more = Figure(f"{many:,} requests", f"MB more than {FEW:,}", peaks[many] - peaks[FEW], targets.MORE_MEMORY)
    return Part([*figures, more], ["The engine, with a row for every completion; 512 in flight."])
