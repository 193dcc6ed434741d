"""Properties of everything that reads a model's text: any text has one reading, and none ends in an exception."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sdg_helpers import files
from sdg_helpers.answers.extraction import extract_answer, find_answer
from sdg_helpers.answers.options import LETTERS, option_letter, text_key
from sdg_helpers.answers.thinking import CLOSE, OPEN, normalise_reasoning, read_thinking, split_thinking, thinking_shape
from sdg_helpers.decontamination.decontaminate import says_same
from sdg_helpers.genselect.picks import read_pick
from sdg_helpers.judging.extracted_answers import answer_of
from sdg_helpers.judging.judge_replies import read_judgement
from sdg_helpers.science.plan import read_subtopics
from sdg_helpers.science.question_reader import Question, read_question
from sdg_helpers.sft.filters import Filters
from sdg_helpers.solutions.rows import parse_solution, solution_line
from tests.helpers.properties import inputs

TAGS = ["<think>", "</think>", "<thinking>", "</thinking>", "[THINK]", "[/THINK]", "◁think▷", "◁/think▷", "\ufeff"]
WORDS = ["Judgement:", "**", "Yes", "no", "Judgment: [2]", "[1]", "(", '"', "\\boxed{", "}", "4", "\\fbox{x}", "or"]
WORDS += ["Question: What is it really?", "A. x", "B) y", "**C.** z", "Answer: A", "Options:", "1.", "---", "```", " "]
FRAGMENTS = st.sampled_from([*TAGS, *WORDS, "\n", "\n\n", " ", "a", "\u202e", "\0", "½", "é"])
TEXTS = st.one_of(st.lists(FRAGMENTS, max_size=12).map("".join), st.text(max_size=30))
PLAIN = st.text(st.characters(categories=("L", "N", "P", "Zs")), max_size=20).filter(lambda text: "think" not in text)
FILTERS = Filters.parse({"trim_prefix": True, "trim_solutions": True})


@inputs(100)
@given(TEXTS, st.one_of(st.none(), TEXTS))
def test_thinking_is_brought_to_one_form_once(content, reasoning):
    once = normalise_reasoning(content, reasoning)
    assert normalise_reasoning(once) == once


@inputs(200)
@given(st.lists(st.sampled_from(["<think>", "</think>", "think>", "nothink>", "a", "\n"]), max_size=6).map("".join))
def test_the_shape_of_thinking_is_told_by_its_tags(content):
    text = normalise_reasoning(content)
    opened, closed = text.count(OPEN), text.count(CLOSE)
    shape = "unclear"
    if opened == closed == 0:
        shape = "none"
    elif opened == 1 and closed <= 1 and text.startswith(OPEN):
        shape = "closed" if closed else "unclosed"
    assert read_thinking(content, "") == (text, shape) and thinking_shape(text) == shape


@inputs(100)
@given(
    PLAIN.filter(str.strip), PLAIN.filter(str.strip), st.sampled_from([("<thought>", "</thought>"), *[TAGS[:2]] * 2])
)
def test_every_shape_of_one_thinking_part_is_the_same_text(thinking, answer, tags):
    apart = normalise_reasoning(answer, thinking)
    assert split_thinking(apart) == (thinking.strip(), f"\n\n{answer.strip()}") and thinking_shape(apart) == "closed"
    inline = normalise_reasoning(f"{tags[0]}\n{thinking.strip()}\n{tags[1]}\n\n{answer.strip()}")
    assert inline == apart == normalise_reasoning(f"{thinking.strip()}\n</think>\n\n{answer.strip()}")
    assert thinking_shape(normalise_reasoning("", thinking)) == "unclosed"


@inputs(120)
@given(TEXTS, st.sampled_from(["stop", "length", "unknown"]), st.booleans())
def test_an_answer_is_found_in_the_escaped_text_as_in_the_parsed_row(text, finish, reasoning):
    line = solution_line({"id": "p"}, seed=0, generation=text, finish_reason=finish, num_generated_tokens=1)
    found = answer_of(parse_solution(line, Path("f"), 1), reasoning).answer
    assert found == extract_answer(files.parse_row(line, "f", 1), reasoning)
    extracted = find_answer(text)
    assert extracted.answer is None or (extracted.answer.strip() and not extracted.ambiguous)


@inputs(120)
@given(TEXTS, st.booleans())
def test_the_last_line_of_a_reply_is_its_judgement(text, yes):
    assert read_judgement(text) in (True, False, None) and says_same(text) in (True, False, None)
    verdict = f"Judgement: {'Yes' if yes else 'No'}"
    assert read_judgement(f"<think>\n{verdict}\n{text.replace('</think>', '')}") is None
    closed = text.replace("<think>", "") + f"\n\n{verdict}"
    assert read_judgement(closed) is yes


@inputs(120)
@given(TEXTS, st.integers(2, 6))
def test_a_pick_is_one_of_the_solutions(text, count):
    assert read_pick(text, count) in (None, *range(count))


@inputs(60)
@given(st.lists(TEXTS, min_size=2, max_size=5, unique_by=text_key), TEXTS)
def test_an_answer_names_one_option_or_none(options, answer):
    assert option_letter(answer, options) in (None, *LETTERS[: len(options)])
    for letter, option in zip(LETTERS, options, strict=False):
        assert option_letter(f"({letter})", options) == letter
        if len(option) > 1:
            assert option_letter(option, options) in (None, *LETTERS[: len(options)])


@inputs(120)
@given(st.one_of(TEXTS, st.lists(TEXTS, max_size=10).map("\n".join)), st.sampled_from([0, 4]))
def test_a_question_is_read_whole_or_refused_with_a_reason(reply, options):
    found = read_question(reply, options)
    assert isinstance(found, str) or (isinstance(found, Question) and len(found.options) == options and found.text)
    assert all(isinstance(name, str) for name in read_subtopics(reply))


@inputs(100)
@given(TEXTS)
def test_trimming_an_answer_cuts_and_changes_nothing_else(text):
    assert FILTERS.trim(text) in text
