"""Damage to files: what people, other programs and failing disks do to them."""

import os


def remove(path, rng=None):
    path.unlink()


def cut_rows(path, rng=None):
    """Lose the last rows, as a copy that was interrupted."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: len(lines) * 2 // 3]))


def cut_anywhere(path, rng=None):
    if data := path.read_bytes():  # an earlier disaster may have emptied it
        path.write_bytes(data[: rng.randrange(len(data)) if rng else len(data) // 2])


def empty(path, rng=None):
    path.write_bytes(b"")


def edit(path, rng=None):
    """Change one digit, as an editor does: the size stays and the time changes."""
    if not (data := bytearray(path.read_bytes())):
        return
    digits = [place for place, byte in enumerate(data) if chr(byte).isdigit()] or [len(data) // 2]
    place = rng.choice(digits) if rng else digits[len(digits) // 2]
    data[place] = ord("8") if data[place] != ord("8") else ord("3")
    path.write_bytes(data)


def rot(path, rng=None):
    """Flip one bit, as a disk does: size and time stay."""
    status, data = path.stat(), bytearray(path.read_bytes())
    if not data:
        return
    place = rng.randrange(len(data)) if rng else len(data) * 2 // 3
    data[place] ^= 1 << (rng.randrange(8) if rng else 0)
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def swap_rows(path, rng=None):
    """Sort the rows, as a tool may do."""
    path.write_bytes(b"".join(sorted(path.read_bytes().splitlines(keepends=True), reverse=True)))


def repeat_row(path, rng=None):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines, *lines[:1]]))


def double(path, rng=None):
    """Two copies in one file, as `cat a a > b`."""
    path.write_bytes(path.read_bytes() * 2)


def replace_with_folder(path, rng=None):
    path.unlink()
    path.mkdir()


ANY_FILE = (remove, cut_anywhere, empty, edit, rot, double)
ROWS = (cut_rows, swap_rows, repeat_row)
