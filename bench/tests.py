"""The tests that take gigabytes or many minutes (marked `bench`): how many fail.

python -m bench --only tests
"""

from __future__ import annotations

import subprocess
import sys

from bench import targets
from bench.results import ROOT, Figure, Part


def measure(quick: bool) -> Part:
    """Run the tests; a quick run only collects them."""
    words = [sys.executable, "-m", "pytest", "-m", "bench", *(["--collect-only"] if quick else [])]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    print(done.stdout[-5000:], flush=True)
    failed = done.stdout.count("\nFAILED ") + done.stdout.count("\nERROR ") or done.returncode
    return Part([Figure("pytest -m bench", "failures", failed, targets.NONE)])
