"""Sharding: every rank's files there and whole, the manifest last, once; with processes that stand in for SGLang.
tests/sglang/ has the same with SGLang itself."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sdg_helpers import files
from sdg_helpers.checkpoints import sharding
from sdg_helpers.checkpoints.sharding import shard_checkpoint
from sdg_helpers.checkpoints.tensors import read_header, rename_tensors
from sdg_helpers.cluster import ranks
from sdg_helpers.cluster.exit_codes import TryAgain
from sdg_helpers.errors import SdgError
from sdg_helpers.serving.engines import open_server
from sdg_helpers.serving.server_specs import SglangSpec
from sdg_helpers.serving.sglang.sharded import check_sharded

TESTS = Path(__file__).resolve().parent
# a rank of a job of two: argv MEETING_POINT SOURCE FOLDER SPEC LOGS
RANK = """
import json, os, sys
from pathlib import Path
from sdg_helpers.cluster import ranks
from sdg_helpers.serving.server_specs import parse_server_spec
from sdg_helpers.checkpoints.sharding import shard_checkpoint
from sdg_helpers.checkpoints.tensors import read_header, rename_tensors
meeting, source, folder, spec, logs = sys.argv[1:]
with ranks.join(Path(meeting), 1, 2) as group:
    group.listen(lambda why, code: os._exit(code))
    print(shard_checkpoint(Path(source), Path(folder), parse_server_spec(json.loads(spec)), Path(logs)), flush=True)
    group.receive(60)
