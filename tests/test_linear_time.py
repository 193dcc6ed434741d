"""No text makes the package's expressions and parsers take more than linear time.

The measure is the processor's time, compared between 10,000 and 100,000 characters: linear work gives a ratio of 10,
quadratic work one of 100.
"""

import gc
import heapq
import itertools
import random
import re
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from sdg_helpers.answers.choices import offers_options
from sdg_helpers.answers.equality import canonical, decide
from sdg_helpers.answers.extraction import extract_boxed, find_answer
from sdg_helpers.answers.options import option_letter
from sdg_helpers.answers.thinking import normalise_reasoning, split_thinking
from sdg_helpers.coding import cpp_macros, python_programs
from sdg_helpers.coding.blocks import last_program
from sdg_helpers.coding.outputs import read_output_rule, same_output
from sdg_helpers.decontamination.candidates import strip_options
from sdg_helpers.decontamination.decontaminate import says_same
from sdg_helpers.decontamination.near_duplicates import shingles
from sdg_helpers.genselect.picks import read_pick
from sdg_helpers.judging.judge_replies import read_judgement
from sdg_helpers.judging.steering import as_data, steers_judge
from sdg_helpers.science.plan import read_subtopics
from sdg_helpers.science.question_reader import read_question
from sdg_helpers.sft.filters import Filters
from tests.helpers.near_matches import Text, near_matches
from tests.helpers.patterns import Use, package_patterns

SHORT, LONG = 10_000, 100_000
MAX_RATIO, FLOOR_S = 40, 0.01  # the processor's time has steps of that size
TRIM = Filters(trim_prefix=True, trim_solutions=True)

pytestmark = pytest.mark.slow
PARSERS: dict[str, Callable[[str], object]] = {
    "canonical": canonical,
    "decide": lambda text: decide(text, "5"),
    "decide, problem": lambda text: decide("0.5", "1/2", text),
    "offers_options": offers_options,
    "extract_boxed": extract_boxed,
    "find_answer": find_answer,
    "normalise_reasoning": normalise_reasoning,
    "split_thinking": split_thinking,
    "option_letter": lambda text: option_letter(text, ["one", "two"]),
    "last_program": lambda text: last_program(text, "python"),
    "python program": python_programs.find_flaw,
    "c++ macros": cpp_macros.expand_macros,
    "c++ words": lambda text: cpp_macros.words(text) and cpp_macros.is_cut_off(text),
    "c++ rewrites": cpp_macros.rewrite_for_parser,
    "same_output": lambda text: same_output(text, text + "."),
    "read_output_rule": read_output_rule.__wrapped__,
    "strip_options": lambda text: strip_options({"problem": f"x{text}x", "options": ["a"]}),
    "says_same": says_same,
    "shingles": lambda text: list(shingles(text)),
    "read_pick": lambda text: read_pick(f"Judgment: {text}", 4),
    "read_judgement": lambda text: read_judgement(f"Judgement: {text}"),
    "as_data": as_data,
    "steers_judge": lambda text: steers_judge(text, "5"),
    "read_subtopics": read_subtopics,
    "read_question": lambda text: read_question(text, 4),
    "trim": TRIM.trim,
}
FRAGMENTS = [
    *" \n\t*_-.,:;#$()[]{}'\"`~\\/<>&|1aA",
    *["```", "```python\n", "~~~", '"\\', "'\\", "\\boxed{", "\\text{", "\\frac{", "\\(", "\\[", "\\begin{matrix}"],
    *["Judgement: ", "Question: x\n", "\nA. ", "answer: ", "is ", "new ", "case ", "#define f(x) ", "f(", 'R"a(', "/*"],
    *["<think>", "</think>", "import a", ".a", "def f():\n", "f'{a}", "{a}", "\ufdfa", "\u0301", "1,", "x=", " or "],
]


@pytest.fixture(scope="module")
def patterns() -> list[Use]:
    return package_patterns()


def test_every_expression_takes_linear_time(patterns):
    slow = []
    for use in patterns:
        for method in use.methods:
            run = _runner(use.pattern, method)
            slow += [
                f"{use.name}.{method} {text!r}: x {ratio:.0f}" for text, ratio in _slow(run, near_matches(use.pattern))
            ]
    assert slow == []


