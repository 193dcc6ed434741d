"""The folder of a stage's leases: a block is one file, which is taken, given back, stolen and finished by a rename.

    free/BLOCK            nobody works on it
    taken/BLOCK.OWNER     OWNER, one process's attempt (the name of its files of rows), works on it
    done/BLOCK            its requests have ended
    beats/OWNER.COUNT     COUNT grows while OWNER lives (heartbeats.py)
    drain/JOB             the servers of JOB take no more blocks

What holds, whatever is killed and whatever a network file system answers:
1. A block is in one place. Every change is one rename, whose source names the holder, so one process succeeds. (The
   second part of a block that is split is nowhere for a moment; see 3.)
2. The text of a lease lists the owners that it has had; each adds itself before it sends a request. So a new owner
   knows whose rows to read. (A power cut may lose a name: rows are then written twice.)
3. A lease is moved to done/ after its rows have been synced. Even so, nobody believes done/: what is missing is found
   by reading rows, and a driver that finds some makes new blocks of them.
So a row is lost only with the disk. It is written twice when an owner that was taken for dead goes on: what it had in
flight, and no more than that. The merge takes one of the two.

The answer to a rename is ignored: a file server may repeat one that has succeeded, and then says that there is no such
file. A lease is ours if a file with our name opens.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sdg_helpers.files import disk_errors
from sdg_helpers.leases.blocks import block_of, is_block, items_of
from sdg_helpers.temporary_files import temporary_path

_FOLDERS = ("free", "taken", "done", "beats", "drain")
_WINDOW = 8  # an owner takes one of the first blocks, or of the first eighth, at random: few try for the same one
_MISSES = 8  # blocks that others have taken, before the folder is listed again
_JOB = re.compile(r"-(\d+(?:_\d+)?(?:@[\w-]+)?)-(\d+)-[0-9a-f]+")


@dataclass(frozen=True)
class Lease:
    """A block that `owner` holds. former: who held it before, and may have written rows of it."""

    block: str
    owner: str
    former: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its file's name in taken/."""
        return f"{self.block}.{self.owner}"


def job_of(owner: str) -> str:
    """Return the Slurm job that an owner's name ends with (…-JOB-RESTART-RANDOM); "" for an owner without a job."""
    found = _JOB.search(owner)
    return found[1] if found else ""


def leases_of(stage: Path) -> LeaseFolder:
    """Return the leases of a stage, given its folder."""
    return LeaseFolder(stage.resolve() / "partial" / "leases")


