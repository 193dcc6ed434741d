"""Remember what the rules ask about a problem's text, so that it is searched once and not for every pair of answers.

The comparisons of one problem come far apart, one in each seed, so the last few problems would not do. A problem takes
some 100 bytes, whatever is asked about it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from itertools import count

_MANY = 1 << 20  # problems; more begin anew
_flags: dict[int, int] = {}  # hash of a problem's text -> two bits per question: asked, yes
_places = count(step=2)


def once_per_problem(question: Callable[[str], bool]) -> Callable[[str], bool]:
    """Make a yes-or-no question about a problem's text remember its answers."""
    place = next(_places)
    asked, yes = 1 << place, 2 << place

    @wraps(question)
    def remembered(problem: str) -> bool:
        key = hash(problem)
        flags = _flags.get(key, 0)
        if not flags & asked:
            answer = asked | (yes if question(problem) else 0)
            if len(_flags) >= _MANY:
                _flags.clear()
            flags = _flags[key] = _flags.get(key, 0) | answer  # other questions may have been asked meanwhile
        return bool(flags & yes)

    return remembered
