"""Disjoint sets of indices (union-find)."""

from __future__ import annotations


class DisjointSets:
    """Sets of the indices 0 … size-1, each alone at first."""

    def __init__(self, size: int):
        self._parents = list(range(size))

    def find(self, index: int) -> int:
        """Return the smallest index of the set that holds `index`."""
        root = index
        while self._parents[root] != root:
            root = self._parents[root]
        while self._parents[index] != root:
            self._parents[index], index = root, self._parents[index]
        return root

    def merge(self, one: int, other: int) -> None:
        """Merge the sets of two indices."""
        low, high = sorted((self.find(one), self.find(other)))
        self._parents[high] = low

    def as_lists(self) -> list[list[int]]:
        """Return the sets as ascending lists, ordered by their smallest index."""
        sets: dict[int, list[int]] = {}
        for index in range(len(self._parents)):
            sets.setdefault(self.find(index), []).append(index)
        return list(sets.values())