class LeaseFolder:
    """One process's view of the folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._candidates: list[str] = []

    def create(self, blocks: Iterable[str]) -> None:
        """Replace the folder by one in which all these blocks are free. Owners of before find their leases gone."""
        with disk_errors(self.folder):
            new = temporary_path(self.folder)
            for name in _FOLDERS:
                (new / name).mkdir(parents=True)
            for block in blocks:
                (new / "free" / block).touch()
            if self.folder.exists():
                os.rename(self.folder, old := temporary_path(self.folder))
                shutil.rmtree(old, ignore_errors=True)
            os.rename(new, self.folder)

    def free(self) -> list[str]:
        """Return the free blocks, in order."""
        return sorted(filter(is_block, self._list("free")))

    def taken(self) -> list[Lease]:
        """Return the leases that are held, without their former owners."""
        parts = [name.partition(".") for name in self._list("taken")]
        return [Lease(block, owner) for block, _, owner in parts if is_block(block) and owner]

    def done(self) -> int:
        """Return the number of blocks whose requests have ended."""
        return sum(map(is_block, self._list("done")))

    def has_work(self, job: str) -> bool:
        """Return whether a job that begins now finds a block: a free one, or one that it held before a restart."""
        if self.is_draining(job):
            return False
        return bool(self.free()) or any(job_of(lease.owner) == job for lease in self.taken())

    def take(self, owner: str) -> Lease | None:
        """Take a free block; None without one. Raises SdgError when the disk is full."""
        tried: set[str] = set()  # in this call: an old listing may show for a minute what others have taken
        while True:
            for _ in range(min(_MISSES, len(self._candidates))):
                count = len(self._candidates)
                block = self._candidates.pop(random.randrange(min(count, max(_WINDOW, count // 8))))
                tried.add(block)
                lease = Lease(block, owner)
                if not self.holds(lease) and (found := self._move("free", block, lease)):
                    return found
            self._candidates = [block for block in self.free() if block not in tried]
            if not self._candidates:
                return None

    def steal(self, lease: Lease, owner: str) -> Lease | None:
        """Take a block from an owner that is dead; None when another one was faster, or it lives and has finished."""
        return self._move("taken", lease.name, Lease(lease.block, owner))

    def adopt(self, lease: Lease) -> Lease | None:
        """Return a lease that bears our name though we were told that we did not get it; None if it has moved on."""
        return self._sign(lease)

    def holds(self, lease: Lease) -> bool:
        """Return whether the lease is still its owner's, as far as this machine sees."""
        return (self.folder / "taken" / lease.name).exists()

    def give_back(self, lease: Lease) -> None:
        """Let others take the block."""
        self._rename("taken", lease.name, "free", lease.block)

    def has_free(self) -> bool:
        """Return whether a block is free, without listing all of them."""
        with suppress(FileNotFoundError), os.scandir(self.folder / "free") as entries:
            return any(is_block(entry.name) for entry in entries)
        return False

    def split(self, lease: Lease, item: int) -> Lease | None:
        """Give back a block from `item` on, of which nothing has been sent; return the lease on the rest.

        None when the lease is no longer its owner's. If this process dies in between, nobody has the second part until
        the driver finds that its rows are missing.
        """
        items = items_of(lease.block)
        rest = replace(lease, block=block_of(items.start, item))
        self._rename("taken", lease.name, "taken", rest.name)
        if not self.holds(rest):
            return None
        block = self.folder / "free" / block_of(item, items.stop)
        with disk_errors(block), suppress(FileNotFoundError):  # the folder was replaced
            new = temporary_path(block)
            new.write_text("".join(f"{owner}\n" for owner in lease.former))
            os.rename(new, block)
        return rest

    def return_unsent(self, lease: Lease) -> None:
        """Give back a block of which nothing has been sent: the next owner need not read our rows."""
        path = self.folder / "taken" / lease.name
        with disk_errors(path), suppress(FileNotFoundError), open(path, "r+") as file:
            file.truncate()
            file.write("".join(f"{owner}\n" for owner in lease.former))
        self.give_back(lease)

    def finish(self, lease: Lease) -> bool:
        """Move the block to done/; its rows must have been synced. Return whether it has left our hands."""
        self._rename("taken", lease.name, "done", lease.block)
        return not self.holds(lease)

    def release(self, is_dead: Callable[[str], bool]) -> int:
        """Give back what dead owners hold; return how many leases these were."""
        dead = [lease for lease in self.taken() if is_dead(lease.owner)]
        for lease in dead:
            self.give_back(lease)
        return len(dead)

    def drain(self, job: str) -> None:
        """Ask the servers of a job to take no more blocks. Does nothing between rounds, when there is no folder."""
        with disk_errors(self.folder), suppress(FileNotFoundError):
            (self.folder / "drain" / job).touch()

    def is_draining(self, job: str) -> bool:
        """Return whether a job was asked to take no more blocks."""
        return bool(job) and (self.folder / "drain" / job).exists()

    def _move(self, where: str, name: str, lease: Lease) -> Lease | None:
        self._rename(where, name, "taken", lease.name)
        return self._sign(lease)

    def _sign(self, lease: Lease) -> Lease | None:
        """Add the owner to the lease's text; return the lease with its former owners, None if it is not the owner's."""
        path = self.folder / "taken" / lease.name
        try:
            handle = os.open(path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            return None
        with disk_errors(path), os.fdopen(handle, "r+b", buffering=0) as file:
            owners = file.read().decode().split()
            if lease.owner not in owners:
                file.write(f"{lease.owner}\n".encode())
        return Lease(lease.block, lease.owner, tuple(owner for owner in owners if owner != lease.owner))

    def _list(self, where: str) -> list[str]:
        with suppress(FileNotFoundError):  # the folder is being replaced
            return os.listdir(self.folder / where)
        return []

    def _rename(self, where: str, name: str, to: str, new: str) -> None:
        with suppress(OSError):
            os.rename(self.folder / where / name, self.folder / to / new)
