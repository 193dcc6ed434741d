"""How often the verdicts of running programs agree with published ones, on problem packages of real contests.

    python -m bench.contest_programs FOLDER [--programs 200]

FOLDER holds clones of repositories with packages in the Kattis format, for example github.com/mzuenni/icpc-problems,
github.com/mzuenni/kattis-export and github.com/Kodsport/swedish-olympiad-2019: each package has a problem.yaml,
data/{sample,secret}/*.in with *.ans, and submissions/{accepted,wrong_answer,run_time_error}/. Packages with their own
output validator or with scores are left out, and so are those with a missing input; programs that are only slow are
not run. What the format's own validator allows (any case, an error) is said in the question. The programs are chosen
in turn from all packages, half of them accepted.
"""

from __future__ import annotations

import argparse
import os
import re
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sdg_helpers.coding.program_tests import PASSED, Report, run_tests
from sdg_helpers.coding.sandbox import Sandbox, open_sandbox
from sdg_helpers.coding.sandboxed_process import RunLimits

LANGUAGES = {".py": "python", ".cpp": "cpp", ".cc": "cpp"}
VERDICTS = {"accepted": True, "wrong_answer": False, "run_time_error": False}
MIN_SECRET_TESTS, MAX_TESTS, MAX_TEST_BYTES = 5, 80, 8_000_000
_TOLERANCE = re.compile(r"float_(?:absolute_|relative_)?tolerance\s+(\S+)")
_OTHER_JUDGES = re.compile(r"^\s*(?:validation:\s*custom|type:\s*(?:scoring|interactive|multi-pass))", re.MULTILINE)


@dataclass(frozen=True)
class Submission:
    """A program with its published verdict."""

    package: Path
    path: Path
    right: bool

    @property
    def language(self) -> str:
        """Return "python" or "cpp"."""
        return LANGUAGES[self.path.suffix]


def find_packages(folder: Path) -> list[Path]:
    """Return the packages that the default validator judges and whose tests are in the repository, not generated."""
    found = sorted({path.parent for path in folder.rglob("problem.yaml")})
    return [
        package
        for package in found
        if _judged_by_default(package)
        and len(list((package / "data" / "secret").rglob("*.in"))) >= MIN_SECRET_TESTS
        and 0 < len(read_tests(package)) <= MAX_TESTS
    ]


def _judged_by_default(package: Path) -> bool:
    text = (package / "problem.yaml").read_text(encoding="utf-8", errors="replace")
    return not _OTHER_JUDGES.search(text) and not (package / "output_validators").exists()


def read_tests(package: Path) -> list[dict[str, str]]:
    """Return the tests; [] if one of them is incomplete or too long."""
    tests = []
    names = {path.with_suffix("") for suffix in ("*.in", "*.ans") for path in (package / "data").rglob(suffix)}
    for path in sorted(name.with_name(f"{name.name}.in") for name in names):
        answer = path.with_suffix(".ans")
        if not (path.exists() and answer.exists()) or max(path.stat().st_size, answer.stat().st_size) > MAX_TEST_BYTES:
            return []
        tests.append({"input": path.read_text("utf-8", "replace"), "output": answer.read_text("utf-8", "replace")})
    return tests


def read_question(package: Path) -> str:
    """Return the statement, in English if there is one, as LaTeX, and what the default validator allows."""
    texts = sorted(
        (path for name in ("problem_statement", "statement") for path in (package / name).glob("problem*.tex")),
        key=lambda path: (path.name not in ("problem.en.tex", "problem.tex"), path.name),
    )
    statement = texts[0].read_text("utf-8", "replace") if texts else ""
    flags = (package / "problem.yaml").read_text(encoding="utf-8", errors="replace")
    case = "" if "case_sensitive" in flags else "The output is compared in a case-insensitive way."
    tolerance = _TOLERANCE.search(flags)
    return f"{statement}\n\n{case}" + (f" An error of at most {tolerance[1]} is allowed." if tolerance else "")


def choose(packages: list[Path], count: int) -> list[Submission]:
    """Return submissions from all packages in turn: accepted and rejected ones alternately while there are both."""
    queues: dict[bool, deque[list[Submission]]] = {True: deque(), False: deque()}
    for package in packages:
        for right, queue in queues.items():
            queue.append([one for one in _submissions(package) if one.right is right])
    chosen: list[Submission] = []
    while len(chosen) < count and any(map(any, queues.values())):
        for queue in queues.values():
            one = _take(queue)
            chosen += [one] if one else []
    return chosen[:count]


def _take(queue: deque[list[Submission]]) -> Submission | None:
    for _ in range(len(queue)):
        queue.rotate(-1)
        if queue[-1]:
            return queue[-1].pop(0)
    return None


def _submissions(package: Path) -> Iterator[Submission]:
    for verdict, right in VERDICTS.items():
        for path in sorted((package / "submissions" / verdict).glob("*")):
            if path.suffix in LANGUAGES:
                yield Submission(package, path, right)


def check(sandbox: Sandbox, one: Submission, limits: RunLimits) -> Report:
    """Run one submission on all tests of its package."""
    program, question = one.path.read_text("utf-8", "replace"), read_question(one.package)
    return run_tests(sandbox, program, one.language, read_tests(one.package), limits, question)


def main() -> None:
    """Print a table of published verdicts by ours, and every disagreement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--programs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--memory-mb", type=int, default=1024)
    options = parser.parse_args()
    sandbox, limits = open_sandbox(), RunLimits(seconds=options.seconds, memory_mb=options.memory_mb)
    chosen = choose(find_packages(options.folder), options.programs)
    counts: Counter[tuple[bool, str]] = Counter()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for one, report in zip(chosen, pool.map(lambda one: check(sandbox, one, limits), chosen), strict=True):
            passed = report.reason == PASSED
            counts[one.right, report.reason] += 1
            if passed is not one.right:
                print(f"{one.path.relative_to(options.folder)}: {report.reason} {report.detail[:100]!r}", flush=True)
    for (right, reason), count in sorted(counts.items()):
        print(f"{'accepted' if right else 'rejected'}: {reason}: {count}")
    agreed = sum(count for (right, reason), count in counts.items() if (reason == PASSED) is right)
    print(f"{agreed} of {counts.total()} programs have their published verdict")


if __name__ == "__main__":
    main()
