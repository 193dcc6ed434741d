"""What the stand-in's log of streamed tokens says."""

import numpy as np


def written_twice(log, canaries=1):
    """Return how many characters of replies were written more than once.

    canaries: how many replies are left out, those that were written most often: each session asks one for its proof.
    """
    counts = {}
    for line in log.read_text().splitlines():
        key, place, length = line.split()
        written = counts.setdefault(key, np.zeros(10_000, dtype=int))
        written[int(place) : int(place) + int(length)] += 1
    return sum(sorted(int((written > 1).sum()) for written in counts.values())[:-canaries])