"""


@pytest.fixture(autouse=True)
def alone():
    ranks._group = None
    yield
    ranks._group = None


@pytest.fixture
def faults(tmp_path):
    (tmp_path / "standin").mkdir()
    return tmp_path / "standin"


@pytest.fixture
def spec(faults):
    return SglangSpec(
        model="unused",
        python=sys.executable,
        tp_size=2,
        load_format="sharded_state",
        environment={"STANDIN": str(faults), "PYTHONPATH": str(TESTS / "helpers" / "sglang_standin")},
        start_deadline_s=20,
    )


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    (folder / ".cache").mkdir(parents=True)
    (folder / "code").mkdir()
    for name in (
        "config.json",
        "tokenizer.json",
        "model.py",
        "code/more.py",
        ".cache/x",
        "model.safetensors",
        "a.bin",
        "model.safetensors.index.json",
    ):
        (folder / name).write_text("{}")
    files.write_json(folder / "download.json", {"repo": "org/model", "commit": "abc", "revision": "main"})
    return folder


@pytest.fixture
def logs(tmp_path):
    return tmp_path / "servers"


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


SHARDS = ["model-rank-0-part-0.safetensors", "model-rank-1-part-0.safetensors"]
WHOLE = [".lock", "code/more.py", "config.json", *SHARDS[:1], SHARDS[1], "model.py", "sharded.json", "tokenizer.json"]


def test_once_and_complete(source, tmp_path, spec, logs, faults):
    folder = tmp_path / "sharded"
    folder.mkdir()
    (folder / "model-rank-7-part-0.safetensors").write_text("of an attempt that broke off")
    manifest = shard_checkpoint(source, folder, spec, logs)
    assert names(folder) == WHOLE
    assert manifest == check_sharded(folder, 2) == json.loads((folder / "sharded.json").read_text())
    assert {key: manifest[key] for key in ("tp_size", "nodes", "sglang", "source", "tensors_a_rank")} == {
        "tp_size": 2,
        "nodes": 1,
        "sglang": "0.0.0",
        "source": {"repo": "org/model", "commit": "abc"},
        "tensors_a_rank": 2,
    }
    assert manifest["files"] == {name: (folder / name).stat().st_size for name in SHARDS}
    assert manifest["bytes"] == sum(manifest["files"].values())
    assert manifest["loaded"] == [
        {
            "ranks": [0, 1],
            "tensors": {"layers.0.norm.weight": "U8 64", "layers.0.self_attn.kv_b_proj.weight": "U8 4x2"},
        }
    ]
    assert (folder / SHARDS[1]).read_bytes()[-72:] == b"\x01" * 72  # renaming leaves the data alone
    readable = stat.S_IMODE((folder / SHARDS[0]).stat().st_mode)
    assert readable == 0o666 & ~files.umask()
    before = {name: (folder / name).stat().st_mtime_ns for name in WHOLE}
    assert shard_checkpoint(source, folder, spec, logs) == manifest
    assert len((faults / "starts").read_text().splitlines()) == 2  # one writes, one loads
    assert {name: (folder / name).stat().st_mtime_ns for name in WHOLE if name != ".lock"}.items() <= before.items()
    assert not list(logs.glob(".*.key.yaml"))


def test_over_two_nodes(source, tmp_path, spec, logs, faults):
    folder = tmp_path / "sharded"
    given = json.dumps(spec.model_dump(exclude_unset=True))
    other = subprocess.Popen(
        [sys.executable, "-c", RANK, *map(str, (tmp_path / "meet", source, folder)), given, str(logs)],
        cwd=TESTS.parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    with ranks.join(tmp_path / "meet", 0, 2) as group:
        group.listen(lambda why, code: None)
        manifest = shard_checkpoint(source, folder, spec, logs)
        assert other.stdout.readline() == "None\n"  # it returns when all is done
        group.end(0)
    other.communicate(timeout=10)
    assert names(folder) == WHOLE and manifest["nodes"] == 2
    assert sorted(line.split()[1] for line in (faults / "starts").read_text().splitlines()) == ["0", "0", "1", "1"]


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        ("cut", TryAgain, r"model-rank-1-part-0\.safetensors: not a complete safetensors file \(\d+ bytes"),
        (
            "die-at-start 1",
            TryAgain,
            r"cannot shard the model into .*: shard of rank 0 .* status 1(.|\n)*stand-in dies at the start",
        ),
        ("die-at-start 2", SdgError, r"cannot shard the model into .*: shard of rank 0 .* status 2"),
        ("strange", TryAgain, r"2 tensors are only on one of the ranks 0 and 1"),
    ],
)
def test_a_sharding_that_fails_leaves_no_manifest(
    source, tmp_path, spec, logs, faults, monkeypatch, fault, error, said
):
    monkeypatch.setattr(sharding, "_SETTLE_S", 1)
    name, _, content = fault.partition(" ")
    (faults / name).write_text(content)
    folder = tmp_path / "sharded"
    with pytest.raises(error, match=said) as raised:
        shard_checkpoint(source, folder, spec, logs)
    assert type(raised.value) is error and not (folder / "sharded.json").exists()
    (faults / name).unlink()
    assert shard_checkpoint(source, folder, spec, logs)["tp_size"] == 2  # again, and it is whole


def test_shards_that_cannot_be_loaded_do_not_count(source, tmp_path, spec, logs, monkeypatch):
    monkeypatch.setattr(sharding, "ALIASES", {})
    folder = tmp_path / "sharded"
    said = r"shards are written, but SGLang cannot serve them(.|\n)*KeyError: 'layers.0.self_attn.attn_mha.kv_b_proj"
    with pytest.raises(SdgError, match=said) as raised:
        shard_checkpoint(source, folder, spec, logs)
    assert type(raised.value) is SdgError and not (folder / "sharded.json").exists()


def test_a_rank_that_wrote_nothing(tmp_path, source):
    (tmp_path / "model-rank-0-part-0.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    assert sharding._find_flaw(tmp_path, 3) == "no model-rank-… files of rank 1, 2 of 3"


def test_a_part_that_is_missing(tmp_path):
    def write(name, *tensors):
        header = json.dumps({tensor: {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for tensor in tensors})
        (tmp_path / name).write_bytes(len(header).to_bytes(8, "little") + header.encode())

    write("model-rank-0-part-0.safetensors", "a")
    write("model-rank-0-part-1.safetensors", "b", "c")
    write("model-rank-1-part-0.safetensors", "a")
    assert sharding._find_flaw(tmp_path, 2) == (
        "2 tensors are only on one of the ranks 0 and 1, which must hold the same"
    )
    write("model-rank-1-part-1.safetensors", "b", "c")
    assert sharding._find_flaw(tmp_path, 2) == ""


def test_a_folder_of_other_shards_is_refused(source, tmp_path, spec, logs):
    folder = tmp_path / "sharded"
    shard_checkpoint(source, folder, spec, logs)
    with pytest.raises(SdgError, match="these shards are for tp_size 2, not 4. Set tp_size: 2, or shard"):
        shard_checkpoint(source, folder, spec.model_copy(update={"tp_size": 4}), logs)
    files.write_json(source / "download.json", {"repo": "org/model", "commit": "def", "revision": "main"})
    with pytest.raises(SdgError, match=r"holds shards of .*'commit': 'abc'.*not of .*'commit': 'def'"):
        shard_checkpoint(source, folder, spec, logs)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "sharded.json").unlink(), r"not a complete sharded checkpoint"),
        (lambda folder: (folder / SHARDS[1]).unlink(), r"rank-1.*records \d+ bytes, found no file"),
        (
            lambda folder: os.truncate(folder / SHARDS[0], 9),
            r"rank-0.*sharded\.json records \d+ bytes, found 9",
        ),
    ],
)
def test_a_server_refuses_shards_that_are_not_whole(source, tmp_path, spec, logs, faults, change, said):
    folder = tmp_path / "sharded"
    shard_checkpoint(source, folder, spec, logs)
    change(folder)
    with pytest.raises(SdgError, match=said):
        open_server(spec.model_copy(update={"model": str(folder)}), logs)
    assert len((faults / "starts").read_text().splitlines()) == 2  # both of the sharding


def rewrite(path, old, new):
    """Replace words of a file's header by others of the same length."""
    assert len(old) == len(new) and old in (data := path.read_bytes())
    path.write_bytes(data.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            b"layers.0.norm",
            b"layers.0.morn",
            "rank 1 has 2 other tensors than it loaded .*morn.weight: none, not U8 64; ",
        ),
        (b'"shape":[4,2]', b'"shape":[2,4]', r"rank 1 has 1 other tensors .*kv_b_proj.weight: U8 4x2, not U8 2x4\)"),
    ],
)
def test_a_server_refuses_other_tensors_than_were_loaded(source, tmp_path, spec, logs, old, new, said):
    folder = tmp_path / "sharded"
    shard_checkpoint(source, folder, spec, logs)
    rewrite(folder / SHARDS[1], old, new)
    with pytest.raises(SdgError, match=f"SGLang cannot load these shards: {said}"):
        check_sharded(folder, 2)


