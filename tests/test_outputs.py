"""Outputs of programs and results of functions are compared as contest judges do."""

import pytest

from sdg_helpers import files
from sdg_helpers.coding.outputs import OutputRule, read_output_rule, same_output, same_value
from tests.helpers.clone import ROOT
from tests.helpers.effort import assert_grows_linearly

CASES = list(files.read_jsonl(ROOT / "tests" / "data" / "outputs.jsonl"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['printed'][:12]!r} for {case['expected'][:12]!r}")
def test_words_are_compared_with_what_the_question_allows(case):
    assert same_output(case["printed"], case["expected"], case.get("question", "")) is case["same"]


def test_integers_of_any_length_are_compared_exactly():
    long = "1" + 6000 * "0"
    assert same_output(long, long) and not same_output(long, long[:-1] + "1")
    assert not same_output("9" * 5000, "1.5") and not same_output("1.5", "9" * 5000)


def test_the_smallest_tolerance_of_a_question_counts():
    rule = read_output_rule("Errors of 10^-3 may happen. Your answer is right if its relative error is at most 10^-7.")
    assert (str(rule.absolute), str(rule.relative)) == ("0", "1E-7")
    assert read_output_rule("1 <= n <= 10^9. Print n with 6 digits.") == OutputRule()


@pytest.mark.parametrize("part", ["error 10 - ", "print yes ", "10^{ ", "0.0000000", "error in any "])
def test_long_questions_take_linear_time(part):
    assert_grows_linearly(lambda count: read_output_rule(part * count), 5000)


@pytest.mark.parametrize(
    "found, expected, same",
    [
        ([1, 2], [1, 2], True),
        ([1, 2], [2, 1], False),
        (5, [5], True),  # some datasets wrap results
        (1, [1, 2], False),
        (2.0, 2, True),
        (0.1 + 0.2, 0.3, False),
        (True, 1, False),
        ("a", "a", True),
        ({"a": [1]}, {"a": [1]}, True),
        (None, [], False),
        (float("nan"), 1.0, False),
    ],
)
def test_results_are_compared_as_values(found, expected, same):
    assert same_value(found, expected) is same


def test_results_may_differ_by_the_tolerance():
    assert same_value([0.1 + 0.2], [0.3], "An error of 1e-9 is allowed.")
