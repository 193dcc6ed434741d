"""Why each solution was exported or dropped, as the export decided it."""

from __future__ import annotations

import hashlib

import numpy as np

from sdg_helpers.browser.sources import Sources
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.verdicts import Verdict
from sdg_helpers.lineage.finding import row_maker
from sdg_helpers.solutions.rows import Solution


class Exported:
    """Repeat the decisions of a finished export. `unknown`: why that cannot be done, "" if it can."""

    def __init__(self, sources: Sources, problems: int):
        self.unknown = "" if sources.exported else "not exported yet"
        self._earlier: list[np.ndarray] = []  # by seed: a hash of each problem's exported text, 0 for none
        self._texts = np.zeros(problems, dtype=np.uint64)
        if not self.unknown:
            try:
                self._maker = row_maker(sources.track)
            except (SdgError, OSError) as error:  # its tokenizer or its prompt is not here any more
                self.unknown = f"cannot tell what the export dropped: {error}"

    def reason(self, position: int, solution: Solution, verdict: Verdict | None) -> str:
        """Return why a solution was dropped, "" if it was not, duplicates apart. Seeds must come in order."""
        reason = self._maker.reason_to_drop(solution, verdict)
        if reason is None and self._maker.filters.deduplicate:
            digest = hashlib.blake2b(self._maker.text(solution), digest_size=8).digest()
            self._texts[position] = int.from_bytes(digest, "big") or 1
        return reason or ""

    def duplicates(self) -> list[int]:
        """Return the positions of the seed's solutions that repeat one of an earlier seed. Call it after each seed."""
        repeated = np.zeros(len(self._texts), dtype=bool)
        for texts in self._earlier:
            repeated |= (texts == self._texts) & (texts > 0)
        self._earlier.append(np.where(repeated, np.uint64(0), self._texts))
        self._texts = np.zeros_like(self._texts)
        return [int(position) for position in np.flatnonzero(repeated)]