@pytest.mark.parametrize("name", PARSERS)
def test_every_parser_takes_linear_time(name):
    draw = random.Random(name)
    texts = [Text(head, part, tail) for part in FRAGMENTS for head, tail in (("", ""), ("", "x"), ("```", "`"))]
    texts += [Text("", one + two, "x") for one, two in draw.sample([*itertools.product(FRAGMENTS, repeat=2)], 100)]
    texts += [Text(two, one, two) for one, two in draw.sample([*itertools.product(FRAGMENTS, repeat=2)], 50)]
    assert _slow(PARSERS[name], texts) == []


def test_the_search_finds_expressions_that_backtrack():
    """The patterns that once did: adjacent repetitions, a repetition before the end, one that begins anywhere."""
    for source, method in (
        (r"[ \t]*[ \t]*x", "match"),
        (r"(`{3,})[ \t]*([^`]*)$", "match"),
        (r'"(?:[^"\\]|\\.)*"', "search"),
    ):
        pattern = re.compile(source)
        found = _slow(_runner(pattern, method), near_matches(pattern), short=2500)
        assert found, source


def test_patterns_are_found_in_tables_calls_and_variables(patterns):
    names = {use.name.partition("[")[0] for use in patterns}
    assert {"sdg_helpers.coding.blocks._OPENING", "sdg_helpers.answers.choices._PAIRS"} < names
    assert any(", line " in name for name in names)


def test_a_long_dotted_name_is_refused_before_it_is_parsed():
    assert python_programs.find_flaw("import " + ".".join("a" * 40_000) + "\nprint(input())") == "too_long"
    assert python_programs.find_flaw("from " + ".\\\na" * 20_000 + " import b\nprint(input())") == "too_long"
    assert python_programs.find_flaw("x = f'" + "{a}" * 30_000 + "'\nprint(input())") == "too_long"
    assert python_programs.find_flaw("import os.path\nprint(input())") == ""


def _runner(pattern: re.Pattern[Any], method: str) -> Callable[[str], object]:
    encode = isinstance(pattern.pattern, bytes)
    call = getattr(pattern, method)

    def run(text: str) -> None:
        given: Any = text.encode() if encode else text
        if method == "sub":
            call(b"" if encode else "", given)
        else:
            result = call(given)
            if method == "finditer":
                deque(result, maxlen=0)

    return run


def _slow(run: Callable[[str], object], texts: Iterable[Text], short: int = SHORT) -> list[tuple[Text, float]]:
    """Return a text that takes more than linear time, if any. Only those slowest at a small size are measured."""

    def rank(text: Text) -> float:
        start = time.perf_counter()  # finer than the processor's time, and here nothing depends on a disturbance
        _seconds(run, text.of_length(max(500, short // 10)), 1.0)
        return start - time.perf_counter()

    slowest = heapq.nsmallest(12, texts, key=rank)
    for text in heapq.nsmallest(2, slowest, key=lambda text: max(rank(text) for _ in range(3))):
        ratio = _ratio(run, text, short)
        if ratio > MAX_RATIO:
            return [(text, ratio)]
    return []


def _ratio(run: Callable[[str], object], text: Text, short: int) -> float:
    """Return how many times longer ten times the text takes; the measurement ends soon after MAX_RATIO times."""
    seconds = max(FLOOR_S, min(_seconds(run, text.of_length(short), 1.0) for _ in range(3)))
    if seconds > 20 * FLOOR_S and short == SHORT:  # linear or not: a shorter text tells it sooner
        return _ratio(run, text, SHORT // 10)
    return _seconds(run, text.of_length(LONG // SHORT * short), 1.2 * MAX_RATIO * seconds) / seconds


def _seconds(run: Callable[[str], object], text: str, limit: float) -> float:
    """Return the processor's time of a call, which is interrupted at the limit."""
    previous = signal.signal(signal.SIGVTALRM, _interrupt)
    gc.disable()  # its work grows with all objects that are alive
    signal.setitimer(signal.ITIMER_VIRTUAL, limit)
    start = time.process_time()
    try:
        run(text)
    except TimeoutError:
        return limit
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        gc.enable()
        signal.signal(signal.SIGVTALRM, previous)
    return time.process_time() - start


def _interrupt(*_: object) -> None:
    raise TimeoutError
