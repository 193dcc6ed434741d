"""Find the answer of a solution, in the shapes that real servers send and in hostile text."""

from pathlib import Path

import pytest

from sdg_helpers import files
from sdg_helpers.answers.extraction import extract_answer, extract_boxed, find_answer, is_finished
from sdg_helpers.answers.no_answer import clean_reference, is_no_answer
from sdg_helpers.answers.options import option_letter
from sdg_helpers.answers.thinking import normalise_reasoning, split_thinking, thinking_shape
from tests.helpers.effort import assert_grows_linearly

CASES = Path(__file__).parent / "data" / "cases"
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
        ("<think>\na  b\n</think>\n\nc", "a b", "<think>\na b\n</think>\n\nc"),  # sent both ways
        ("a b</think>c", "a b", "<think>\na b\n</think>\n\nc"),
        ("<think>b</think>c", "a", "<think>\na\n\nb\n</think>\n\nc"),  # sent half each way
        ("<think>a", "a", "<think>\na"),
        ("the tag </think> ends it", "a", "<think>\na\n</think>\n\nthe tag </think> ends it"),
        ("<think>\n<think>\na</think>b", None, "<think>\na</think>b"),  # the model repeats its template's tag
        ("<think>\n\n</think>\n<think>a</think>b", None, "<think>\na</think>b"),
        ("<think>a</think>\n<think>b</think>c", None, "<think>\na\n\nb</think>c"),
        ("<thought>a</thought>b", None, "<think>a</think>b"),  # Gemini
        ("[THINK]a[/THINK]b", None, "<think>a</think>b"),  # Magistral
        ("see <thought>a</thought>", None, "see <thought>a</thought>"),
    ],
)
def test_every_shape_of_reasoning_becomes_one(content, apart, expected):
    assert normalise_reasoning(content, apart) == expected
    assert normalise_reasoning(expected) == expected, "a second time must change nothing"


@pytest.mark.parametrize(
    "generation, shape",
    [
        ("b", "none"),
        ("<think>a</think>b", "closed"),
        ("<think>a", "unclosed"),
        ("", "none"),
        ("b <think>a</think>", "unclear"),
        ("<think>a</think>b<think>c</think>d", "unclear"),
        ("<think>a</think>b</think>", "unclear"),
        ("<think>a <think> b</think>c", "unclear"),
        ("b</think>", "unclear"),
    ],
)
def test_shape_of_thinking(generation, shape):
    assert thinking_shape(generation) == shape


@pytest.mark.parametrize("text", ["<think>a</think>", "<think>a</think>\n\n<think> ", "<think>a ", "</think>\n"])
def test_many_thinking_parts_are_joined_in_linear_time(text):
    assert_grows_linearly(lambda count: normalise_reasoning(text * count + "b", "a"), 2000)


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
        (r"\boxed{}", None),
        (r"\boxed{7} as asked in \boxed{}", "7"),
        (r"\boxed{...}", None),
        (r"\boxed{\text{your answer}}", None),
        (r"\boxed{\{\}}", r"\{\}"),
        (r"\boxed{\_\_\_}", None),
        (r"\boxed{" + r"\_" * 45 + "x}", r"\_" * 45 + "x"),
        (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed{1 + \boxed{2} + 3}", "2"),
        (r"\boxed{4} and then \boxed{5", None),
        (r"\boxed{5", None),
        ("no box", None),
        ("", None),
        (r"\fbox{3}", "3"),
        (r"\boxed 3", "3"),
        (r"\boxed3.", "3"),
        ("\\boxed\n{42}", "42"),
        (r"\boxed\{42\}", "42"),
        (r"\boxed\frac{1}{2}", r"\frac{1}{2}"),
        (r"use the \boxed command: \boxed{5}", "5"),
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
        (None, "<think>a</think>\\boxed{b}", True, True),
        ("unknown", "<think>a</think>\\boxed{b}", True, True),
        (None, "<think>a</think>\\boxed{b} or \\boxed{c", True, False),
        (None, "<think>a\\boxed{b}", True, False),
        ("eos", "<think>a</think>b", True, True),
        ("eos_token", "b", False, True),
        ("end_turn", "b", False, True),
        ("STOP", "b", False, True),
        ("FINISH_REASON_STOP", "b", False, True),
        ("COMPLETE", "b", False, True),
        ("max_tokens", "b", False, False),
        ("MAX_TOKENS", "b", False, False),
        ("content_filter", "b", False, False),
        ("tool_calls", "b", False, False),
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


def test_a_switch_drops_solutions_without_a_finish_reason():
    row = {"generation": "<think>a</think>" + BOXED}
    assert extract_answer(row) == "7" and extract_answer(row, judge_by_form=False) is None


@pytest.mark.parametrize(
    "text, answer, ambiguous",
    [
        (r"The roots are $\boxed{3}$ and $\boxed{-3}$.", "3, -3", False),
        (r"The roots are \boxed{1}, \boxed{2}, and \boxed{3}.", "1, 2, 3", False),
        (r"$x=\boxed{3}$ and $y=\boxed{4}$", "x=3, y=4", False),
        ("x = \\boxed{3}\ny = \\boxed{4}", "x=3, y=4", False),
        (r"$$\boxed{a=1},\quad\boxed{b=2}$$", "a=1, b=2", False),
        (r"So \boxed{0.5}, that is, \boxed{\frac12}.", r"\frac12", False),
        (r"\boxed{5} apples, so the total is \boxed{12}.", None, True),
        (r"(a) \boxed{3}. (b) \boxed{4}.", None, True),
        (r"The answer is \boxed{41}. I forgot one. The answer is \boxed{42}.", "42", False),
        (r"It is \boxed{41}. Wait, actually \boxed{42}.", "42", False),
        ("We get \\boxed{5} here.\n\n**Final Answer**\n\\boxed{12}", "12", False),
        (r"\boxed{7} \boxed{7}", "7", False),
        ("".join(rf"Step {number}: \boxed{{{number}}}. " for number in range(10_000)), None, True),
        ("plain", None, False),
    ],
)
def test_several_boxes_are_one_answer_or_none(text, answer, ambiguous):
    assert find_answer(text) == (answer, ambiguous)


@pytest.mark.parametrize("row", list(files.read_jsonl(CASES / "model-outputs.jsonl")), ids=lambda row: row["name"])
def test_answers_in_the_outputs_of_models(row):
    generation = normalise_reasoning(row["content"], row["reasoning_content"])
    solution = {"generation": generation, "finish_reason": row["finish_reason"]}
    assert extract_answer(solution, row["reasoning"]) == row["wanted"]


@pytest.mark.parametrize("row", list(files.read_jsonl(CASES / "options.jsonl")))
def test_answers_that_name_an_option(row):
    assert option_letter(row["answer"], row["options"]) == row["wanted"]


@pytest.mark.parametrize(
    "answer", [None, float("nan"), "", " ", "n/a", "N/A", "-", "—", "null", "NaN", "unknown", "?", "...", r"\text{N/A}"]
)
def test_a_reference_may_be_no_answer(answer):
    assert is_no_answer(answer) and clean_reference(answer) == ""


@pytest.mark.parametrize(
    "answer", ["none", "0", "no", "Na", r"\emptyset", r"\{\}", "<", "+", ":", "∞", "no solution", "x"]
)
def test_short_answers_are_answers(answer):
    assert not is_no_answer(answer) and clean_reference(f" {answer}\n") == answer
