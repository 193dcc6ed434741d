"""Judge an output with the checker program that a dataset publishes for questions with several right outputs.

A checker is Python, gets three paths (input, expected output, the program's output) and prints 1 for right and 0 for
wrong, as those of open-r1/codeforces do. It is as untrusted as the programs that it judges, and runs in the sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sdg_helpers.coding.sandbox import Sandbox
from sdg_helpers.coding.sandboxed_process import RunLimits

CHECKER_FAILED = "checker_failed"
_LIMITS = RunLimits(seconds=10)
_NAMES = ("input.txt", "expected.txt", "output.txt")


def judge_output(sandbox: Sandbox, folder: Path, checker: str, test: Mapping[str, str], output: bytes) -> str:
    """Return "", "wrong_output", or "checker_failed" when the checker says neither. Writes its files to `folder`."""
    texts = (test["input"].encode("utf-8", "replace"), test["output"].encode("utf-8", "replace"), output)
    for name, text in zip(_NAMES, texts, strict=True):
        (folder / name).write_bytes(text)
    (folder / "checker.py").write_bytes(checker.encode("utf-8", "replace"))
    command = [sandbox.python, "-I", "-B", "-X", "int_max_str_digits=0", "/program/checker.py"]
    outcome = sandbox.run([*command, *(f"/program/{name}" for name in _NAMES)], folder, _LIMITS)
    words = outcome.stdout.split()
    try:
        score = float(words[0]) if words else None
    except ValueError:
        score = None
    if score is not None and 0 <= score < 1:
        return "wrong_output"
    return "" if score is not None and score >= 1 and not outcome.reason else CHECKER_FAILED
