"""JSON with integers of any size: kept exactly or refused with file and line, never a float, never a traceback."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdg_helpers import exact_json, files
from sdg_helpers.errors import SdgError, UnreadableRow
from sdg_helpers.problems.download import download_problems
from sdg_helpers.sft.columns import Columns, convert
from sdg_helpers.solutions.rows import copy_line, parse_solution
from tests.helpers.properties import inputs
from tests.helpers.stages import stage_at
from tests.test_sft import export, write_stages

BIG = 2**100
ROW = b'{"problem": "What is 2^100?", "expected_answer": 1267650600228229401496703205376}'
INTEGERS = st.one_of(
    st.integers(), st.integers(0, 4299).map(lambda power: -(10**power)), st.integers().map(BIG.__add__)
)
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), INTEGERS, st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=10,
)


def same(one, other):
    """Equal, and of the same types: 1 is not 1.0."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@inputs(100)
@given(VALUES)
def test_what_is_written_is_read_back_exactly(value):
    line = files.dumps({"a": value})
    assert same(files.parse_row(line, "f", 1), {"a": value}) and same(json.loads(line), {"a": value})


@inputs(100)
@given(VALUES)
def test_other_writers_are_read_as_the_standard_library_reads_them(value):
    line = json.dumps({"a": value}).encode()
    assert same(exact_json.loads(line), json.loads(line))


@inputs(100)
@given(st.one_of(st.binary(max_size=60), VALUES.map(lambda value: json.dumps(value).encode("utf-16"))))
def test_any_line_is_a_row_or_refused_with_its_place(line):
    try:
        assert isinstance(files.parse_row(line, "f.jsonl", 7), dict)
    except UnreadableRow as error:
        assert str(error).startswith("f.jsonl, line 7: ")


@pytest.mark.parametrize(
    "text",
    [b"18446744073709551615", b"18446744073709551616", b"-9223372036854775809", b"1" * 400, b"[1e25,%d]" % 2**64],
)
def test_integers_of_any_size_keep_their_digits(text):
    value = exact_json.loads(text)
    assert value == json.loads(text) and (type(value) is int or type(value[1]) is int)
    assert exact_json.loads(exact_json.dumps(value)) == value


@pytest.mark.parametrize(
    "line, said",
    [
        (b'{"a": 1e400}', "invalid JSON"),
        (b'{"a": [1e400, %s]}' % (b"1" * 400), "too large for a float"),
        (b'{"a": %s}' % (b"1" * 4301), "4,301 digits"),
        (b'{"a": NaN, "b": %s}' % (b"1" * 400), "NaN is not JSON"),
        (b'{"a": "\\ud800", "b": %s}' % (b"1" * 400), "surrogate"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"a": %s%s}' % (b"[" * 250, b"]" * 250), "nested more than 250 levels deep"),
        (b'{"a": %s%s%s}' % (b"[" * 250, b"1" * 30, b"]" * 250), "nested more than 250 levels deep"),
        (b'{"b": %s, "a": %s%s}' % (b"1" * 30, b"[" * 250, b"]" * 250), "nested more than 250 levels deep"),
        (b"[" * 100_000 + b"1" * 400, "nested more than 250 levels deep"),
        ('{"a": "é"}'.encode("latin-1"), "not UTF-8 at byte 7; convert"),
        ('{"a": 1}'.encode("utf-16"), "UTF-16 text; convert the file with `iconv -f UTF-16"),
        ('{"a": 1}'.encode("utf-16-le"), "UTF-16 text"),
        (bytes(4096), "4,096 NUL bytes, as a power cut"),
        (b'{"a": "\0\0\0"}', "3 NUL bytes"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_file_and_line(tmp_path, line, said):
    path = tmp_path / "f.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b"\n")
    with pytest.raises(UnreadableRow, match=r"f\.jsonl, line 2: .*" + said):
        list(files.read_jsonl(path))
    (tmp_path / "f.json").write_bytes(line)
    with pytest.raises(SdgError, match=r"f\.json: .*" + said):
        files.read_json(tmp_path / "f.json")


def test_a_byte_order_mark_is_ignored(tmp_path):
    (tmp_path / "f.jsonl").write_bytes(b"\xef\xbb\xbf" + ROW + b"\n" + ROW + b"\n")
    assert [row["expected_answer"] for row in files.read_jsonl(tmp_path / "f.jsonl")] == [BIG, BIG]


def test_depth_at_the_limit_can_be_written_again():
    line = b'{"a": %s%d%s}' % (b"[" * 249, BIG, b"]" * 249)
    assert files.dumps(files.parse_row(line, "f", 1)) == line.replace(b" ", b"") + b"\n"
    value = []
    for _ in range(300):
        value = [value]
    with pytest.raises(SdgError, match="nested more than 250 levels deep"):
        files.dumps({"a": value})


def test_a_slow_pass_writes_what_orjson_writes():
    plain = {"a": [1e16, 0.1, None, True, ("é", -0.0)], "b": {"c": float("inf")}}
    assert files.dumps({**plain, "big": BIG}) == orjson.dumps(plain)[:-1] + b',"big":%d}\n' % BIG
    with pytest.raises(TypeError, match="set"):
        files.dumps({"a": {1}})


def test_exported_columns_keep_long_integers():
    columns = Columns()
    for value in (2**53 + 1, 0.5):
        columns.observe("mixed", value)
    for value in (7, 2**53 + 1):
        columns.observe("whole", value)
    columns.observe("huge", BIG)
    keys = ("mixed", "whole", "huge")
    assert [str(kind) for kind in columns.types(keys).values()] == ["string", "int64", "string"]
    line = files.dumps({"mixed": 2**53 + 1, "whole": 2**53 + 1, "huge": BIG})
    wanted = {"mixed": str(2**53 + 1), "whole": 2**53 + 1, "huge": str(BIG)}
    assert files.parse_row(convert(line, columns.converters(keys)), "f", 1) == wanted


def test_long_integers_keep_their_digits_from_the_source_to_the_export(tmp_path):
    row = {"problem": "What is 2^100?", "expected_answer": BIG, "number": -BIG, "nested": [{"n": BIG}]}
    (tmp_path / "own.jsonl").write_text(json.dumps(row) + "\n")
    download_problems(stage_at(tmp_path / "problems"), source=str(tmp_path / "own.jsonl"))
    [problem] = files.read_jsonl(tmp_path / "problems" / "problems.jsonl")
    assert {key: problem[key] for key in row} == {**row, "expected_answer": str(BIG)}
    stages = write_stages(tmp_path, [(f"<think>\nDoubling.\n</think>\n\n\\boxed{{{BIG}}}", "stop", True)], problem)
    [path] = (tmp_path / "solutions").glob("*.jsonl")
    solution = parse_solution(path.read_bytes(), path, 1)
    assert files.parse_row(copy_line(solution, solution.keys, {"n": BIG}), path, 1)["n"] == BIG
    export(stages, tmp_path / "sft", extra_keys=("number", "nested"), parquet=True)
    [exported] = files.read_jsonl(tmp_path / "sft" / "sft-data-math.jsonl")
    assert exported["expected_answer"] == str(BIG) and exported["number"] == str(-BIG)
    assert json.loads(exported["nested"]) == [{"n": BIG}]
