"""Properties that hold for any two answers, hostile text included."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sdg_helpers.answers import choices, differences
from sdg_helpers.answers.boxes import find_boxes
from sdg_helpers.answers.equality import canonical, decide, group_answers
from sdg_helpers.answers.extraction import find_answer
from sdg_helpers.answers.mentions import Mention
from sdg_helpers.answers.spelling import tidy
from sdg_helpers.judging.judge_replies import read_judgement
from sdg_helpers.judging.steering import as_data, steers_judge

COMMANDS = (
    r"\frac \sqrt \text{ \pm \cup \le \in \infty \pi \sin \cdot \times \left( \right) \{ \} \\ \, \! \% \$ \binom"
)
FRAGMENTS = [
    *"0123456789xyabeiCABfn+-*/^_=<>,;:.!|()[]{}$%~' \n",
    *"½√²₁π∞≤∪∅°′−–，（）１∈ℝ\u200b\u2063",
    *COMMANDS.split(),
    *[
        "1,000",
        "0,5",
        "10^{-4}",
        "2 3/4",
        "x=",
        "f(x)=",
        " or ",
        " cm",
        "no solution",
        "(A)",
        "B: ",
        r"\begin{pmatrix}",
    ],
    *[r"\end{pmatrix}", r"\boxed{", r"\mathbf{a}", r"\overline{AB}", "9" * 40, "^{9^{9^{9}}}", "1e99", "]0,5["],
]
LATEX = st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join)
ANSWERS = st.one_of(LATEX, st.text(max_size=30))
SPELLINGS = st.sampled_from(
    ["1/2", "0.5", r"\frac12", "x=0.5", "0.5 cm", "0.5 m", "50%", "1,2", "2,1", "1, 2", r"\{1,2\}", "(1,2)", r"\pm1"]
    + ["1,-1", "x=1,-1", "yes", "Yes", "(A)", "A", "A: one", "B", "x+1", "1+x", "y=x+1", "x-y+1=0", "5", "5.0", "007"]
    + ["7", "3:2", "x>3", r"(3,\infty)", r"3<x", "∅", "none", r"x^2+c", "C+x^2", "2i", r"(1+i)^2", "0,5", "-0,5"]
)
PROBLEMS = st.sampled_from(["", "How many cm?", "Find all x.", "Решите.", "Simplify $x+1$.", "Which? (A) one (B) two"])


@settings(max_examples=400, deadline=None)
@given(ANSWERS, ANSWERS, PROBLEMS)
@example("9^{9^{9^{9}}}", r"\frac{1}{0}", "")
@example("{" * 1000, "}" * 1000, "")
def test_any_two_answers_have_a_verdict(one, two, problem):
    correct, how = decide(one, two, problem)
    assert (correct is None) == (how == "")
    assert decide(one, two) == decide(two, one)
    if decide(one, two)[0]:
        assert decide(one, one) == (True, "exact")
        assert len(group_answers(list(dict.fromkeys([one, two])))) == 1


@settings(max_examples=400, deadline=None)
@given(ANSWERS)
def test_an_answer_equals_itself_and_its_tidy_spelling(answer):
    tidied = tidy(answer)
    assert tidy(tidied) == tidied
    assert isinstance(canonical(answer), str)
    assert decide(answer, answer)[1] in ("exact", "missing")
    if decide(tidied, answer)[1] != "missing":
        assert decide(tidied, answer)[0] is not False


@settings(max_examples=300, deadline=None)
@given(st.lists(SPELLINGS, unique=True, max_size=14), PROBLEMS, st.randoms(use_true_random=False))
def test_groups_are_a_partition_that_no_order_changes(answers, problem, random):
    groups = group_answers(answers, problem)
    assert sorted(itertools.chain(*groups)) == list(range(len(answers)))
    assert groups == sorted(sorted(group) for group in groups)
    shuffled = random.sample(answers, len(answers))
    again = group_answers(shuffled, problem)
    assert {frozenset(answers[index] for index in group) for group in groups} == {
        frozenset(shuffled[index] for index in group) for group in again
    }


@settings(max_examples=300, deadline=None)
@given(st.lists(SPELLINGS, unique=True, min_size=2, max_size=8))
def test_answers_that_vote_together_are_linked_by_equal_ones(answers):
    for group in group_answers(answers):
        linked, rest = {group[0]}, set(group[1:])
        while rest:
            found = {one for one in rest if any(decide(answers[one], answers[other])[0] for other in linked)}
            assert found, [answers[index] for index in group]
            linked, rest = linked | found, rest - found


@settings(max_examples=300, deadline=None)
@given(LATEX, LATEX)
def test_any_text_can_be_searched_for_answers_and_verdicts(one, two):
    boxes, _ = find_boxes(one)
    assert all(box.start < box.begin <= box.end <= len(one) for box in boxes)
    found = find_answer(f"{one} \\boxed{{{two}}}")
    assert not (found.answer and found.ambiguous)
    assert read_judgement(f"{one}\nJudgement: Yes") in (True, None)
    assert isinstance(steers_judge(one, two), bool) and "\n" not in as_data(one)


MENTIONS = {
    name: value
    for module in (choices, differences)
    for name, value in vars(module).items()
    if isinstance(value, Mention)
}
LABELS = [*("1", "2", "a", "b", "A", "B", "II", "I", "2nd", "1st", "First", "Second", "P1", "Q2", "#1", "#2")]
PROBLEMS = st.lists(
    st.sampled_from([*LABELS, *" .:)(-\n;$}*|", "选项", "（", "）", "①", "option ", "What is x? ", "3 + "]), max_size=30
).map("".join)


@pytest.mark.parametrize("name", MENTIONS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_every_match_of_a_mention_contains_one_of_its_words(name, data):
    """Also where letters that are not ASCII match without regard to case: ſ for s, the Kelvin sign for k, ı for i."""
    mention, letters = MENTIONS[name], str.maketrans("ski", "ſ\u212aı")
    text = data.draw(st.from_regex(mention.pattern))
    assert mention.search(text)
    assert mention.search(text.translate(letters)) == bool(mention.pattern.search(text.translate(letters)))


@settings(max_examples=500, deadline=None)
@given(problem=PROBLEMS)
@example(problem="1) red\n2) blue")
@example(problem="(A) red (B) blue")
def test_options_are_those_that_the_whole_expressions_find(problem):
    outside = choices._GROUP.sub("", problem)
    pairs = any(first.search(outside) and second.search(outside) for first, second in choices._PAIRS)
    assert choices.offers_options(problem) == (bool(choices._WORDS.pattern.search(problem)) or pairs)
