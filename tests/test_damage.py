"""Files of a finished stage that are lost or changed: found by the next stage, named, and repaired byte for byte."""

import hashlib
import json
import os
import shutil

import pytest

from sdg_helpers import files, manifests
from sdg_helpers.cli.main import main
from sdg_helpers.errors import SdgError
from sdg_helpers.fingerprints import fingerprint
from sdg_helpers.manifests import DamagedStage
from sdg_helpers.runs import repair, status, verify
from sdg_helpers.stages import Stage
from tests.helpers import damaging
from tests.helpers.standin import StandIn
from tests.helpers.whole_run import contents, run_after_repair, run_stages, write_source

SEEDS = 2
# (damaged output, how, the stage that must refuse it, the most requests that its repair may send)
DAMAGES = [
    ("problems/problems.jsonl", damaging.edit, "solutions", 0),
    ("problems/problems.jsonl", damaging.rot, "solutions", 0),
    ("solutions/output-rs1.jsonl", damaging.remove, "judged", 12),
    ("solutions/output-rs1.jsonl", damaging.cut_rows, "judged", 4),
    ("solutions/output-rs1.jsonl", damaging.cut_anywhere, "judged", 7),
    ("solutions/output-rs0.jsonl", damaging.edit, "judged", 1),
    ("solutions/output-rs0.jsonl", damaging.rot, "judged", 1),
    ("solutions/output-rs0.jsonl", damaging.swap_rows, "judged", 0),
    ("solutions/output-rs0.jsonl", damaging.repeat_row, "judged", 0),
    ("solutions/output-rs0.jsonl", damaging.double, "judged", 0),
    ("judged/verdicts.parquet", damaging.rot, "relabeled", 0),
    ("judged/verdicts.parquet", damaging.cut_anywhere, "relabeled", 0),
    ("judged/comparisons.jsonl", damaging.cut_rows, "rejudged", 12),
    ("relabeled/labels.parquet", damaging.edit, "rejudged", 0),
    ("rejudged/verdicts.parquet", damaging.remove, "sft", 0),
    ("sft/sft-data-math.jsonl", damaging.cut_rows, "sft", 0),
    ("sft/README.md", damaging.empty, "sft", 0),
    ("genselect_solutions/output-rs0.jsonl", damaging.cut_rows, "genselect_picks", 12),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(server, source of the problems, finished run)."""
    folder = tmp_path_factory.mktemp("damage")
    source = write_source(folder / "source.jsonl", 12)
    with StandIn(accuracy=0.6) as server:
        run_stages(folder / "calm", source, server.base_url, SEEDS)
        yield server, source, folder / "calm"


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the run, with its times."""
    return shutil.copytree(finished[2], tmp_path / "outputs" / "lost")


def run_on(finished, folder, upto="genselect_sft"):
    run_stages(folder, finished[1], finished[0].base_url, SEEDS, upto)


def forget(folder, stage):
    """Make a stage the next one to run; what it has paid for stays."""
    (folder / "math" / stage / "manifest.json").unlink()


@pytest.mark.parametrize("name, damage, reader, most", DAMAGES, ids=[f"{one[0]}-{one[1].__name__}" for one in DAMAGES])
def test_damage_is_found_by_the_next_stage_and_repaired(finished, copy, name, damage, reader, most):
    server, source, calm = finished
    stage = name.split("/")[0]
    damage(copy / "math" / name)
    if stage != reader and "rot" in damage.__name__:
        forget(copy, reader)  # a finished stage does not read its inputs again
    with pytest.raises(DamagedStage) as error:
        run_on(finished, copy)
    assert f"the finished stage math/{stage} is damaged:\n  {name.split('/')[1]} " in str(error.value)
    assert "Run `sdg repair lost`" in str(error.value)
    server.reset()
    (found,) = repair.set_back_damaged(copy)
    assert (found.info.name, [one.name for one in found.damages]) == (stage, [name.split("/")[1]])
    run_after_repair(copy, source, server.base_url, SEEDS)
    assert contents(copy) == contents(calm) and server.stats()["requests"] <= most
    assert not any(one.problems for one in verify.verify_run(copy)) and not list(repair.set_back_damaged(copy))


@pytest.mark.parametrize("damage", [damaging.remove, damaging.cut_rows, damaging.edit])
def test_a_finished_stage_looks_at_its_files_when_it_is_skipped(finished, copy, damage):
    damage(copy / "math" / "solutions" / "output-rs1.jsonl")
    with pytest.raises(DamagedStage, match="math/solutions"):
        run_on(finished, copy, upto="solutions")


def test_a_touched_file_is_read_once_and_gets_its_time_back(finished, copy):
    path = copy / "math" / "solutions" / "output-rs0.jsonl"
    before = path.stat().st_mtime_ns
    os.utime(path, ns=(1, 1))
    run_on(finished, copy)
    assert path.stat().st_mtime_ns == before and contents(copy) == contents(finished[2])


def test_a_seed_that_the_stage_did_not_write_is_set_aside(finished, copy):
    solutions = copy / "math" / "solutions"
    shutil.copy(solutions / "output-rs0.jsonl", solutions / "output-rs7.jsonl")
    with pytest.raises(DamagedStage, match="output-rs7.jsonl was added"):
        run_on(finished, copy)
    (found,) = repair.set_back_damaged(copy)
    assert found.lost == 0 and (solutions / "set-aside" / "output-rs7.jsonl").exists()
    run_after_repair(copy, finished[1], finished[0].base_url, SEEDS)
    assert contents(copy) == contents(finished[2])


def without_hashes(folder):
    """Make a run as an earlier version wrote it: manifests with sizes only, no hashes of rows."""
    for manifest in (folder / "math").glob("*/manifest.json"):
        content = json.loads(manifest.read_text())
        content.pop("checksum", None)
        for known in (*content["outputs"].values(), *content["inputs"].values()):
            for key in ("blake2b", "xxh3", "rows", "mtime_ns"):
                known.pop(key, None)
        manifest.write_text(json.dumps(content))
        shutil.rmtree(manifest.parent / manifests.ROW_HASHES, ignore_errors=True)
    return folder


def test_old_manifests_are_accepted_and_checked_as_far_as_they_go(finished, copy):
    without_hashes(copy)
    forget(copy, "sft")
    run_on(finished, copy)
    assert contents(copy) == contents(finished[2])
    without_hashes(copy)
    damaging.cut_rows(copy / "math" / "solutions" / "output-rs1.jsonl")
    with pytest.raises(DamagedStage, match=r"output-rs1.jsonl has [\d,]+ bytes; the stage wrote"):
        run_on(finished, copy)
    (found,) = repair.set_back_damaged(copy)  # nobody can say which rows are intact: the seed is made again
    assert found.kept == 0 and (copy / "math" / "solutions" / "set-aside" / "output-rs1.jsonl").exists()
    run_after_repair(copy, finished[1], finished[0].base_url, SEEDS)
    assert contents(copy) == contents(finished[2])


def with_blake2b(folder):
    """Make a run as version 0.1 wrote it: manifests, also those of begun stages, with blake2b alone."""
    for record in (folder / "math").glob("*/*.json"):
        content = json.loads(record.read_text())
        content.pop("checksum", None)
        known = [(record.parent / name, one) for name, one in content.get("outputs", {}).items()]
        known += [(record.parent / one["path"], one) for one in content.get("inputs", {}).values()]
        for path, one in known:
            if not path.exists():  # the source of the problems, elsewhere
                continue
            one.clear()
            one |= {"path": os.path.relpath(path, record.parent), "bytes": path.stat().st_size}
            one["blake2b"] = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
        record.write_text(json.dumps(content))
        shutil.rmtree(record.parent / manifests.ROW_HASHES, ignore_errors=True)
    return folder


def test_fingerprints_of_version_0_1_are_recognised(finished, copy):
    sft = copy / "math" / "sft"
    manifest = json.loads((sft / "manifest.json").read_text())
    begun = {key: manifest[key] for key in ("stage", "parameters", "inputs")}
    (sft / "manifest.json").rename(sft / "begun.json").write_text(json.dumps(begun))
    with_blake2b(copy)
    run_on(finished, copy)
    assert contents(copy) == contents(finished[2])
    assert all(not one.problems for one in verify.verify_run(copy))
    with_blake2b(copy)
    damaging.rot(copy / "math" / "relabeled" / "labels.parquet")
    forget(copy, "rejudged")  # a finished stage does not read its inputs again
    with pytest.raises(DamagedStage, match=r"labels.parquet has other content"):
        run_on(finished, copy)


def test_an_input_from_outside_is_compared_with_the_hash_that_is_known(tmp_path):
    """Version 0.1 recorded blake2b; the record of today has another hash of the same bytes."""
    source, stage = tmp_path / "source.jsonl", Stage(tmp_path / "run" / "math" / "problems", "problems")
    source.write_bytes(b'{"problem": "1 + 1"}\n')
    with stage.work({}, {"source": source}):
        pass
    begun = files.read_json(stage.folder / "begun.json")
    known = begun["inputs"]["source"]
    del known["xxh3"]
    known["blake2b"] = hashlib.blake2b(source.read_bytes(), digest_size=16).hexdigest()
    files.write_json(stage.folder / "begun.json", begun)
    with stage.work({}, {"source": source}):
        pass
    source.write_bytes(b'{"problem": "1 + 2"}\n')
    with pytest.raises(SdgError, match="input source: its content has changed"), stage.work({}, {"source": source}):
        pass


@pytest.mark.parametrize("name", ["solutions", "sft"])
def test_an_edited_manifest_is_found(finished, copy, name):
    path = copy / "math" / name / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"rows_out": ', b'"rows_out": 1', 1))
    with pytest.raises(SdgError, match="content has changed since the stage wrote it"):
        run_on(finished, copy)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"counts": 3}', b'{"counts": {"rows_in": 1}}', b"\xff\x00"])
