"""The arithmetic that solutions write out: what is false, what is only unusual, and no time lost on hostile text."""

import pytest

from sdg_helpers.answers.arithmetic import wrong_equations
from tests.helpers.effort import assert_grows_linearly


@pytest.mark.parametrize(
    "text, wrong",
    [
        ("The sum is 4 + 8 + 15 = 37.", ["4 + 8 + 15 = 37"]),
        ("(4 + 8 + 15) / 3 = 37 / 3 = 12.33.", ["(4 + 8 + 15) / 3 = 37 / 3"]),
        (r"Thus $3 \times 4 = 13$ and $\frac{6}{2} + 1 = 4$.", ["3  *  4 = 13"]),
        ("2^3 + 1 = 10", ["2^3 + 1 = 10"]),
        ("3 − 5 = 2", ["3 - 5 = 2"]),
        ("1,200 ÷ 4 = 30 boxes", ["1200  /  4 = 30"]),
        ("17 * 3 = 41, no: 17 * 3 = 61", ["17 * 3 = 61"]),
        ("With 4 + 8 = 13, 2 are left; so 7 + 8 = 16, we see", ["7 + 8 = 16"]),
        ("<think>\n2 + 2 = 5\n</think>", ["2 + 2 = 5"]),
        ("It is **7 + 5 = 13**", ["7 + 5 = 13"]),
    ],
)
def test_false_equations_are_found(text, wrong):
    assert wrong_equations(text) == wrong


@pytest.mark.parametrize(
    "text",
    [
        "4 + 8 + 15 = 27",
        "4 + 5 = 10? No, 4 + 5 = 9.",  # corrected
        "37 / 3 = 12.33 and 37 ÷ 3 = 12.3 and 37/3 = 12",  # rounded
        "2000 / 75 = 26.666666666666668",
        "5 + 3 = 8 * 2 = 16",  # the result is taken along
        "100 / 7 = 14 remainder 2, 100 / 7 = 14 R 2",
        "7 + 8 = 3 (mod 12), 7 + 8 = 3 mod 12, $7 + 8 = 3 \\pmod{12}$, 7 + 8 = 3 \\bmod 12",
        "1 + 1 = 10 in binary, 1 + 1 = 10_2, 7 + 1 = 10 base 8",
        "x + 4 + 8 = 20, 2x + 6 - 6 = 12 - 6, 3 + 4 = 7x, (x + 1) * 2 = 6",
        "10% of 50 = 5, 50 * 10% = 5, 5! / 2 = 60, 3 * 2! = 6",
        "2 1/2 + 1 = 3 1/2",
        "7:30 + 2 = 9:30",
        "11 < 30 / 11 = 11",
        "If 1 + 2 = 3, 4 then",
        r"\sqrt{16} + 2 = 6, \sin 30 + 1 = 1.5, f(2) + 1 = 10, a_1 + 2 = 9",
        "520 x (1 + 0.18) = 613.60",
        "<<5*3=16>>",
        "1 / 0 = 3, 9^999999999 = 1, = 5, + = 3, 1 + = 2",
    ],
)
def test_what_is_true_or_cannot_be_read_is_not_held_against_a_solution(text):
    assert wrong_equations(text) == []


@pytest.mark.parametrize(
    "piece", ["1 + 1 = 3, ", "1 + ", "(", "1=", "9", "1,000", "= ", "3 x ", r"\frac{1}{2}", "<<1", "- "]
)
def test_hostile_texts_take_linear_time(piece):
    assert_grows_linearly(lambda size: wrong_equations(piece * (size // len(piece))), 200_000)
