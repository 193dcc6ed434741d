"""Rows of users' files in every format, with their places, their numbers as written, and bad rows named."""

import bz2
import datetime
import decimal
import gzip
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from sdg_helpers.errors import SdgError
from sdg_helpers.row_files.reading import read_rows
from sdg_helpers.row_files.values import BadRow, Number, unmarked

ROW = {"problem": "A?", "answer": "4"}


def rows_of(tmp_path, name, data):
    (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return list(read_rows(tmp_path / name))


@pytest.mark.parametrize(
    "name, data, place",
    [
        ("a.jsonl", json.dumps(ROW), "line 1"),
        ("a.ndjson", "\ufeff\n" + json.dumps(ROW) + "\r\n", "line 2"),
        ("a.JSONL.gz", gzip.compress(json.dumps(ROW).encode(), mtime=0), "line 1"),
        ("a.json", json.dumps([ROW], indent=1), "row 1"),
        ("a.json", "\ufeff \n[" + json.dumps(ROW) + "]", "row 1"),
        ("a.json", json.dumps({"version": 1, "data": [ROW]}), "row 1"),
        ("a.json", json.dumps({"items": [ROW]}, indent=1), "row 1"),
        ("a.csv", "problem,answer\nA?,4\n", "line 2"),
        ("a.csv", "\ufeffproblem;answer\r\n\r\nA?;4\r\n", "line 3"),
        ("a.csv", "problem,answer\nA?,4".encode("utf-16"), "line 2"),
        ("a.tsv", "problem\tanswer\nA?\t4\n", "line 2"),
        ("a.csv", "problem|answer\nA?|4\n", "line 2"),
        ("a.csv", "\n \nproblem , answer,\nA?,4,\n", "line 4"),
        ("a.csv", "sep=;\r\nproblem;answer\r\nA?;4\r\n", "line 3"),
        ("a.csv", '"problem","answer"\n"A?","4"\n', "line 2"),
        ("a.jsonl", json.dumps([ROW], indent=1), "row 1"),
        ("a.jsonl", json.dumps([ROW]), "row 1"),
        ("a.json", json.dumps({"notes": ["x"], "items": [ROW]}), "row 1"),
        ("a.jsonl.bz2", bz2.compress(json.dumps(ROW).encode()), "line 1"),
        ("a.csv.xz", lzma.compress(b"problem,answer\nA?,4"), "line 2"),
        ("a.jsonl.zst", pa.Codec("zstd").compress(json.dumps(ROW).encode(), asbytes=True), "line 1"),
        ("a.jsonl", gzip.compress(json.dumps(ROW).encode(), mtime=0), "line 1"),
        ("a.jsonl.gz", json.dumps(ROW), "line 1"),
    ],
)
def test_text_formats(tmp_path, name, data, place):
    assert rows_of(tmp_path, name, data) == [(place, ROW)]


def test_json_lines_may_be_named_json(tmp_path):
    lines = json.dumps(ROW) + "\n" + json.dumps(ROW) + "\nx\n"
    found = rows_of(tmp_path, "a.json", lines)
    assert [place for place, _ in found] == ["line 1", "line 2", "line 3"] and isinstance(found[2][1], BadRow)


def test_a_long_list_is_read_item_by_item(tmp_path):
    items = [{"n": number, "text": "x" * (3 << 20 if number == 1 else 10)} for number in range(4)]
    found = rows_of(tmp_path, "a.json", json.dumps([*items, 5]))
    assert [row["n"] for _, row in found[:4]] == list("0123") and isinstance(found[4][1], BadRow)


def test_numbers_stay_as_they_are_written(tmp_path):
    text = '{"a": 2.50, "b": 12345678901234567890123, "c": 1E5, "d": [7], "e": true, "f": NaN}'
    [(_, row)] = rows_of(tmp_path, "a.jsonl", text)
    assert row == {"a": "2.50", "b": "12345678901234567890123", "c": "1E5", "d": ["7"], "e": True, "f": None}
    assert isinstance(row["a"], Number)
    assert unmarked(row) == {**row, "a": 2.5, "b": 12345678901234567890123, "c": 100000.0, "d": [7]}


@pytest.mark.parametrize("text", ["1e400", "-1e400", "1" * 4301])
def test_a_number_that_cannot_be_kept_is_refused(text):
    with pytest.raises(ValueError, match=r"too large for a float|4,301 digits"):
        unmarked([Number(text)])


@pytest.mark.parametrize(
    "name, data, reason",
    [
        ("a.jsonl", b'{"a": 1', "invalid JSON"),
        ("a.jsonl", b"[1]", "not a JSON object"),
        ("a.jsonl", b'{"a": "caf\xe9"}', "not UTF-8"),
        ("a.jsonl", b"[" * 200_000, "invalid JSON"),
        ("a.jsonl", b'{"a": ' + b"[" * 250 + b"]" * 250 + b"}", "nested more than 250 levels deep"),
        ("a.jsonl", bytes(4096), "NUL bytes, as a power cut leaves them"),
        ("a.jsonl", '{"a": 1}'.encode("utf-16-le"), "NUL bytes"),
        ("a.jsonl", rb'{"a": "\uD83D"}', "a lone surrogate"),
        ("a.csv", b"a,b\n1,x\0", "NUL bytes"),
        ("a.csv", b"a,b\n1,caf\xe9", "not UTF-8"),
        ("a.csv", b"a,b\n1,2,3", "3 cells, but the header has 2"),
        ("a.csv", b"a,b\n1", "1 cells, but the header has 2"),
        ("a.csv", b'a,b\n"1,2\n3,4\n"x"y,4', "',' expected after '\"', in a row of 3 lines"),
    ],
)
def test_a_bad_row_has_its_reason_and_the_next_one_is_read(tmp_path, name, data, reason):
    good = b'{"a": 1}' if name == "a.jsonl" else b"5,6"
    found = rows_of(tmp_path, name, data + b"\n" + good + b"\n")
    assert found[0][1].reason.startswith(reason) and isinstance(found[1][1], dict)


def test_tables_give_json_values(tmp_path):
    table = pa.table(
        {
            "problem": ["A?", "B?"],
            "real": [2.5, float("nan")],
            "small": [0.00001, 1e300],
            "exact": [decimal.Decimal("2.50"), None],
            "whole": [7, None],
            "day": [datetime.date(2024, 1, 2)] * 2,
            "image": [b"x", b"y"],
            "picture": [{"bytes": b"x", "path": "p"}] * 2,
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as out, pa.ipc.new_stream(out, table.schema) as stream:
        stream.write_table(table)
    with pa.OSFile(str(tmp_path / "b.arrow"), "wb") as out, pa.ipc.new_file(out, table.schema) as file:
        file.write_table(table)
    wanted = [
        ("row 1", {"real": "2.5", "small": "0.00001", "exact": "2.50", "whole": 7}),
        ("row 2", {"real": None, "small": "1e+300", "exact": None, "whole": None}),
    ]
    wanted = [
        (place, {"problem": text, **row, "day": "2024-01-02"})
        for (place, row), text in zip(wanted, ("A?", "B?"), strict=True)
    ]
    for name in ("a.parquet", "a.arrow", "b.arrow"):
        assert list(read_rows(tmp_path / name)) == wanted


@pytest.mark.parametrize(
    "name, data, said",
    [
        ("a.txt", "x", "must be one of .jsonl, .json, .csv, .tsv, .parquet, .arrow, not .txt"),
        ("a", "x", "not without a suffix"),
        ("a.json", '[{"a": 1}, {"a"', "a.json: cannot be read as .json .*the list ends early"),
        ("a.json", "[" * 200_000, "cannot be read as .json"),
        ("a.json", b'{"data": [{"a": "caf' + b'\xe9"}]}', "a.json: cannot be read as .json .*not UTF-8"),
        ("a.csv", b"caf\xe9,b\n1,2", "a.csv: cannot be read as .csv .*its header: not UTF-8"),
        ("a.csv", "problem\n\ud800".encode("utf-16", "surrogatepass"), "a.csv: cannot be read as .csv"),
        ("a.json", '{"a": 1}', "expected a list of objects, or an object with such a list"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}', mtime=0)[:-4], "a.jsonl.gz: cannot be read as .jsonl .*EOFError"),
        ("a.jsonl.bz2", bz2.compress(b'{"a": 1}')[:-4], "cannot be read as .jsonl .*EOFError"),
        ("a.jsonl.xz", lzma.compress(b'{"a": 1}')[:-4], "cannot be read as .jsonl .*EOFError"),
        ("a.jsonl", b"PAR1\x15\x04", "by its first bytes it is a Parquet file"),
        ("a.csv", b"PK\x03\x04rest", "by its first bytes it is a zip archive or a spreadsheet"),
        ("a.json", '[{"a": 1}]\n[{"a": 2}]', "text after the end of the list"),
        ("a.jsonl", '[{"a": 1}]\n{"a": 2}', "text after the end of the list"),
        ("a.json", '{"train": [{"a": 1}], "test": [{"a": 2}]}', "has several lists of objects: train, test"),
        ("a.csv", "a,b,a\n1,2,3\n", "its header has the column 'a' twice"),
        ("a.csv", 'a,b\n1,2\n"x,3\n4,5\n', "line 3: a quote is opened and never closed"),
        ("a.parquet", "no", "cannot be read as .parquet"),
        ("a.arrow", "no", "cannot be read as .arrow"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, data, said):
    with pytest.raises(SdgError, match=said):
        rows_of(tmp_path, name, data)


def test_narrow_floats_have_the_digits_that_they_were_written_with(tmp_path):
    narrow = pa.float32()
    table = pa.table(
        {
            "a": pa.array([0.1, None, 3e-5, float("nan")], narrow),
            "list": pa.array([[0.1, 2.5], None, [], [None]], pa.list_(narrow)),
            "object": pa.array(
                [{"x": 0.1, "y": "b"}, None, {}, {"x": 7}], pa.struct([("x", narrow), ("y", pa.string())])
            ),
            "half": pa.array([0.1, None, 1, 2], pa.float16()),
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    rows = [row for _, row in read_rows(tmp_path / "a.parquet")]
    assert [row["a"] for row in rows] == ["0.1", None, "0.00003", None]
    assert [row["list"] for row in rows] == [["0.1", "2.5"], None, [], [None]]
    assert [row["object"] for row in rows] == [
        {"x": "0.1", "y": "b"},
        None,
        {"x": None, "y": None},
        {"x": "7.0", "y": None},
    ]
    assert [row["half"] for row in rows] == ["0.1", None, "1.0", "2.0"]


def test_a_table_with_a_repeated_column_is_refused(tmp_path):
    table = pa.table([[1], [2]], names=["a", "a"])
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as out, pa.ipc.new_file(out, table.schema) as file:
        file.write_table(table)
    with pytest.raises(SdgError, match="it has the column 'a' twice"):
        list(read_rows(tmp_path / "a.arrow"))
