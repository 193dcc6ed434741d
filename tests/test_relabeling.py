"""Votes: over equal answers, never over empty ones, ties by one rule; each fault of the reference has its test."""

import itertools

import pandas as pd
import pytest

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.relabeling import count_votes, relabel_with_majority
from tests.helpers.effort import assert_grows_linearly
from tests.helpers.stages import stage_at


def relabel(tmp_path, answers, correct=None, expected="7", **options):
    """answers: the predicted answers of one problem by seed; correct: the verdicts (default: all wrong)."""
    folder = tmp_path / "relabeled"
    problems, verdicts = tmp_path / "problems.jsonl", tmp_path / "verdicts.parquet"
    problems.write_bytes(files.dumps({"id": "p", "problem": "x", "expected_answer": expected}))
    pd.DataFrame(
        {
            "id": "p",
            "seed": range(len(answers)),
            "predicted_answer": answers,
            "correct": pd.array(correct or [False] * len(answers), dtype="boolean"),
        }
    ).to_parquet(verdicts)
    manifest = relabel_with_majority(verdicts, problems, stage_at(folder), **options)
    return pd.read_parquet(folder / "labels.parquet").iloc[0].to_dict(), manifest


@pytest.mark.parametrize(
    "answers, label, votes, total",
    [
        (["1", "2", "2", "3"], "2", 2, 4),
        (["1/2", "0.5", "2", "2", "\\frac{1}{2}"], "1/2", 3, 5),  # equal answers vote together (fault 3)
        (["0.5", "1/2", "1/2", "2"], "1/2", 3, 4),  # the most frequent spelling is the label
        ([None, None, "", "9"], "9", 1, 1),  # an empty answer does not vote (fault 3)
        (["5", "4", "4", "5"], "5", 2, 4),  # tie: the lowest seed's (fault 3)
        (["4", "5", "5", "4"], "4", 2, 4),
        (["a", "b", "c", "d"], "a", 1, 4),
    ],
)
def test_votes(tmp_path, answers, label, votes, total):
    row, manifest = relabel(tmp_path, answers)
    assert (row["expected_answer"], row["votes"], row["total"], row["relabeled"]) == (label, votes, total, True)
    assert row["original_expected_answer"] == "7" and row["agreement"] == pytest.approx(votes / total)
    assert manifest["problems"]["relabeled"] == 1


@pytest.mark.parametrize(
    "answers, options, why",
    [
        (["1", "2", "2", "3"], {"min_votes": 3}, "unsolved_too_few_votes"),
        (["1", "2", "2", "3"], {"min_agreement": 0.6}, "unsolved_too_few_votes"),
        ([None, None], {}, "unsolved_without_votes"),
        ([], {}, "unsolved_without_votes"),
        (["7.0", "7", "3"], {}, "unsolved_but_the_majority_is_the_old_answer"),
    ],
)
def test_the_old_answer_stays_and_the_reason_is_counted(tmp_path, answers, options, why):
    row, manifest = relabel(tmp_path, answers, **options)
    assert row["expected_answer"] == "7" and not row["relabeled"]
    assert manifest["problems"][why] == 1


def test_a_solved_problem_is_never_relabeled_but_its_votes_are_told(tmp_path):
    row, manifest = relabel(tmp_path, ["1", "1", "1", "7"], correct=[False, False, False, True])
    assert (row["expected_answer"], row["relabeled"], row["votes"], row["total"]) == ("7", False, 3, 4)
    assert manifest["problems"]["solved"] == 1


@pytest.mark.parametrize(
    "answers, correct, relabeled, why",
    [
        (
            ["7000 m", "1", "1"],
            [None, False, False],
            False,
            "unsolved_but_undecided",
        ),  # 7000 m may be the 7 km asked for
        (["1", "1"], [None, None], False, "unsolved_but_undecided"),
        ([None, "1"], [None, False], True, "relabeled"),
        (["", "1"], [None, False], True, "relabeled"),  # nothing to match
        (["1", "7"], [None, True], False, "solved"),
    ],
)
def test_an_answer_that_nobody_could_judge_keeps_the_label(tmp_path, answers, correct, relabeled, why):
    row, manifest = relabel(tmp_path, answers, correct=correct)
    assert row["relabeled"] == relabeled and row["expected_answer"] == ("1" if relabeled else "7")
    assert {name: count for name, count in manifest["problems"].items() if count} == {why: 1}


def test_a_problem_without_expected_answer_gets_one(tmp_path):
    row, _ = relabel(tmp_path, ["3", "3"], expected="")
    assert row["expected_answer"] == "3" and row["original_expected_answer"] == ""


def test_unequal_numbers_of_solutions_and_any_order_of_rows(tmp_path):
    """Fault 2 of the reference: it aligned seed files by line number and fell over unequal lengths."""
    rows = [(0, 0, "1"), (0, 1, "1"), (0, 2, "2"), (1, 2, "5"), (2, 0, "a"), (2, 1, "b")]
    tables = [
        count_votes(pd.DataFrame(order, columns=["problem", "seed", "predicted_answer"]))
        for order in (rows, rows[::-1])
    ]
    pd.testing.assert_frame_equal(*tables)
    assert tables[0].to_dict("index") == {
        0: {"answer": "1", "votes": 2, "total": 3, "tied": False},
        1: {"answer": "5", "votes": 1, "total": 1, "tied": False},
        2: {"answer": "a", "votes": 1, "total": 2, "tied": True},
    }


def test_verdicts_of_another_run_are_refused(tmp_path):
    problems, verdicts = tmp_path / "problems.jsonl", tmp_path / "verdicts.parquet"
    problems.write_bytes(files.dumps({"id": "a", "problem": "x", "expected_answer": "1"}))
    pd.DataFrame({"id": ["b"], "seed": [0], "predicted_answer": ["1"], "correct": [False]}).to_parquet(verdicts)
    with pytest.raises(SdgError, match="found the id 'b'"):
        relabel_with_majority(verdicts, problems, stage_at(tmp_path / "r"))


@pytest.mark.parametrize("options", [{"min_votes": 0}, {"min_agreement": 1.5}, {"min_agreement": -1}])
def test_bad_limits_are_refused(tmp_path, options):
    with pytest.raises(SdgError, match="expected min_votes"):
        relabel(tmp_path, ["1"], **options)


def test_votes_take_linear_time():
    def count(problems):
        rows = pd.DataFrame(itertools.product(range(problems), range(16)), columns=["problem", "seed"])
        rows["predicted_answer"] = ((rows["problem"] * 31 + rows["seed"] % 3) % 5000).astype("str")
        count_votes(rows)

    count(500)
    assert_grows_linearly(count, 40_000)
