"""Real pairs of answers by kind: each row of tests/data/cases is one case."""

from pathlib import Path

import pytest

from sdg_helpers import files
from sdg_helpers.answers.equality import canonical, decide, group_answers

CASES = Path(__file__).parent / "data" / "cases"

# A label that says "equal" or "different", where no rule can be certain.
LEFT_TO_THE_MODEL = {
    ("(2,5)", "(5,2)"),
    ("10^{-4}", "10^{-5}"),
    ("(3,000)", "(3,0)"),
    ("1,200", "1, 200"),
    (r"2\frac{3}{4}", r"\frac{3}{2}"),
    ("2,75", "(2,75)"),
    (r"\frac{1}{2^{99}}", r"\frac{1}{2^{98}}"),
    ("n=2,3,4", "n=1,2,3"),
    (r"1-\frac{1}{\mathrm{e}}", r"1+\frac{1}{\mathrm{e}}"),
    ("n=3k", "3"),
    ("f'(x)", "f(x)"),
    (r"\hat{x}", "x"),
    ("4^{1.5}=8", "2^3=8"),
}


def rows(*names):
    return [
        pytest.param(row, id=f"{name}-{number}")
        for name in names
        for number, row in enumerate(files.read_jsonl(CASES / f"{name}.jsonl"), 1)
    ]


@pytest.mark.parametrize("row", rows("typography", "tracker-cases"))
def test_spelling_costs_no_call_and_no_verdict_is_wrong(row):
    correct, how = decide(row["predicted"], row["expected"], row["problem"])
    if (row["predicted"], row["expected"]) in LEFT_TO_THE_MODEL:
        assert (correct, how) == (None, "") and not row["label"]
    else:
        assert correct is row["label"] and how in ("exact", "numeric", "symbolic")


@pytest.mark.parametrize("row", rows("wrong-verdicts", "form-demands", "numbered-choices", "rounding", "units"))
def test_doubt_goes_to_the_model(row):
    assert row["wanted"] == "ask"
    assert decide(row["predicted"], row["expected"], row["problem"]) == (None, "")


@pytest.mark.parametrize("row", rows("voting-groups"))
@pytest.mark.parametrize("step", [1, -1])
def test_equal_answers_vote_together(row, step):
    spellings = [answer for group in row["groups"] for answer in group][::step]
    found = [{spellings[index] for index in group} for group in group_answers(spellings)]
    assert sorted(map(sorted, found)) == sorted(map(sorted, row["groups"]))
    assert len({canonical(answer) for answer in spellings}) >= len(row["groups"])


@pytest.mark.parametrize("row", rows("more-equal"))
def test_more_spellings_cost_no_call(row):
    assert decide(row["predicted"], row["expected"], row["problem"])[0] is True
    assert decide(row["expected"], row["predicted"], row["problem"])[0] is True


@pytest.mark.parametrize("row", rows("more-unequal"))
def test_more_answers_are_not_equal(row):
    assert decide(row["predicted"], row["expected"], row["problem"])[0] is not True
    assert decide(row["expected"], row["predicted"], row["problem"])[0] is not True


@pytest.mark.parametrize("row", rows("more-doubt"))
def test_more_doubt_goes_to_the_model(row):
    assert decide(row["predicted"], row["expected"], row["problem"]) == (None, "")
