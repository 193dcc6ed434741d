"""Why each solution was exported or dropped, as the export decided it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xxhash

from sdg_helpers.browser.sources import Sources
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.verdicts import Verdict
from sdg_helpers.lineage.finding import row_maker
from sdg_helpers.solutions.rows import Solution, answer_start


class Exported:
    """Repeat the decisions of a finished export. `unknown`: why that cannot be done, "" if it can.

    Duplicates are found in two steps, because trimming an answer as the export does takes as long as all other filters
    together: solutions whose thinking has the same hash are candidates, and only their exported texts are compared.
    """

    def __init__(self, sources: Sources, problems: int):
        self.unknown = "" if sources.exported else "not exported yet"
        self._earlier: dict[int, np.ndarray] = {}  # seed -> a hash of each problem's thinking, 0 for none
        self._hashes = np.zeros(problems, dtype=np.uint64)
        if not self.unknown:
            try:
                self._maker = row_maker(sources.track)
            except (SdgError, OSError) as error:  # its tokenizer or its prompt is not here any more
                self.unknown = f"cannot tell what the export dropped: {error}"

    def reason(self, position: int, solution: Solution, verdict: Verdict | None) -> str:
        """Return why a solution was dropped, "" if it was not, duplicates apart."""
        reason = self._maker.reason_to_drop(solution, verdict)
        if reason is None and self._maker.filters.deduplicate:
            start = answer_start(solution.text)
            compared = solution.text[:start].strip() if start >= 0 else self.text(solution)
            self._hashes[position] = xxhash.xxh3_64_intdigest(compared) or 1
        return reason or ""

    def text(self, solution: Solution) -> bytes:
        """Return a solution's text as it was exported."""
        return self._maker.whole_text(solution)

    def candidates(self, seed: int) -> Iterator[tuple[int, list[int]]]:
        """Yield (position, earlier seeds) where a solution of this seed may repeat one of those. Ends the seed."""
        alike = [(one, (hashes == self._hashes) & (hashes > 0)) for one, hashes in self._earlier.items()]
        self._earlier[seed], self._hashes = self._hashes, np.zeros_like(self._hashes)
        for position in np.flatnonzero(np.any([same for _, same in alike], axis=0)) if alike else ():
            yield int(position), [one for one, same in alike if same[position]]
