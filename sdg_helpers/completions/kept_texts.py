"""Replies that are still being written, kept on disk as they arrive, so that a request that was cut can be continued.

A session of requests appends the pieces of its replies to one file, those that arrived together with one write, so
kill -9 loses what had not been received and no more. A power cut loses what the system had not written back. A torn
last line is dropped. When most of the file belongs to replies that have ended, it is written anew without them.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from sdg_helpers import files
from sdg_helpers.errors import SdgError, UnreadableRow

_GARBAGE_BYTES = 16 << 20  # of replies that have ended, before the file is written anew
_MAX_AGE = 2  # sessions that hand on a text without continuing it: others have its request by now
_MAX_STUCK = 3  # attempts in a row that add nothing to a text, after which its request is asked anew


class KeptText:
    """What has arrived of one reply. tokens: how many it has; stuck: attempts in a row that added nothing.

    age: sessions that have handed it on since then.
    """

    __slots__ = ("parts", "tokens", "stuck", "age")

    def __init__(self, text: str = "", tokens: int = 0):
        self.parts, self.tokens, self.stuck, self.age = [text] if text else [], tokens, 0, 0

    @property
    def text(self) -> str:
        """The whole text so far."""
        if len(self.parts) > 1:
            self.parts = ["".join(self.parts)]
        return self.parts[0] if self.parts else ""


class KeptTexts:
    """The unfinished replies of a session, by the content of their requests, and those of sessions before it."""

    def __init__(self, path: Path):
        self.path = path
        self._texts: dict[str, KeptText] = {}
        self._written: set[str] = set()  # replies of which this session's file has all that went before
        self._loaded: set[Path] = set()
        self._waiting: list[bytes] = []
        self.why_not = ""  # why replies that are cut from now on are not continued
        self._log: files.AppendLog | None = None
        self._broken = False  # a write has failed: later pieces would follow a gap
        self._limit = _GARBAGE_BYTES

    def load(self, paths: Iterable[Path]) -> None:
        """Read what other sessions left, oldest first: of two texts of one request, the later one counts. What this
        session has itself counts most."""
        for path in paths:
            if path == self.path or path in self._loaded:
                continue
            self._loaded.add(path)
            found: dict[str, KeptText] = {}
            with suppress(UnreadableRow, FileNotFoundError):  # after a power cut: the rest is asked for anew
                for row in files.read_log(path):
                    if row.get("over"):
                        found[row["reply"]] = KeptText()
                    else:
                        kept = found.setdefault(row["reply"], KeptText())
                        if row.get("begin"):
                            kept.parts.clear()
                            kept.age = row["age"]
                        kept.parts.append(row["text"])
                        kept.tokens = row["tokens"]
            for name, kept in found.items():
                if name not in self._written:
                    self._texts[name] = kept
                    if not kept.parts:
                        del self._texts[name]

    def take_over(self, paths: Iterable[Path]) -> None:
        """Load the files of sessions that have ended, move what counts into this session's file, and delete them."""
        paths = [*paths]
        self.load(paths)
        for name, kept in [*self._texts.items()]:
            kept.age += 1
            if kept.age > _MAX_AGE:
                del self._texts[name]
            else:
                self._put_whole(name)
        self.write()
        if self._log:
            self._log.flush()
        if not self._broken:
            for path in {*paths} - {self.path}:
                path.unlink(missing_ok=True)

    def find(self, name: str) -> KeptText | None:
        """Return what there is of a reply, None without any."""
        return self._texts.get(name)

    def failed(self, name: str) -> None:
        """Note that an attempt failed. A text to which several in a row added nothing is forgotten."""
        if (kept := self._texts.get(name)) is not None:
            kept.stuck += 1
            if kept.stuck > _MAX_STUCK:
                self.end(name)

    def add(self, name: str, piece: str, tokens: int) -> None:
        """Note the next piece of a reply. tokens: how many the whole reply has now. `write` puts it on disk."""
        kept = self._texts.setdefault(name, KeptText())
        whole = name not in self._written
        kept.parts.append(piece)
        kept.tokens, kept.stuck, kept.age = tokens, 0, 0
        if whole:
            self._put_whole(name)
        else:
            self._waiting.append(files.dumps({"reply": name, "text": piece, "tokens": tokens}))

    def end(self, name: str) -> None:
        """Forget a reply: it is complete, or not to be continued."""
        if self._texts.pop(name, None) is not None and name in self._written:
            self._written.discard(name)
            self._waiting.append(files.dumps({"reply": name, "over": True}))

    def write(self) -> None:
        """Append what has been noted. A disk that is full stops this for good, and `why_not` says so."""
        lines, self._waiting = self._waiting, []
        if self._broken or not lines:
            return
        try:
            self._log = self._log or files.AppendLog(self.path)
            self._log.append(b"".join(lines))
            if self._log.size > self._limit:
                self._rewrite()
        except SdgError as error:
            self._broken, self.why_not = True, f"they are no longer kept: {error}"

    def close(self) -> None:
        """Write what is left. A file of replies that have all ended is removed."""
        self.write()
        if self._log:
            with suppress(SdgError):
                self._log.close()
            if not self._texts and not self._broken:
                self.path.unlink(missing_ok=True)

    def _put_whole(self, name: str) -> None:
        self._written.add(name)
        self._waiting.append(self._whole(name))

    def _whole(self, name: str) -> bytes:
        kept = self._texts[name]
        row = {"reply": name, "text": kept.text, "tokens": kept.tokens, "begin": True, "age": kept.age}
        return files.dumps(row)

    def _rewrite(self) -> None:
        """Replace the file by one with only the replies that have not ended."""
        with files.atomic_writer(self.path) as out:
            out.writelines(self._whole(name) for name in self._written & self._texts.keys())
        if self._log:
            self._log.close()
        self._log = files.AppendLog(self.path)
        self._limit = self._log.size + _GARBAGE_BYTES