def test_a_damaged_manifest_is_a_plain_error_and_status_shows_the_rest(finished, copy, content):
    (copy / "math" / "solutions" / "manifest.json").write_bytes(content)
    with pytest.raises(SdgError, match=r"(?s)solutions/manifest.json: .*sdg repair lost"):
        run_on(finished, copy)
    states = {one.stage: one.state for one in status.run_status(copy)}
    assert states["solutions"] == "unreadable" and states["judged"] == states["sft"] == "complete"
    (found,) = repair.set_back_damaged(copy)
    assert found.kept == 12 * SEEDS
    run_after_repair(copy, finished[1], finished[0].base_url, SEEDS)
    assert contents(copy) == contents(finished[2])


@pytest.mark.parametrize("name", ["begun.json", "progress.json", "partial/session-1-2.json"])
@pytest.mark.parametrize("content", [b"", b'{"rows": 1', b"[1]"])
def test_a_torn_record_of_an_unfinished_stage_costs_no_row(finished, copy, name, content):
    stage = copy / "math" / "solutions"
    manifest = files.read_json(stage / "manifest.json")
    (stage / "manifest.json").unlink()
    files.write_json(stage / "begun.json", {key: manifest[key] for key in ("stage", "parameters", "inputs")})
    (stage / name).parent.mkdir(exist_ok=True)
    (stage / name).write_bytes(content)
    states = {one.stage: one.state for one in status.run_status(copy)}
    assert len(states) == 11 and states["sft"] == "complete" and states["solutions"] in ("unreadable", "partial")
    if name != "progress.json":  # which only `sdg status` reads
        with pytest.raises(SdgError, match=f"{name}: .*then run again"):
            run_on(finished, copy, upto="solutions")
    assert [one.name for one in verify.verify_run(copy) if one.problems] == ["math/solutions"]
    assert list(repair.set_back_damaged(copy)) == []
    run_after_repair(copy, finished[1], finished[0].base_url, SEEDS)
    assert contents(copy) == contents(finished[2])


