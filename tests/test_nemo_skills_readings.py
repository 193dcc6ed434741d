"""The import of NeMo-Skills folders reads every file once, and knows what it has read."""

import builtins
import io
import os
import shutil
from collections import Counter

import pytest

from sdg_helpers import files, fingerprints
from sdg_helpers.errors import SdgError
from sdg_helpers.nemo_skills import importing, parts
from sdg_helpers.nemo_skills.importing import import_nemo_skills
from tests.test_nemo_skills import write_their_files
from tests.test_nemo_skills_hostile import STAGES, row


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a file for each of two seeds and each stage, problems.jsonl and exported files."""
    for name in STAGES:
        for seed in (0, 1):
            write_their_files(tmp_path / "in" / name, [row(0), row(1), row(2)], f"output-rs{seed}.jsonl")
    write_their_files(tmp_path / "in" / "sft", [row(0)], "sft-data-math.jsonl")
    (tmp_path / "in" / "problems.jsonl").write_bytes(b"".join(files.dumps(problem(row(n))) for n in range(3)))
    return tmp_path / "in"


def problem(found):
    return {key: found[key] for key in ("problem", "expected_answer")}


@pytest.fixture
def bytes_read(monkeypatch, folder):
    """Count the bytes that are read of each file in `folder`."""
    counts, plain_open = Counter(), builtins.open

    class Counting(io.FileIO):
        def readinto(self, buffer):
            size = super().readinto(buffer)
            counts[self.name] += size
            return size

    def counting_open(file, mode="r", buffering=-1, *more, **options):
        if mode == "rb" and str(file).startswith(f"{folder}/"):
            return io.BufferedReader(Counting(str(file)))
        return plain_open(file, mode, buffering, *more, **options)

    monkeypatch.setattr(builtins, "open", counting_open)
    return counts


@pytest.mark.parametrize(
    "removed",
    [
        (),
        ("problems.jsonl",),
        ("problems.jsonl", "solutions"),
        ("problems.jsonl", "solutions", "judged"),
        ("solutions", "judged", "relabeled"),
        ("problems.jsonl", "solutions", "judged", "relabeled"),
    ],
)
def test_every_file_is_read_once(folder, tmp_path, bytes_read, removed):
    for name in removed:
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    rows = import_nemo_skills(folder, tmp_path / "run")
    assert rows["problems"] == 3 and rows["solutions"] == rows["rejudged"] == 6 and rows["relabeled"] == 3
    sizes = {str(path): path.stat().st_size for path in folder.rglob("*.jsonl")}
    assert bytes_read == sizes
    math = tmp_path / "run" / "math"
    for manifest in (files.read_json(path) for path in math.glob("*/manifest.json")):
        for known in manifest["inputs"].values():
            path = (math / manifest["stage"] / known.pop("path")).resolve()
            assert known == fingerprints.fingerprint(path)
    assert import_nemo_skills(folder, tmp_path / "run") == rows


@pytest.mark.parametrize("part", ["Problems", "Solutions", "Verdicts", "Labels"])
def test_an_import_that_was_stopped_is_finished_by_the_next(folder, tmp_path, monkeypatch, part):
    for name in ("problems.jsonl", "solutions/output-rs0.jsonl", "solutions/output-rs1.jsonl"):
        (folder / name).unlink()
    rows = import_nemo_skills(folder, tmp_path / "undisturbed")
    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(getattr(parts, part), "finish", interrupt)
        import_nemo_skills(folder, tmp_path / "run")
    assert import_nemo_skills(folder, tmp_path / "run") == rows
    one, two = (contents(tmp_path / name / "math") for name in ("run", "undisturbed"))
    assert one == two and len(one) == 1 + 2 + 2 + 1 + 2 + 1


def interrupt(*args):
    raise KeyboardInterrupt


def contents(math):
    return {
        path.relative_to(math).as_posix(): path.read_bytes()
        for path in math.rglob("*.*")
        if path.suffix in (".jsonl", ".parquet")
    }


def test_a_file_that_changes_while_it_is_read_is_refused(folder, tmp_path, monkeypatch):
    read_rows = importing.read_rows

    def touch_and_read(paths, read):
        for found in read_rows(paths, read):
            os.utime(paths[0], ns=(5, 5))
            yield found

    monkeypatch.setattr(importing, "read_rows", touch_and_read)
    with pytest.raises(SdgError, match=r"problems.jsonl: something else changed this file while it was read"):
        import_nemo_skills(folder, tmp_path / "run")
