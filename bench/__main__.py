"""All measurements of this project, beside floors and other libraries, against their targets.

    make bench                                # everything: an hour or two on two idle cores
    python -m bench --only completions,stages # these parts
    python -m bench --quick                   # smaller sizes, one round: about ten minutes; nothing is kept

Prints the figures and whether each target is met; keeps them in bench/RESULTS.md, where a part that is measured again
replaces its own section. The exit code is 1 when a target is missed or a part fails; a quick run, in which fixed costs
weigh more, fails only with its parts.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback

from bench.results import Part, describe_conditions, load, save, section, targets_table

# Each is a module with measure(quick) -> Part; the order is that of RESULTS.md.
PARTS = ("completions", "memory", "slots", "stages", "startup", "scale", "servers", "tests", "chaos")


def main() -> int:
    """Measure the parts asked for; return the exit code."""
    options = _parse()
    found: dict[str, Part] = {}
    failed = []
    for name in options.only:
        conditions = describe_conditions()
        print(f"== {name}: {conditions}", flush=True)
        try:
            found[name] = importlib.import_module(f"bench.{name}").measure(options.quick)
        except Exception:  # the other parts are measured all the same
            traceback.print_exc()
            failed.append(name)
            continue
        found[name].conditions = f"{conditions}, {os.getloadavg()[0]:.1f} after"
        print("\n".join(["", *section(name, found[name]), ""]), flush=True)
        if not options.quick:
            save(load() | {name: found[name]}, PARTS)
    print("\n".join(["", *targets_table(found)]))
    missed = sum(one.missed for part in found.values() for one in part.figures)
    print(f"\n{missed} targets missed" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed or (missed and not options.quick) else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=_names, default=PARTS, metavar="PART,…", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, one round; keep nothing")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        raise argparse.ArgumentTypeError(f"unknown part {unknown[0]!r}; parts: {', '.join(PARTS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
