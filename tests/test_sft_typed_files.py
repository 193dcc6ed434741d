"""Types: the same from a file's first row to its last, in JSONL and Parquet, with the card and without."""

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import Features, Value

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.sft.columns import Columns, convert, features, schema
from sdg_helpers.sft.forms import FORMS
from sdg_helpers.sft.parquet_files import write_parquet
from tests.helpers.loading import assert_loads_alike, load
from tests.helpers.stages import write_manifest
from tests.test_sft import ANSWER, PROBLEM, export, rows_in, write_stages

EXTRA = ("problem_source", "when", "note", "level", "tags", "score", "meta", "solved")


def write_varied(folder, rows=40):
    """Stages whose rows have dates for answers, and keys of every kind, some of them rare or mixed."""
    texts = [(f"<think>\n{number}\n</think>\n\n{ANSWER}", "stop", True) for number in range(rows)]
    stages = write_stages(folder, texts, problem={**PROBLEM, "expected_answer": "2024-01-02"})
    for number, path in enumerate(sorted((folder / "solutions").glob("*.jsonl"))):
        row = next(files.read_jsonl(path))
        more = {
            "when": "2024-01-01" if number else "yesterday",
            "note": "rare" if number == 7 else None,
            "level": number if number % 2 else "hard",
            "tags": ["a", "b"][: number % 3],
            "score": number if number % 2 else number + 0.5,
            "meta": {"a": number},
            "solved": number % 2 == 0,
        }
        path.write_bytes(files.dumps({"id": row.pop("id"), **more, **row}))
    write_manifest(folder / "solutions")
    return stages


def test_every_config_loads_with_its_types_even_where_dates_need_parquet(tmp_path):
    stages = write_varied(tmp_path)
    (tmp_path / "problems.jsonl").write_bytes(files.dumps(PROBLEM))
    folder = tmp_path / "sft"
    export(stages, folder, forms=tuple(FORMS), extra_keys=EXTRA, rl_problems=tmp_path / "problems.jsonl")
    for where in (folder, folder / "parquet"):
        card = yaml.safe_load((where / "README.md").read_text().split("---")[1])
        names = [one["config_name"] for one in card["configs"]]
        assert names == [*(form.config for form in FORMS.values()), "rl", *(["verl"] if where != folder else [])]
        assert [one["config_name"] for one in card["configs"] if one.get("default")] == ["sft"]
        for config in card["configs"]:
            data = load(tmp_path, str(where), config["config_name"])
            paths = [str(where / name) for name in config["data_files"]]
            assert data.features == load(tmp_path, "parquet", data_files=paths).features
            if config["config_name"] != "verl":
                stem = (where / config["data_files"][0]).name.partition("-0")[0]
                assert data.to_list() == rows_in(folder / f"{stem}.jsonl")
    types = load(tmp_path, str(folder)).features
    assert types["expected_answer"] == types["when"] == types["note"] == types["level"] == Value("string")
    assert types["score"] == Value("float64") and types["solved"] == Value("bool") and types["meta"] == Value("string")
    rows = rows_in(folder / "sft-data-math.jsonl")
    assert {type(row["level"]) for row in rows} == {str} and {row["note"] for row in rows} == {None, "rare"}
    assert "because expected_answer, when may hold nothing but dates" in (folder / "README.md").read_text()
    assert sorted(row["meta"] for row in rows)[0] == '{"a":0}' and {type(row["score"]) for row in rows} == {float}


def test_plain_rows_have_the_same_types_and_values_with_the_card_and_without(tmp_path):
    stages = write_stages(tmp_path, [(f"<think>\n{n}\n</think>\n\n{ANSWER}", "stop", True) for n in range(5)])
    export(stages, tmp_path / "sft", forms=tuple(FORMS), extra_keys=("seed", "problem_source"), parquet=True)
    for form in FORMS.values():
        stem = f"sft-data-math{form.suffix}"
        bare = load(tmp_path, "json", data_files=str(tmp_path / "sft" / f"{stem}.jsonl"))
        assert bare.to_list() == rows_in(tmp_path / "sft" / f"{stem}.jsonl")
        for data in (
            load(tmp_path, "parquet", data_files=str(tmp_path / "sft" / "parquet" / f"{stem}-00000-of-00001.parquet")),
            load(tmp_path, str(tmp_path / "sft"), form.config),
            load(tmp_path, str(tmp_path / "sft" / "parquet"), form.config),
        ):
            assert bare.features == data.features and bare.to_list() == data.to_list()


def test_a_key_that_is_null_at_first_loads_from_jsonl(tmp_path):
    """4,000 rows of 6 KB: the first ten megabytes have no `note`."""
    stages = write_stages(tmp_path, [(f"<think>\n{n}\n</think>\n\n{ANSWER}", "stop", True) for n in range(9)])
    for number, path in enumerate(sorted((tmp_path / "solutions").glob("*.jsonl"))):
        row = next(files.read_jsonl(path))
        path.write_bytes(files.dumps({"id": row.pop("id"), "note": "rare" if number == 5 else None, **row}))
    write_manifest(tmp_path / "solutions")
    export(stages, tmp_path / "sft", extra_keys=("note",))
    path = tmp_path / "sft" / "sft-data-math.jsonl"
    rows = [{**row, "output": row["output"] + " " * 6000} for row in rows_in(path)]
    plain, noted = [row for row in rows if not row["note"]][0], next(row for row in rows if row["note"])
    path.write_bytes(files.dumps(plain) * 2500 + files.dumps(noted))
    assert load(tmp_path, str(tmp_path / "sft"))["note"][-1] == "rare"