def test_shards_that_were_never_loaded_are_refused_under_an_alias(source, tmp_path, spec, logs):
    folder = tmp_path / "sharded"
    manifest = shard_checkpoint(source, folder, spec, logs)
    del manifest["loaded"]  # as an earlier version wrote it
    files.write_json(folder / "sharded.json", manifest)
    assert check_sharded(folder, 2) == manifest
    rewrite(folder / SHARDS[0], b"self_attn.kv_b_proj.weight", b"attn_mha.kv_b_proj.weight_")
    with pytest.raises(SdgError, match=r"it has no tensor of the name layers\.0\.attn_mha\.kv_b_proj\.weight_"):
        check_sharded(folder, 2)


def test_names_that_would_collide_are_kept(tmp_path):
    header = {name: {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for name in ("a.b", "a.x.b")}
    text, path = json.dumps(header).encode(), tmp_path / "two"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    rename_tensors(path, {".x.": "."})
    assert read_header(path).keys() == {"a.b", "a.x.b"}


def test_a_server_refuses_shards_of_another_size(source, tmp_path, spec, logs):
    shard_checkpoint(source, tmp_path / "sharded", spec, logs)
    other = spec.model_copy(update={"model": str(tmp_path / "sharded"), "tp_size": 8})
    with pytest.raises(SdgError, match="these shards are for tp_size 2, not 8"):
        open_server(other, logs)


def test_a_source_without_config(tmp_path, spec, logs):
    with pytest.raises(SdgError, match="there is no config.json in .*/nothing"):
        shard_checkpoint(tmp_path / "nothing", tmp_path / "sharded", spec, logs)
