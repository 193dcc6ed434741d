"""A person checks the judge: stratified samples, error rates per tier, and decisions that override every tier."""

import pandas as pd
import pytest

from sdg_helpers import files
from sdg_helpers.audit import labels as audit_labels
from sdg_helpers.audit import session
from sdg_helpers.audit import verdicts as audit
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.comparisons import Comparisons, decode_verdict, row_key, row_of
from sdg_helpers.runs.reset import reset_stages
from sdg_helpers.runs.run import Track
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


def labels_of(*rows):
    """rows: (id, label in use, reference, decision) each."""
    table = pd.DataFrame(rows, columns=["id", "expected_answer", "original_expected_answer", "decision"])
    return table.assign(reason="majority", confidence=0.95)


def test_decisions_on_labels_override_the_votes(tmp_path):
    decisions, table = tmp_path / audit_labels.FILE, labels_of(
        ("good", "3", "4", "relabel"), ("bad", "5", "6", "relabel"), ("kept", "7", "7", "keep"),
        ("open", "8", "8", "undecided"), ("other", "9", "1", "relabel"),
    )  # fmt: skip
    rows = {row["id"]: row for row in table.to_dict("records")}
    audit_labels.record_label(decisions, rows["good"], True)
    audit_labels.record_label(decisions, rows["bad"], True)
    audit_labels.record_label(decisions, rows["bad"], False)  # a second thought replaces the first
    audit_labels.record_label(decisions, {**rows["kept"], "expected_answer": "7.0"}, False)
    audit_labels.record_label(decisions, rows["open"], True)
    audit_labels.record_label(decisions, {**rows["other"], "id": "of another run"}, True)
    assert audit_labels.count_errors(decisions) == (3, 1, pytest.approx(0.15))
    changed = audit_labels.apply_decisions(table, decisions)
    assert changed == {"corrected": 1, "rejected": 2, "confirmed": 1}
    assert table[["id", "expected_answer", "decision", "reason"]].values.tolist() == [
        ["good", "3", "relabel", "corrected"],
        ["bad", "6", "undecided", "rejected"],
        ["kept", "7", "undecided", "rejected"],
        ["open", "8", "keep", "confirmed"],
        ["other", "9", "relabel", "majority"],
    ]
    assert table["confidence"].tolist() == [1.0, 0.95, 0.95, 1.0, 0.95]


def test_a_choice_among_all_answers_replaces_an_earlier_one(tmp_path):
    decisions = tmp_path / audit_labels.FILE
    new = audit_labels.Case("new", "4", "3", "relabel", "majority", 0.95)
    open_ = audit_labels.Case("open", "8", "8", "undecided", "unsure", 0.6)
    audit_labels.record_choice(decisions, new, "3.0")  # the label in use, written in another way
    assert [(row["label"], row["right"]) for row in files.read_log(decisions)] == [("3.0", True)]
    audit_labels.record_choice(decisions, new, "4")
    audit_labels.record_choice(decisions, open_, "9")
    audit_labels.record_choice(decisions, open_, "10")
    assert audit_labels.right_labels(decisions) == {"new": "4", "open": "10"}
    assert audit_labels.count_errors(decisions)[:2] == (1, 1)
    table = labels_of(("new", "3", "4", "relabel"), ("open", "8", "8", "undecided"))
    audit_labels.apply_decisions(table, decisions)
    assert table[["expected_answer", "reason"]].values.tolist() == [["4", "confirmed"], ["10", "corrected"]]
    audit_labels.record_choice(decisions, open_, None)
    audit_labels.record_choice(decisions, new, None)
    assert audit_labels.right_labels(decisions) == {"new": None, "open": None}
    table = labels_of(("new", "3", "4", "relabel"), ("open", "8", "8", "undecided"))
    audit_labels.apply_decisions(table, decisions)
    assert table["decision"].tolist() == ["undecided", "undecided"]


def judged_run(folder):
    """A run with two decided comparisons and one new label."""
    track = Track(folder / "math", "math")
    for stage in (track.problems, track.judged, track.relabeled):
        stage.mkdir(parents=True)
    hostile = "<b>\x1b[2J" + "x" * 900
    (track.problems / "problems.jsonl").write_bytes(
        b"".join(files.dumps({"id": name, "problem": hostile}) for name in "ab")
    )
    write_store(track.judged / "comparisons.jsonl", [("a", "5", False, "model"), ("b", "7.", True, "numeric")])
    labels_of(("a", "5", "7", "relabel"), ("b", "7", "7", "keep")).to_parquet(track.relabeled / "labels.parquet")
    return folder


def test_session_asks_each_question_once_and_keeps_what_was_decided(tmp_path, capsys):
    run, keys, prompts = judged_run(tmp_path / "run"), iter(["x", "y", "s", "n"]), []

    def press(prompt):
        prompts.append(prompt)
        return next(keys)

    session.check_sample(run, 5, read=press)
    shown = capsys.readouterr().out
    assert "3 decisions to look at" in shown and len(prompts) == 4 and "\x1b" not in shown and "x" * 700 not in shown
    session.check_sample(run, 5, read=lambda prompt: "q")
    assert "1 decisions to look at" in capsys.readouterr().out  # the skipped one
    rows = session.summarize(run)
    assert [(row["checked"], row["wrong"]) for row in rows][-1] == (1, 1) and rows[-1]["decided by"] == "new label"
    assert "100.0% (expected: 5.0%)" in rows[-1]["error rate"]


@pytest.mark.parametrize("error", [EOFError, NotImplementedError])
def test_session_without_a_person_says_where_to_ask(tmp_path, capsys, error):
    def nobody(prompt):
        raise error

    run = judged_run(tmp_path / "run")
    session.check_sample(run, 5, read=nobody)
    assert "run this cell in JupyterLab" in capsys.readouterr().out and session.summarize(run) == []


def test_session_before_judging_says_what_to_run(tmp_path):
    with pytest.raises(SdgError, match="nothing has been judged yet. Run notebook math/04 first"):
        session.check_sample(tmp_path / "run")
