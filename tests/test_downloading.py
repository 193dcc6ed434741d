"""A checkpoint from a hub: verified file by file, resumed, done once; a stand-in hub on loopback."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sdg_helpers import files
from sdg_helpers.checkpoints import downloading
from sdg_helpers.checkpoints.downloading import download_checkpoint
from sdg_helpers.errors import SdgError
from tests.helpers.hub import SHA, Hub

TESTS = Path(__file__).resolve().parent
WEIGHTS = {"model-00001-of-00002.safetensors": os.urandom(300_000), "model-00002-of-00002.safetensors": b"x" * 1000}
NEEDED = {"config.json": b"{}", "tokenizer/tokenizer.json": b"{}", **WEIGHTS}
OTHER = {"pytorch_model.bin": b"?" * 5000, "original/consolidated.00.pth": b"?" * 5000, "model.gguf": b"?" * 5000}


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    root = tmp_path_factory.mktemp("hub")
    for repo, content in (
        ("org/model", {**NEEDED, **OTHER}),
        ("org/odd", {"README.md": b"none"}),
        ("org/old", {"config.json": b"{}", "pytorch_model.bin": b"weights"}),
    ):
        for name, data in content.items():
            path = root / "models" / repo / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return root


@pytest.fixture
def hub(repositories, monkeypatch):
    with Hub(repositories) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def names(folder):
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")
    }


def test_what_is_needed_comes_once_and_is_verified(hub, tmp_path):
    folder, told = tmp_path / "model", []
    manifest = download_checkpoint("org/model", folder, on_progress=lambda *both: told.append(both))
    total = sum(map(len, NEEDED.values()))
    assert told[-1] == (total, total)
    assert names(folder) == {*NEEDED, "download.json"}
    assert all((folder / name).read_bytes() == data for name, data in NEEDED.items())
    assert (
        manifest
        == json.loads((folder / "download.json").read_text())
        == {
            "repo": "org/model",
            "revision": "main",
            "commit": SHA,
            "files": {
                name: {"bytes": len(data), **({"sha256": hashlib.sha256(data).hexdigest()} if name in WEIGHTS else {})}
                for name, data in sorted(NEEDED.items())
            },
        }
    )
    before = hub.stats()
    assert download_checkpoint("org/model", folder) == download_checkpoint("org/model", folder, SHA) == manifest
    assert hub.stats() == before


def test_weights_in_another_format_are_downloaded_if_alone(hub, tmp_path):
    download_checkpoint("org/old", tmp_path)
    assert names(tmp_path) == {"config.json", "pytorch_model.bin", "download.json"}


def test_a_corrupt_file_is_removed_and_downloaded_again(hub, tmp_path, monkeypatch):
    name, data = next(iter(WEIGHTS.items()))
    fetch = downloading._fetch

    def fetch_badly(wanted, folder):
        fetch(wanted, folder)
        (folder / name).write_bytes(b"!" + data[1:])

    monkeypatch.setattr(downloading, "_fetch", fetch_badly)
    with pytest.raises(SdgError, match=f"{name}: expected 300000 bytes with sha256 .*, found sha256 .*run again"):
        download_checkpoint("org/model", tmp_path)
    assert not (tmp_path / name).exists() and not (tmp_path / "download.json").exists()
    monkeypatch.setattr(downloading, "_fetch", fetch)
    before = hub.stats()["bytes"]
    download_checkpoint("org/model", tmp_path)
    after = hub.stats()["bytes"]
    assert (tmp_path / name).read_bytes() == data
    assert {path for path in after if after[path] != before.get(path)} == {f"org/model/{name}"}  # the others stayed


def test_what_was_verified_is_not_read_again(hub, tmp_path, monkeypatch):
    check, seen = downloading._check, []
    monkeypatch.setattr(downloading, "_check", lambda path, entry: seen.append(path.name) or check(path, entry))
    monkeypatch.setattr(files, "write_json", lambda *_: 1 / 0)  # dies at the last moment
    with pytest.raises(ZeroDivisionError):
        download_checkpoint("org/model", tmp_path)
    assert len(seen) == len(NEEDED)
    monkeypatch.undo()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setattr(downloading, "_check", lambda path, entry: 1 / 0)
    assert len(download_checkpoint("org/model", tmp_path)["files"]) == len(NEEDED)


@pytest.mark.parametrize(
    ("repo", "revision", "said"),
    [
        ("org/modle", "main", r"org/modle at main: cannot be read from the hub .RepositoryNotFoundError"),
        ("org/model", "v9", r"org/model at v9: .*RevisionNotFoundError"),
        ("org/odd", "main", r"org/odd: no config\.json \(found README\.md"),
    ],
)
def test_models_that_cannot_be_downloaded(hub, tmp_path, repo, revision, said):
    with pytest.raises(SdgError, match=said):
        download_checkpoint(repo, tmp_path, revision)
    assert not (tmp_path / "download.json").exists()


def test_a_folder_of_another_model_is_refused(hub, tmp_path):
    download_checkpoint("org/model", tmp_path)
    with pytest.raises(SdgError, match=r"already holds org/model at main \(0123456789ab\), not org/old at main"):
        download_checkpoint("org/old", tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(SdgError, match=r"config\.json: download\.json records 2 bytes, found no file"):
        download_checkpoint("org/model", tmp_path)


def test_no_space(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(SdgError, match=r"org/model needs 0\.0 GB more, but only 0\.0 GB are free"):
        download_checkpoint("org/model", tmp_path)
    assert hub.stats()["bytes"] == {}


def test_a_killed_download_resumes(hub, tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from sdg_helpers.checkpoints import downloading; "
        "downloading._check = lambda path, entry: os._exit(9); "
        "downloading.download_checkpoint('org/model', Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=TESTS.parent, env={**os.environ})
    assert done.returncode == 9 and not (tmp_path / "download.json").exists()
    before = hub.stats()["bytes"]
    download_checkpoint("org/model", tmp_path)
    assert hub.stats()["bytes"] == before  # every byte was there
