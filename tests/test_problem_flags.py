"""Questions about a problem's text are asked once, and verdicts are those of a rule that asks every time."""

import pytest

from sdg_helpers.answers import problem_flags
from sdg_helpers.answers.equality import decide
from sdg_helpers.answers.problem_flags import once_per_problem


def test_a_question_is_asked_once_per_problem(monkeypatch):
    monkeypatch.setattr(problem_flags, "_flags", {})
    asked = []

    @once_per_problem
    def is_long(problem):
        asked.append(problem)
        return len(problem) > 3

    @once_per_problem
    def is_long_and_even(problem):
        return is_long(problem) and len(problem) % 2 == 0

    for _ in range(3):
        for problem, long, even in (
            ("abcd", True, True),
            ("ab", False, False),
            ("abcde", True, False),
            ("", False, False),
        ):
            assert is_long_and_even(problem) is even
            assert is_long(problem) is long
    assert asked == ["abcd", "ab", "abcde", ""]


def test_many_problems_begin_anew(monkeypatch):
    monkeypatch.setattr(problem_flags, "_flags", {})
    monkeypatch.setattr(problem_flags, "_MANY", 10)
    question = once_per_problem(lambda problem: problem.endswith("7"))
    assert [question(str(number)) for number in range(100)] == [number % 10 == 7 for number in range(100)]
    assert len(problem_flags._flags) <= 11


@pytest.mark.parametrize(
    "pair", [("12", "29"), ("5", "5000"), ("0.5", "1/2"), ("1,2", "2,1"), ("3:4", "3/4"), ("7", "84"), ("-3", "3")]
)
def test_a_verdict_does_not_depend_on_the_problems_before(pair, monkeypatch):
    problems = [
        "What is it?", "How many are left?", "Which of the following is it? (A) 12 (B) 29", "What time is it?",
        "What is the ratio of boys to girls?", "Find all solutions.", "Round to the nearest ten.", "¿Cuánto es?", "",
        "How long is the rope?", "What is the temperature?", "Write it as a decimal.",
    ]  # fmt: skip
    alone = []
    for problem in problems:
        monkeypatch.setattr(problem_flags, "_flags", {})
        alone.append(decide(*pair, problem))
    assert [decide(*pair, problem) for problem in problems for _ in range(2)] == [
        one for one in alone for _ in range(2)
    ]
