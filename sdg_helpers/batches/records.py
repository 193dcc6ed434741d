"""What is known of each batch, in an append-only file that is written before and after every call that matters."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.formatting import format_duration

# The states of a batch, in order.
WRITTEN = "written"  # its requests are in a file here
CREATING = "creating"  # it is being submitted: the provider may have it already
CREATED = "created"  # the provider has it
ENDED = "ended"  # its results are in files here
MERGED = "merged"  # its results have been passed on
REFUSED = "refused"  # the provider did not take it, or it was never submitted: nothing is charged
OPEN = (WRITTEN, CREATING, CREATED, ENDED)
_PAID = (CREATING, CREATED, ENDED)
_MOST_NAMES = 10  # of batches, in a message


@dataclass(frozen=True)
class Batch:
    """One batch. key: its random name here and in its metadata; settings: a hash of model and sampling.

    round: the number of batches that its requests have been in, in one run. mark: the provider's newest batch before
    this one was submitted. created_at, ended_at: seconds since 1970. outcome: "", "expired" or "cancelled".
    """

    key: str
    state: str = WRITTEN
    server: str = ""
    settings: str = ""
    requests: int = 0
    round: int = 1
    file_id: str = ""
    mark: str = ""
    batch_id: str = ""
    created_at: float = 0.0
    ended_at: float = 0.0
    outcome: str = ""
    results: tuple[str, ...] = ()


class Records:
    """The batches of one folder. Has a single writer."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._path = folder / "batches.jsonl"
        self._batches = _read(self._path)
        self._log = files.AppendLog(self._path)

    def open_batches(self, server: str, settings: str) -> list[Batch]:
        """Return the unfinished batches with these settings, oldest first. Raises SdgError for one elsewhere."""
        refuse_to_abandon(self.folder, server)
        found = [one for one in self._batches.values() if one.state in OPEN]
        return [one for one in found if one.settings == settings and one.server == server]

    def save(self, batch: Batch, **changes: Any) -> Batch:
        """Write changes of a batch, or a new one, to disk, and return it."""
        batch = replace(batch, **changes)
        self._batches[batch.key] = batch
        self._log.append({**asdict(batch), "at": time.time()})
        self._log.flush()
        return batch

    def path(self, batch: Batch, kind: str) -> Path:
        """Return the file of a batch: its "requests" or "ids", or one of its "results"."""
        return self.folder / f"{batch.key}.{kind}"

    def discard_files(self, batch: Batch) -> None:
        """Delete the files of a batch that has been merged or refused."""
        for path in self.folder.glob(f"{batch.key}.*"):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        self._log.close()


def refuse_to_abandon(folder: Path, server: str) -> None:
    """Raise SdgError when a folder has batches of another server whose replies have not been collected.

    server: as in Batch, or any other words for what is to send the requests now.
    """
    path = folder / "batches.jsonl"
    paid = [one for one in _read(path).values() if one.state in _PAID and one.server != server] if path.exists() else []
    if not paid:
        return
    total, where = sum(one.requests for one in paid), " and ".join(sorted({one.server for one in paid}))
    what = f"a batch of {total:,} requests" if len(paid) == 1 else f"{len(paid)} batches of {total:,} requests"
    ago = format_duration(max(0.0, time.time() - min(one.created_at for one in paid)))
    names = [one.batch_id for one in paid if one.batch_id]
    listed = ", ".join(names[:_MOST_NAMES]) + (f" and {len(names) - _MOST_NAMES} more" if names[_MOST_NAMES:] else "")
    raise SdgError(
        f"{folder}: {what} went to {where} {ago} ago, and the replies are not collected. This profile names {server}, "
        "which would be paid for the same requests again. Run again with the former profile, which has `batch:`, to "
        f"collect them. Or give them up: cancel them at the provider ({listed or 'not confirmed; look there'}), then "
        "delete that folder."
    )


def _read(path: Path) -> dict[str, Batch]:
    """Return the latest state of every batch in the file, by key."""
    found = {}
    for row in files.read_log(path):
        row.pop("at", None)
        try:
            found[row["key"]] = Batch(**{**row, "results": tuple(row["results"])})
        except (TypeError, KeyError) as error:
            raise SdgError(
                f"{path}: not the record of batches ({error}). Restore this file: it says which requests are paid for."
            ) from None
    return found
