"""Folders of NeMo-Skills that are wrong in any way: a plain error that names the row or the file, never a traceback."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.verdicts import read_verdicts
from sdg_helpers.nemo_skills.foreign_rows import our_solution_line
from sdg_helpers.nemo_skills.importing import import_nemo_skills
from sdg_helpers.nemo_skills.row_checks import check_row
from sdg_helpers.solutions.rows import parse_solution, read_id
from tests.helpers.properties import inputs
from tests.test_nemo_skills import write_their_files

STAGES = ("solutions", "judged", "relabeled", "rejudged")
KEYS = ("id", "problem", "expected_answer", "original_expected_answer", "predicted_answer", "generation", "seed")
KEYS += ("reasoning_content", "finish_reason", "num_generated_tokens", "judgement", "updated_answer_from_r1", "votes")
KEYS += ("total_votes", "label_decision", "label_reason", "label_tied", "label_confidence", "extra")
ANY = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([2**31, 2**63, 2**100, -1, 0.5, 1e300, "", "NaN", "keep", 'a"b', "x\0", "</think>"]),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=5),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    max_leaves=4,
)
CHANGES = st.dictionaries(st.sampled_from(KEYS), ANY, min_size=1, max_size=2)


def row(number, **more):
    answer = str(number + 1)
    return {
        "problem": f"What is {number} + 1?",
        "expected_answer": answer,
        "generation": f"<think>a</think>\\boxed{{{answer}}}",
        "finish_reason": "stop",
        "num_generated_tokens": 5,
        "predicted_answer": answer,
        "judgement": "Judgement: Yes",
        **more,
    }


def import_rows(folder, rows, stages=STAGES):
    for name in stages:
        write_their_files(folder / "in" / name, rows)
    return import_nemo_skills(folder / "in", folder / "run")


@inputs(10)
@given(CHANGES)
def test_any_value_of_any_key_is_imported_or_refused(changes):
    with tempfile.TemporaryDirectory() as folder:
        try:
            assert import_rows(Path(folder), [row(0), row(1, **changes), row(2)])["rejudged"] == 3
        except SdgError as error:
            assert str(Path(folder, "in")) in str(error)


@inputs(100)
@given(CHANGES)
def test_a_row_that_passes_the_checks_becomes_a_row_of_ours(changes):
    try:
        check_row(found := row(1, **{"id": "p", **changes}), Path("f"), 2)
    except SdgError as error:
        assert str(error).startswith("f, row 2: the key ")
        return
    line = our_solution_line({**found, "id": found["id"] or "p"}, 3)
    assert read_id(line) == (found["id"] or "p")
    solution = parse_solution(line, Path("f"), 1)
    assert solution.tokens == (found["num_generated_tokens"] or 0) and solution.value("seed") == 3


@pytest.mark.parametrize(
    "key, value, said",
    [
        ("id", ["a"], "a text that is not empty, not \\['a'\\]"),
        ("generation", 5, "a text, not 5"),
        ("num_generated_tokens", "NaN", "a whole number"),
        ("predicted_answer", {}, "a text or a number"),
        ("finish_reason", 'a","num_generated_tokens":9}', "a text of up to 64 letters, without quotation marks"),
        ("expected_answer", [], "a text or a number"),
        ("votes", 2**31, "a whole number"),
    ],
)
def test_a_wrong_value_is_named_with_row_and_key(tmp_path, key, value, said):
    with pytest.raises(SdgError, match=rf"output-rs0.jsonl, row 2: the key '{key}' must hold {said}"):
        import_rows(tmp_path, [row(0), row(1, **{key: value})])


def test_a_zero_is_an_answer_and_repeated_rows_have_one_verdict(tmp_path):
    rows = [row(0), row(1, predicted_answer=0, expected_answer=2**100), row(0, judgement="Judgement: No")]
    assert import_rows(tmp_path, rows, STAGES[:2])["judged"] == 2
    found = list(read_verdicts(tmp_path / "run" / "math" / "judged" / "verdicts.parquet"))
    assert [(one.predicted_answer, one.expected_answer, one.how) for one in found] == [
        ("1", "1", "exact"),
        ("0", str(2**100), "imported"),
    ]


def test_an_id_with_two_texts_and_an_unknown_problem_are_refused(tmp_path):
    with pytest.raises(SdgError, match="the id 'a' belongs to two problems"):
        import_rows(tmp_path / "a", [row(0, id="a"), row(1, id="a")])
    write_their_files(tmp_path / "b" / "in" / "judged", [row(5)])
    with pytest.raises(SdgError, match=r"judged/output-rs0.jsonl: a row's problem, .* is not in problems.jsonl"):
        import_rows(tmp_path / "b", [row(0)], ["solutions"])
    write_their_files(tmp_path / "c" / "in" / "relabeled", [row(5)])
    with pytest.raises(SdgError, match=r"relabeled/output-rs0.jsonl: a row's problem"):
        import_rows(tmp_path / "c", [row(0)], ["solutions"])


@pytest.mark.parametrize(
    "name", ["problems.jsonl", "sft/README.md", "judged/output-rs0.jsonl", "relabeled", "rejudged/output-rs1.jsonl"]
)
def test_links_out_of_the_folder_are_not_followed(tmp_path, name):
    secret = write_their_files(tmp_path / "elsewhere", [row(0)])
    link = tmp_path / "in" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(secret if name == "relabeled" else secret / "output-rs0.jsonl")
    link.with_name(f"{link.name}.done").touch()
    with pytest.raises(SdgError, match=rf"{name}.*: a link out of the folder, to {secret}"):
        import_rows(tmp_path, [row(0)], ["solutions"])


def test_links_inside_the_folder_are_followed(tmp_path):
    write_their_files(tmp_path / "in" / "solutions", [row(0)])
    (tmp_path / "in" / "problems.jsonl").symlink_to("solutions/output-rs0.jsonl")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert import_nemo_skills(tmp_path / "link", tmp_path / "run")["solutions"] == 1


def test_what_is_no_file_and_a_seed_beyond_reason_are_refused(tmp_path):
    (tmp_path / "a" / "in" / "sft" / "x.jsonl").mkdir(parents=True)
    (tmp_path / "b" / "in" / "sft").mkdir(parents=True)
    os.mkfifo(tmp_path / "b" / "in" / "sft" / "README.md")
    for name in ("a", "b"):
        with pytest.raises(SdgError, match="not a file"):
            import_rows(tmp_path / name, [row(0)], ["solutions"])
    write_their_files(tmp_path / "c" / "in" / "solutions", [row(0)], f"output-rs{10**19}.jsonl")
    write_their_files(tmp_path / "d" / "in" / "solutions", [row(0)], "output-rs٣.jsonl")
    with pytest.raises(SdgError, match="the seed must be at most 999,999,999"):
        import_rows(tmp_path / "c", [row(0)], ["solutions"])
    assert import_rows(tmp_path / "d", [row(0)], ["solutions"])["solutions"] == 1


def test_a_dangling_link_is_named(tmp_path):
    (tmp_path / "in" / "sft").mkdir(parents=True)
    (tmp_path / "in" / "sft" / "README.md").symlink_to("nowhere")
    with pytest.raises(SdgError, match=r"README.md: cannot be read"):
        import_rows(tmp_path, [row(0)], ["solutions"])
    assert files.read_json(tmp_path / "run" / "math" / "sft" / "manifest.json") is None
