"""The fault campaign: N seeded schedules of disasters on whole runs against the scripted server.

    python -m bench.chaos --schedules 300                 # or: make chaos N=300 SEED=0
    python -m bench.chaos --schedules 1 --seed 41         # schedule 41 alone

Prints how many schedules had disasters of each kind, how damage came to light, and every violation. The exit code is 1
when there is one. tests/helpers/chaos.py says what must hold.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter

from bench import targets
from bench.results import Figure, Part, table
from tests.helpers.chaos import Campaign
from tests.helpers.disasters import KINDS


def measure(quick: bool, schedules: int = 300, seed: int = 0) -> Part:
    """Play schedules from number `seed` on, a tenth of them if quick; print violations as they are found."""
    schedules = max(1, schedules // 10) if quick else schedules
    kinds, found, violations, silent = Counter[str](), Counter[str](), 0, 0
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, Campaign(folder) as campaign:
        for number in range(seed, seed + schedules):
            schedule = campaign.play(number)
            silent, violations = silent + schedule.silent, violations + len(schedule.violations)
            kinds.update(schedule.kinds)
            found.update(schedule.found)
            for text in schedule.violations:
                print(f"VIOLATION  {text}", flush=True)
            if (played := number - seed + 1) % 25 == 0:
                print(f"{played} schedules, {violations} violations, {time.monotonic() - start:.0f} s", flush=True)
    name = f"{schedules} schedules from {seed} on"
    return Part(
        [
            Figure(name, "violations", violations, targets.NONE),
            Figure(name, "silent losses", silent, targets.NONE),
            *(Figure(f"schedules with {kind}", "count", kinds[kind]) for kind in KINDS),
            *(Figure(f"damage found by {how}", "count", count) for how, count in sorted(found.items())),
        ],
        ["A schedule has 1 to 4 kinds of disaster; tests/helpers/chaos.py says what must hold."],
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", type=int, default=30, help="how many schedules to play (default: 30)")
    parser.add_argument("--seed", type=int, default=0, help="number of the first schedule (default: 0)")
    options = parser.parse_args()
    part = measure(False, options.schedules, options.seed)
    print("\n".join(table(part.figures)))
    return 1 if any(one.missed for one in part.figures) else 0


if __name__ == "__main__":
    sys.exit(main())
