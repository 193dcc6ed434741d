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

from tests.helpers.chaos import Campaign
from tests.helpers.disasters import KINDS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", type=int, default=30, help="how many schedules to play (default: 30)")
    parser.add_argument("--seed", type=int, default=0, help="number of the first schedule (default: 0)")
    options = parser.parse_args()
    played, kinds, found, violations, silent = 0, Counter[str](), Counter[str](), [], 0
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, Campaign(folder) as campaign:
        for number in range(options.seed, options.seed + options.schedules):
            schedule = campaign.play(number)
            played, silent = played + 1, silent + schedule.silent
            kinds.update(schedule.kinds)
            found.update(schedule.found)
            violations += schedule.violations
            for text in schedule.violations:
                print(f"VIOLATION  {text}", flush=True)
            if played % 25 == 0:
                print(f"{played} schedules, {len(violations)} violations, {time.monotonic() - start:.0f} s", flush=True)
    print(f"{played} schedules, by kind of disaster (a schedule has 1 to 4):")
    for kind in KINDS:
        print(f"  {kind:<18}{kinds[kind]:>5}")
    print("damage to finished files and records, found by:")
    for how, count in sorted(found.items()):
        print(f"  {how:<18}{count:>5}")
    print(f"silent losses: {silent}; violations: {len(violations)}")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
