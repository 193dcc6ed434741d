"""What is known of every program that was run: checks.jsonl, held as two small columns."""
from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from .. import files
from .program_tests import PASSED, REASONS

_CODES = (PASSED, *REASONS)


class CheckStore:
    """Reasons by (problem, program). 9 bytes a program that the file holds; a claimed one costs more, for as long as
    this object lives."""

    def __init__(self, path: Path | str):
        rows = ((_key(row["id"], row["program"]), _CODES.index(row["reason"])) for row in files.read_log(path))
        known = np.fromiter(rows, dtype=[("key", np.uint64), ("code", np.uint8)])
        known = known[np.argsort(known["key"], kind="stable")]
        self._keys, self._reasons, self._claimed = known["key"].copy(), known["code"].copy(), set()

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, problem_id: str, program: str) -> str | None:
        """"tests" or why it failed; None for a program that was not run."""
        key = np.uint64(_key(problem_id, program))
        place = int(np.searchsorted(self._keys, key))
        known = place < len(self._keys) and self._keys[place] == key
        return _CODES[self._reasons[place]] if known else None

    def claim(self, problem_id: str, program: str) -> bool:
        """Whether it is to be run now: True once for a program that the file does not have."""
        key = _key(problem_id, program)
        if key in self._claimed or self.find(problem_id, program) is not None:
            return False
        self._claimed.add(key)
        return True


def _key(problem_id: str, program: str) -> int:
    digest = hashlib.blake2b(f"{program}/{problem_id}".encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
