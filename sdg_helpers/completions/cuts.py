"""Notice that something between us and the server closes requests at a certain age."""

from __future__ import annotations

from dataclasses import dataclass

_MIN_AGE_S = 1.0  # failures of younger requests are no cuts
_TOLERANCE = 0.05  # of the age; at least half a second
_WAVES = 3  # cuts of requests that began one after the other; all requests in flight fail together at an outage
_MAX_AGES = 16
CUT_STATUSES = ("http_502", "http_504", "http_522", "http_524", "disconnected")


@dataclass(slots=True)
class _Age:
    """Requests cut at one age. begun_s: when the first of the latest wave began."""

    age_s: float
    begun_s: float
    waves: int = 1
    count: int = 1


class CutWatch:
    """Remembers the ages at which requests were cut. Times are in seconds of one clock."""

    def __init__(self) -> None:
        self._ages: list[_Age] = []

    def note_cut(self, begun_s: float, now_s: float) -> str:
        """Note a request that was closed without a reply; return what that says about the connection, or ""."""
        age = now_s - begun_s
        if age < _MIN_AGE_S:
            return ""
        for known in self._ages:
            if abs(age - known.age_s) <= max(0.5, _TOLERANCE * known.age_s):
                known.count += 1
                if begun_s - known.begun_s >= 0.9 * known.age_s:
                    known.begun_s, known.waves = begun_s, known.waves + 1
                if known.waves < _WAVES:
                    return ""
                return (
                    f"{known.count} requests were cut at this age: something between us and the server cuts requests "
                    f"after {known.age_s:.0f} s"
                )
        self._ages = [*self._ages[1 - _MAX_AGES :], _Age(age, begun_s)]
        return ""

    def note_completion(self, age_s: float) -> None:
        """Note a complete reply: nothing cuts requests that are younger than it."""
        if self._ages:
            self._ages = [known for known in self._ages if known.age_s * (1 + _TOLERANCE) > age_s]
