"""Where the answer of a solution stands, on shapes that real servers send and on text that wants to harm."""

import pytest

from sdg_helpers.answers.extraction import (
    extract_answer,
    extract_boxed,
    is_finished,
    normalise_reasoning,
    split_thinking,
)
from tests.helpers.effort import assert_grows_linearly

BOXED = r"Thus \boxed{7}."


@pytest.mark.parametrize(
    "content, apart, expected",
    [
        ("<think>\na\n</think>\n\nb", None, "<think>\na\n</think>\n\nb"),
        ("\n\n<think>a</think>b", None, "<think>a</think>b"),
        ("a\n</think>\n\nb", None, "<think>\na\n</think>\n\nb"),  # R1's template has written the tag
        ("b", "a", "<think>\na\n</think>\n\nb"),  # a server with a reasoning parser
        ("\n\nb\n", "\na\n", "<think>\na\n</think>\n\nb"),
        ("</think>\n\nb", "<think>a", "<think>\na\n</think>\n\nb"),
        ("b", "<think>\na\n</think>", "<think>\na\n</think>\n\nb"),
        ("", "cut short", "<think>\ncut short"),  # ended inside the thinking
        (None, "cut short", "<think>\ncut short"),
        ("<think>\ncut short", None, "<think>\ncut short"),
        ("no thinking at all", None, "no thinking at all"),
        ("no thinking at all", "", "no thinking at all"),
        ("  b", None, "  b"),
        (None, None, ""),
        ("a</think>b<think>c", None, "<think>\na</think>b<think>c"),  # the tag after the end does not open it
        ("<think>a</think>b</think>c", None, "<think>a</think>b</think>c"),
    ],
)
def test_every_shape_of_reasoning_becomes_one(content, apart, expected):
    assert normalise_reasoning(content, apart) == expected
    assert normalise_reasoning(expected) == expected, "a second time must change nothing"


def test_fault_13_thinking_that_the_server_moved_apart_comes_back():
    moved = normalise_reasoning("The answer is \\boxed{3}.", "1 + 2 is 3")
    assert extract_answer({"generation": moved, "finish_reason": "stop"}) == "3"
    assert split_thinking(moved) == ("1 + 2 is 3", "\n\nThe answer is \\boxed{3}.")


@pytest.mark.parametrize(
    "generation, expected",
    [
        ("<think>\na\n</think>\n\nb", ("a", "\n\nb")),
        ("<think>a</think>b</think>c", ("a</think>b", "c")),
        ("<think>\nunclosed", ("unclosed", "")),
        ("plain", (None, "plain")),
        ("", (None, "")),
    ],
)
def test_thinking_and_answer_are_split_at_the_last_closing_tag(generation, expected):
    assert split_thinking(generation) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        (r"so \boxed{42}", "42"),
        (r"\boxed{1} or rather \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed {5}", "5"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{[0, 1\}}", r"[0, 1\}"),
        (r"\boxed{\left\{x : x > 0\right\}}", r"\left\{x : x > 0\right\}"),
        (r"\boxed{}", ""),
        (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed{1 + \boxed{2} + 3}", "2"),
        (r"\boxed{4} and then \boxed{5", "4"),
        (r"\boxed{5", None),
        ("no box", None),
        ("", None),
        (r"\fbox{3}", None),
        (r"\boxed 3", None),
        (r"} } \boxed{6} {", "6"),
        (r"\boxed{\text{a } b}", r"\text{a } b"),
        ("\\boxed{1\n+2}", "1\n+2"),
        (r"\boxed{a \\ b}", r"a \\ b"),
        (r"\\boxed{8}", "8"),
        (r"\boxedtext \boxed{9}", "9"),
        (r"\boxed{9} \boxedtext", "9"),
    ],
)
def test_the_last_balanced_box_is_taken(text, expected):
    assert extract_boxed(text) == expected


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (lambda n: r"\boxed{" * n, 150_000),
        (lambda n: "{" * n, 1_000_000),
        (lambda n: "}" * n, 1_000_000),
        (lambda n: r"\boxed{" + "{" * n, 1_000_000),
        (lambda n: "\\" * n, 1_000_001),
        (lambda n: r"\boxed" * n, 170_000),
        (lambda n: (r"\boxed" + " " * 8) * n, 70_000),
        (lambda n: r"\boxed{1}" + r"\boxed{" * n, 150_000),
        (lambda n: r"\boxed{" * n + "}" * n, 75_000),
    ],
)
def test_a_megabyte_of_braces_takes_linear_time(text, size):
    def extract(size):
        assert extract_boxed(text(size)) in (None, "1", "")

    assert_grows_linearly(extract, size)


@pytest.mark.parametrize(
    "finish_reason, generation, reasoning, finished",
    [
        ("stop", "<think>a</think>b", True, True),
        ("length", "<think>a</think>b", True, False),
        ("stop", "<think>a", True, False),
        ("stop", "b", True, False),
        ("stop", "b", False, True),
        ("stop", "<think>a", False, False),
        (None, "<think>a</think>b", True, False),
        ("abort", "b", False, False),
    ],
)
def test_finished_means_stopped_with_closed_thinking(finish_reason, generation, reasoning, finished):
    assert is_finished(finish_reason, generation, reasoning) is finished


@pytest.mark.parametrize(
    "generation, finish_reason, reasoning, expected",
    [
        ("<think>a</think>" + BOXED, "stop", True, "7"),
        ("<think>a</think> \\boxed{ 7 }", "stop", True, "7"),
        ("<think>a</think> \\boxed{ }", "stop", True, None),
        ("<think>a</think> seven", "stop", True, None),
        ("<think>a</think></think>" + BOXED, "stop", True, "7"),
        (BOXED, "stop", False, "7"),
        (BOXED, "stop", True, None),
    ],
)
def test_the_answer_is_the_last_box_after_the_thinking(generation, finish_reason, reasoning, expected):
    assert extract_answer({"generation": generation, "finish_reason": finish_reason}, reasoning) == expected


@pytest.mark.parametrize(
    "generation, finish_reason",
    [
        (f"<think>I guess {BOXED}", "length"),
        (f"<think>I guess {BOXED}", "stop"),
        (f"<think>a</think> maybe {BOXED} but", "length"),
        (f"<think>{BOXED}</think>It is seven.", "stop"),
    ],
)
def test_fault_07_a_guess_in_an_unfinished_trace_or_in_the_thinking_is_no_answer(generation, finish_reason):
    assert extract_answer({"generation": generation, "finish_reason": finish_reason}) is None