def test_exported_programs_load_alike_in_every_way(tmp_path):
    keys = {
        "question_id": "2024-01-02",
        "language": "python",
        "problem_source": "open-r1/codeforces",
        "pass_rate": None,
    }
    program = "```python\nprint(int(input()))\n```"
    stages = write_stages(
        tmp_path,
        [(f"<think>\n{n}\n</think>\n\n{program}", "stop", n < 4) for n in range(6)],
        problem={"id": "q", "problem": "Echo a number.", "expected_answer": "", **keys},
    )
    options = {"track": "code", "extra_keys": tuple(keys), "filters": {"trim_solutions": False}, "parquet": True}
    export(stages, tmp_path / "sft", forms=tuple(FORMS), **options)
    rows = assert_loads_alike(tmp_path / "sft", tmp_path / "cache")
    assert rows.keys() == {form.config for form in FORMS.values()} and {len(one) for one in rows.values()} == {4}
    assert {row["question_id"] for row in rows["sft"]} == {"2024-01-02"}


@pytest.mark.parametrize(
    "values, kind, converted",
    [
        (["a", None], pa.string(), False),
        ([None, None], pa.string(), False),
        ([1, 2], pa.int64(), False),
        ([1, 2.5], pa.float64(), True),
        ([1.5], pa.float64(), False),
        ([True], pa.bool_(), False),
        ([True, 1], pa.string(), True),
        ([1, "a"], pa.string(), True),
        ([["a"], []], pa.list_(pa.string()), False),
        ([["a"], "a"], pa.string(), True),
        ([[1]], pa.string(), True),
        ([1 << 63], pa.string(), True),
    ],
)
def test_a_key_has_one_type_that_fits_all_its_values(values, kind, converted):
    columns = Columns()
    for value in values:
        assert columns.observe("key", value) == value
    assert columns.types(["key"]) == {"key": kind} and bool(columns.converters(["key"])) == converted
    rows = [convert(files.dumps({"key": value}), columns.converters(["key"])) for value in values]
    assert pa.array([files.parse_row(row, "rows", 1)["key"] for row in rows], kind).null_count == values.count(None)


@pytest.mark.parametrize(
    "values, risky",
    [
        (["2024-01-02"], True),
        (["2024-01-02 10:00:00"] * 20 + ["4"], True),
        (["2024-01-02"] * 5 + ["4"], False),
        (["2024-01-02", "4", None], True),
        (["4", None], False),
        (["2024-01-02x", 4], False),
    ],
)
def test_keys_that_a_json_loader_may_read_as_timestamps(values, risky):
    columns = Columns()
    for value in values:
        columns.observe("key", value)
    assert columns.dated() == ["key"] * risky


def test_features_are_written_as_datasets_reads_them():
    table = schema(
        {
            "a": pa.string(),
            "b": pa.float64(),
            "c": pa.list_(pa.struct([("d", pa.string())])),
            "e": pa.list_(pa.string()),
            "f": pa.struct([("g", pa.int64())]),
            "h": pa.bool_(),
        }
    )
    assert Features._from_yaml_list(features(table)) == Features.from_arrow_schema(table)


def test_parquet_is_sharded_by_size_and_old_shards_go(tmp_path, monkeypatch):
    monkeypatch.setattr("sdg_helpers.sft.parquet_files._BATCH_BYTES", 20_000)
    noise = random.Random(1)
    lines = [files.dumps({"text": noise.randbytes(500).hex()}) for _ in range(200)]
    (tmp_path / "data-00000-of-00009.parquet").touch()
    (tmp_path / "data-messages-00000-of-00001.parquet").touch()
    shards = write_parquet(lines, tmp_path / "data.jsonl", schema({"text": pa.string()}), shard_bytes=60_000)
    assert [path.name for path in shards] == [f"data-{n:05d}-of-{len(shards):05d}.parquet" for n in range(len(shards))]
    assert len(shards) > 1 and all(path.stat().st_size <= 60_000 for path in shards)
    assert {path.name for path in tmp_path.iterdir()} == {
        "data-messages-00000-of-00001.parquet",
        *(path.name for path in shards),
    }
    assert [row["text"] for path in shards for row in pq.read_table(path).to_pylist()] == [
        files.parse_row(line, "lines", 1)["text"] for line in lines
    ]


def test_no_rows_are_one_empty_shard(tmp_path):
    (shard,) = write_parquet([], tmp_path / "data.jsonl", schema({"text": pa.string()}))
    assert pq.read_table(shard).schema == schema({"text": pa.string()})


def test_a_row_that_does_not_fit_is_an_error(tmp_path):
    with pytest.raises(SdgError, match="does not fit its schema"):
        write_parquet([b'{"text":1}\n'], tmp_path / "data.jsonl", schema({"text": pa.string()}))