def test_a_bad_row_is_blamed_on_the_damaged_stage(finished, copy):
    """The reader fails at the row before it has compared the whole file."""
    path = copy / "math" / "solutions" / "output-rs0.jsonl"
    status_before, data = path.stat(), path.read_bytes()
    path.write_bytes(data.replace(b'{"id":', b'["id":', 1))
    os.utime(path, ns=(status_before.st_atime_ns, status_before.st_mtime_ns))
    forget(copy, "judged")
    with pytest.raises(DamagedStage, match="math/solutions is damaged:\n  output-rs0.jsonl has other content"):
        run_on(finished, copy, upto="judged")


def test_verify_prints_each_stage_and_fails_on_damage(copy, monkeypatch, capsys):
    monkeypatch.setenv("SDG_OUTPUTS", str(copy.parent))
    (copy / "run.yaml").write_text("profile: demo\nbegun_at: x\nsessions: []\n")
    assert main(["verify", "lost"]) == 0 and capsys.readouterr().out.count("intact") == 10
    damaging.rot(copy / "math" / "relabeled" / "labels.parquet")
    assert main(["verify", "lost"]) == 1
    shown = capsys.readouterr().out
    assert shown.count("intact") == 9 and "labels.parquet has other content" in shown and "repair lost" in shown


def test_outputs_are_hashed_while_they_are_written(tmp_path, monkeypatch):
    """200 GB are not read again to finish a stage."""
    stage = Stage(tmp_path / "run" / "math" / "solutions", "solutions")
    with stage.work({}, {}) as work:
        with files.atomic_writer(stage.folder / "rows.jsonl") as out:
            out.writelines(files.dumps({"id": number, "text": "x" * 1000}) for number in range(3000))
        expected = fingerprint(stage.folder / "rows.jsonl")
        monkeypatch.setattr("sdg_helpers.fingerprints._read", None)
        manifest = work.finish(rows_in=3000, rows_out=3000, outputs=[stage.folder / "rows.jsonl"])
    assert manifest["outputs"]["rows.jsonl"] == {**expected, "rows": 3000}
    assert (stage.folder / manifests.ROW_HASHES / "rows.jsonl.xxh3").stat().st_size == 8 * 3000


def test_a_file_that_changed_after_it_was_written_is_hashed_as_it_is(tmp_path):
    stage = Stage(tmp_path / "run" / "math" / "solutions", "solutions")
    path = stage.folder / "rows.jsonl"
    with stage.work({}, {}) as work:
        with files.atomic_writer(path) as out:
            out.write(b"one\n")
        path.write_bytes(b"two\n")
        manifest = work.finish(rows_in=1, rows_out=1, outputs=[path])
    assert manifest["outputs"]["rows.jsonl"] == {**fingerprint(path), "rows": 1}
