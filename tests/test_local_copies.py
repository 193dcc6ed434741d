"""Copies of a model on a node's own disk: once, verified, only what the node loads, within a bound."""

import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from sdg_helpers import files
from sdg_helpers.cluster.exit_codes import TryAgain
from sdg_helpers.cluster.ranks import Group
from sdg_helpers.locks import Lock
from sdg_helpers.serving.server_specs import SglangSpec
from sdg_helpers.serving.sglang import local_copies
from sdg_helpers.serving.sglang.local_copies import use_local_copy

SHARD = b"x" * 1_000_000
USE = """
import sys
from sdg_helpers.cluster import ranks
from sdg_helpers.serving.server_specs import SglangSpec
from sdg_helpers.serving.sglang.local_copies import use_local_copy
print(use_local_copy(SglangSpec.model_validate_json(sys.argv[1]), ranks.current()).model, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def nothing_used(monkeypatch):
    monkeypatch.setattr(local_copies, "_used", {})


@pytest.fixture
def spec(tmp_path):
    """Return the settings of a sharded model of this name, which is written first."""

    def make(name="model", max_gb=1.0, **keys):
        folder = tmp_path / "shared" / name
        (folder / "code").mkdir(parents=True, exist_ok=True)
        for rank in range(4):
            (folder / f"model-rank-{rank}-part-0.safetensors").write_bytes(SHARD)
        for other in ("config.json", "sharded.json", "code/model.py", ".lock"):
            (folder / other).write_text("{}")
        copies = {"folder": str(tmp_path / "disk"), "max_gb": max_gb}
        keys = {"tp_size": 4, "load_format": "sharded_state", **keys}
        return SglangSpec(model=str(folder), local_copies=copies, **keys)

    return make


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@contextmanager
def using(spec):
    """Use a copy in another process; yield what that process says: the last line is the model's folder."""
    words = [sys.executable, "-c", USE, spec.model_dump_json()]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    lines = [process.stdout.readline().strip(), process.stdout.readline().strip()]
    try:
        yield lines
    finally:
        process.communicate()


def local_folder(local):
    return Path(local.model)


def one_node():
    return Group(0, ["n1"], "n1", 1, {})


def test_a_model_is_copied_once_and_served_from_the_copy(spec, tmp_path, capsys):
    settings = spec()
    local = use_local_copy(settings, one_node())
    folder = next((tmp_path / "disk").glob("model-*[!d]"))
    assert (local.model, local.served_model) == (str(folder), str(tmp_path / "shared" / "model"))
    assert names(folder) == [name for name in names(tmp_path / "shared" / "model") if name != ".lock"]
    assert "Copied 0.0 GB" in capsys.readouterr().out
    assert use_local_copy(settings, one_node()) == local
    assert capsys.readouterr().out == ""
    assert oct((tmp_path / "disk").stat().st_mode)[-3:] == "700"


def test_nothing_is_copied_without_the_setting(spec, tmp_path):
    plain = spec().model_copy(update={"local_copies": None})
    assert use_local_copy(plain, one_node()) is plain and not (tmp_path / "disk").exists()


def test_a_node_copies_only_what_its_ranks_load(spec, tmp_path):
    class Other(Group):
        def send(self, **message):
            assert message == {"copied": True}

    local = use_local_copy(spec(), Other(1, ["n1", "n2"], "n1", 1, {}))
    shards = [name for name in names(local_folder(local)) if name.startswith("model-rank")]
    assert shards == ["model-rank-2-part-0.safetensors", "model-rank-3-part-0.safetensors"]


def test_an_interrupted_copy_goes_on_and_a_changed_model_is_another_one(spec):
    settings = spec()
    folder = local_folder(use_local_copy(settings, one_node()))
    (folder / "model-rank-1-part-0.safetensors").unlink()
    kept, again = (folder / f"model-rank-{rank}-part-0.safetensors" for rank in range(2))
    before = kept.stat().st_mtime_ns
    assert local_folder(use_local_copy(settings, one_node())) == folder
    assert again.read_bytes() == SHARD and kept.stat().st_mtime_ns == before
    (Path(settings.model) / "sharded.json").write_text('{"changed": true}')
    assert local_folder(use_local_copy(settings, one_node())) != folder


def test_a_copy_that_differs_is_refused(spec, tmp_path):
    settings = spec()
    known = {"files": {"model-rank-2-part-0.safetensors": {"sha256": "0" * 64}}}
    files.write_json(tmp_path / "shared" / "model" / "download.json", known)
    with pytest.raises(TryAgain, match="model-rank-2-part-0.safetensors: the copy differs .* not 0000"):
        use_local_copy(settings, one_node())
    assert not list((tmp_path / "disk").rglob("*model-rank-2*"))


def test_unused_copies_make_room_and_used_ones_do_not(spec, tmp_path):
    def models():
        return {path.name.partition("-")[0] for path in (tmp_path / "disk").iterdir() if path.is_dir()}

    first, second, third, fourth = (spec(name, max_gb=0.0095) for name in ("first", "second", "third", "fourth"))
    with using(second):  # the older one
        with using(first):
            assert models() == {"first", "second"}
        with using(third) as lines:
            assert lines[-1].startswith(str(tmp_path / "disk" / "third-"))
            assert models() == {"second", "third"}
            with using(fourth) as lines:
                assert lines[-1] == str(tmp_path / "shared" / "fourth") and models() == {"second", "third"}
                assert "is loaded from there, not from a copy on this node" in lines[0] and "max_gb, 0.0095" in lines[0]


def test_processes_of_a_node_copy_one_after_the_other(spec, tmp_path):
    (tmp_path / "disk").mkdir(mode=0o700)
    with Lock(tmp_path / "disk" / ".lock", "a test"):
        thread = threading.Thread(target=use_local_copy, args=(spec(), one_node()), daemon=True)
        thread.start()
        thread.join(0.5)
        assert thread.is_alive() and not list((tmp_path / "disk").rglob("*.safetensors"))
    thread.join(60)
    assert len(list((tmp_path / "disk").rglob("*.safetensors"))) == 4


def test_a_folder_that_others_may_change_is_not_used(spec, tmp_path, capsys):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk").chmod(0o777)
    settings = spec()
    assert use_local_copy(settings, one_node()) == settings
    assert "can be changed by other users" in capsys.readouterr().out


def test_a_model_of_the_hub_cannot_be_copied():
    with pytest.raises(ValueError, match="only a model in a folder can be copied"):
        SglangSpec(model="org/name", local_copies={"folder": "/scratch", "max_gb": 1})
