"""Blocks: the ranges of items that servers take as one piece of work, named by what they hold (00000016-00000032)."""

from __future__ import annotations

import re

import numpy as np

_REQUESTS = 256  # of a block, so that taking it costs nothing beside answering it: 16 problems with 16 seeds
_BLOCKS_A_SERVER = 8  # at least, while there are items enough: servers differ in speed
_LAST_SHARE = 1 / 32  # of the items, in blocks of one: so that the servers end at the same time
_NAME = re.compile(r"(\d{8,})-(\d{8,})")


def split(unfinished: np.ndarray, seeds: int, servers: int) -> list[str]:
    """Return the names of the blocks that cover all unfinished items.

    unfinished: a bool array of shape (items,). seeds: requests of an item. A block may span finished items, which count
    for nothing. The names sort in the order in which the blocks are best taken.
    """
    items = np.flatnonzero(unfinished)
    size = max(1, min(_REQUESTS // seeds, len(items) // (_BLOCKS_A_SERVER * servers)))
    large = int(len(items) * (1 - _LAST_SHARE)) // size * size
    starts = [*range(0, large, size), *range(large, len(items))]
    ends = [*starts, len(items)][1:]
    return [block_of(items[start], items[end - 1] + 1) for start, end in zip(starts, ends, strict=True)]


def block_of(start: int, stop: int) -> str:
    """Return the name of the block of the items from start to before stop."""
    return f"{start:08d}-{stop:08d}"


def items_of(name: str) -> range:
    """Return the items of a block. Raises ValueError for a name that no block has."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"not a block: {name!r}")
    return range(int(found[1]), int(found[2]))


def is_block(name: str) -> bool:
    """Whether a file name is a block's; network file systems leave others, such as .nfs…"""
    return _NAME.fullmatch(name) is not None
