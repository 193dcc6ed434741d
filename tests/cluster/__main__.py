"""`python -m tests.cluster start FOLDER [--accounting]`, `… stop FOLDER`: a private Slurm by hand."""

import argparse
import sys

from .private_slurm import PrivateSlurm, why_not


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("action", choices=["start", "stop"])
    parser.add_argument("folder", help="where the cluster keeps its files")
    parser.add_argument("--accounting", action="store_true", help="with slurmdbd: a true sacct")
    parser.add_argument("--nodes", type=int, default=4)
    given = parser.parse_args()
    cluster = PrivateSlurm(given.folder, nodes=given.nodes, accounting=given.accounting)
    if given.action == "stop":
        cluster.stop()
    elif reason := why_not(given.accounting):
        sys.exit(reason)
    else:
        cluster.start()
        print(f"export SLURM_CONF={cluster.conf}")


main()
