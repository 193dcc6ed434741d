"""Properties of reading programs and comparing what they print."""

from hypothesis import given
from hypothesis import strategies as st

from sdg_helpers.coding import cpp_programs, python_programs
from sdg_helpers.coding.blocks import fenced_blocks, last_program, longer_programs
from sdg_helpers.coding.outputs import same_output, same_value
from tests.helpers.properties import inputs

PIECES = [
    "```",
    "```python\n",
    "~~~cpp\n",
    "````",
    "\n",
    "    ",
    "> ",
    "- ",
    "print(1)",
    "#define f(x) ",
    'R"x(',
    ')x"',
]
PIECES += [
    "int main() {",
    "}",
    '"',
    "'''",
    "/*",
    "*/",
    "\\\n",
    "#if 0\n",
    "#endif\n",
    "??/",
    "def f():",
    ":",
    "\0",
    "é",
]
PROGRAMS = st.one_of(st.lists(st.sampled_from(PIECES), max_size=15).map("".join), st.text(max_size=40))
NUMBERS = st.sampled_from(
    ["1", "1.0", "01", "-0", "1e3", "1000", "1E400", "nan", "inf", "0x1", "1_0", "٣", "Yes", "yes"]
)
OUTPUTS = st.lists(st.one_of(NUMBERS, st.floats().map(str), st.text(max_size=4)), max_size=5).map(" ".join)
QUESTIONS = st.sampled_from(["", "absolute or relative error at most 1e-6", "any case is accepted", "error 10^{-9}"])
RESULTS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=2)),
    max_leaves=6,
)


@inputs(120)
@given(PROGRAMS, PROGRAMS, st.sampled_from(["python", "cpp"]))
def test_a_fenced_program_is_found_letter_by_letter(before, program, language):
    program = "x = 1\n" + program.replace("`", "").replace("~", "").replace("\r", "") + "\n"
    before = before.replace("`", "").replace("~", "")
    assert last_program(f"{before}\n```{language}\n{program}```\nDone.", language) == (program, "")
    assert last_program(f"{before}\n```{language}\n{program}", language)[1] == "unclosed_block"


@inputs(120)
@given(PROGRAMS, st.sampled_from(["python", "cpp"]))
def test_any_text_has_blocks_of_its_own_lines(text, language):
    program, reason = last_program(text, language)
    assert bool(program) != bool(reason) or any(block.code == program for block in fenced_blocks(text))
    assert len(list(longer_programs(text, language))) <= 20
    assert sum(block.code.count("\n") for block in fenced_blocks(text)) <= text.count("\n") + 1


@inputs(100)
@given(PROGRAMS)
def test_any_program_has_a_flaw_or_none(text):
    for flaw in (python_programs.find_flaw(text), cpp_programs.find_flaw(text), python_programs.find_flaw(text, "f")):
        assert isinstance(flaw, str)


@inputs(120)
@given(OUTPUTS, OUTPUTS, QUESTIONS)
def test_outputs_equal_themselves_and_each_other_both_ways(one, two, question):
    assert same_output(one, one, question) and same_output(one, " \n".join(["", *one.split(), ""]), question)
    if "relative" not in question:  # relative to the expected output
        assert same_output(one, two, question) == same_output(two, one, question)


@inputs(120)
@given(RESULTS, RESULTS, QUESTIONS)
def test_results_of_any_types_are_compared(one, two, question):
    assert same_value(one, two, question) in (True, False)
    assert same_value(one, one, question) or "nan" in repr(one)
    if same_value(one, two) and not isinstance(two, list):
        assert isinstance(one, bool) == isinstance(two, bool)
