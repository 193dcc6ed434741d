"""A person checks the judge: stratified samples, error rates per tier, and decisions that override every tier."""

import pytest

from sdg_helpers import files
from sdg_helpers.judging import audit
from sdg_helpers.judging.comparisons import Comparisons, decode_verdict, row_key, row_of
from sdg_helpers.runs.reset import reset_stages
from sdg_helpers.runs.tracks import STAGES
from sdg_helpers.sft.expected_errors import ExpectedErrors


def write_store(path, rows):
    """rows: (id, predicted answer, verdict, tier) each."""
    with files.AppendLog(path) as log:
        for name, predicted, correct, how in rows:
            log.append(row_of(name, predicted, "7", correct, how, model="m", prompt="p"))


def test_sample_has_every_tier_and_verdict_and_nothing_twice(tmp_path):
    store, decisions = tmp_path / "comparisons.jsonl", tmp_path / audit.FILE
    many = [(f"p{n}", "5", False, "model") for n in range(500)] + [
        ("y", "7.", True, "model"),
        ("e", "7", True, "exact"),
    ]
    write_store(store, [*many, ("s", "14/2", True, "symbolic"), ("u", "x", None, "model")])
    rows = audit.sample_decisions([store, store], decisions, per_stratum=3)
    assert sorted((row["how"], row["judgement"]) for row in rows) == [
        *[("model", False)] * 3,
        ("model", True),
        ("symbolic", True),
    ]
    assert rows == audit.sample_decisions([store], decisions, per_stratum=3)
    assert rows != audit.sample_decisions([store], decisions, per_stratum=3, random_seed=1)
    for row in rows:
        audit.record_decision(decisions, row, row["judgement"])
    again = audit.sample_decisions([store], decisions, per_stratum=3)
    assert not {row_key(row) for row in again} & {row_key(row) for row in rows}


def test_errors_and_kappa_follow_the_decisions(tmp_path):
    store, decisions = tmp_path / "comparisons.jsonl", tmp_path / audit.FILE
    write_store(store, [(f"p{n}", "5", n < 10, "model") for n in range(20)])
    assert audit.cohens_kappa(decisions) is None
    before = audit.tier_errors(decisions)["model"]
    for number, row in enumerate(sorted(files.read_log(store), key=lambda row: row["id"])):
        audit.record_decision(decisions, row, row["judgement"] if number % 4 else not row["judgement"])
    found = audit.tier_errors(decisions)["model"]
    assert (found.decisions, found.errors) == (20, 5)
    assert before.rate < found.rate < 0.25 and found.interval[0] < found.rate < found.interval[1]
    assert audit.cohens_kappa(decisions) == pytest.approx(0.5)  # 15 of 20 agree, 10 of 20 would by chance
    audit.record_decision(decisions, next(files.read_log(store)), True)  # a second thought replaces the first
    assert audit.tier_errors(decisions)["model"].decisions == 20


def test_decision_of_a_person_overrides_every_tier(tmp_path):
    store, decisions = tmp_path / "comparisons.jsonl", tmp_path / audit.FILE
    write_store(store, [("p", "5", False, "numeric"), ("q", "6", True, "model")])
    rows = list(files.read_log(store))
    for row in rows:
        audit.record_decision(decisions, row, not row["judgement"])
    known = Comparisons("another model", "another prompt", "all").read(store).read(decisions)
    assert [decode_verdict(known[row_key(row)]) for row in rows] == [(True, "person"), (False, "person")]


def test_reset_keeps_verdicts_that_were_paid_for_and_decisions(tmp_path):
    folder = tmp_path / "run"
    judged = folder / "math" / "judged"
    (judged / "partial").mkdir(parents=True)
    for path in (judged / "manifest.json", judged / "verdicts.parquet", judged / "partial" / "x"):
        path.write_text("{}")
    write_store(judged / "comparisons.jsonl", [("p", "5", False, "model")])
    write_store(folder / audit.FILE, [("p", "5", True, "person")])
    reset_stages(folder, "math", [info for info in STAGES["math"] if info.name == "judged"])
    assert sorted(path.name for path in judged.iterdir()) == [".lock", "comparisons.jsonl"]
    assert (folder / audit.FILE).exists()


def test_expected_errors_add_up_labels_and_verdicts():
    sure = ExpectedErrors({"a": 1.0, "b": 0.9}, None)
    for _ in range(10):
        sure.add(sure.encode("a", "exact"))
    assert sure.summary(1)["rows"] < 0.02
    for _ in range(10):
        sure.add(sure.encode("b", "exact"))
    summary = sure.summary(2)
    assert summary["rows"] == pytest.approx(1.0, abs=0.02)
    assert summary["low"] == 0.0 and summary["high"] > 4  # ten rows share the fate of one label
    by_model = ExpectedErrors({"a": 1.0}, None)
    by_model.add(by_model.encode("a", "model"))
    assert by_model.summary(1)["rows"] == pytest.approx(1 / 33, abs=0.01)


def test_expected_errors_are_unknown_without_confidence():
    unknown = ExpectedErrors({}, None)
    unknown.add(unknown.encode("a", "exact"))
    assert unknown.summary(1) is None and unknown.of_label("a") == 0
