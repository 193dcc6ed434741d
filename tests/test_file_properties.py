"""Properties of what is read from files, servers and other processes: rows, replies, keys, hashes, leases."""

import json
import re
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sdg_helpers import files, fingerprints
from sdg_helpers.completions.event_streams import EventStream
from sdg_helpers.completions.failed_attempts import FailedAttempt
from sdg_helpers.completions.redaction import Redactor
from sdg_helpers.completions.replies import read_reply
from sdg_helpers.completions.types import Completion
from sdg_helpers.errors import SdgError, UnreadableRow
from sdg_helpers.lease_locks import Lease
from sdg_helpers.prompts import Prompt
from sdg_helpers.row_files.reading import read_rows
from sdg_helpers.row_files.values import BadRow, unmarked
from sdg_helpers.sft.shuffling import Excerpt, ShuffledRows
from sdg_helpers.solutions.rows import (
    GENERATED_KEYS,
    parse_solution,
    read_id,
    solution_line,
    summarize_row,
    unescape_json,
)
from tests.helpers.properties import inputs
from tests.test_exact_json import VALUES, same

TRICKY = st.sampled_from(
    ['"', "\\", "\n", '","', '"generation":"', '","finish_reason":"stop"', "}", "</think>", "\0", "é"]
)
TEXTS = st.one_of(st.lists(TRICKY, max_size=8).map("".join), st.text(max_size=20))
KEYS = st.one_of(
    st.sampled_from(["generation", "meta", "problem", "finish_reason", "num_generated_tokens", "id"]), TEXTS
)
PROBLEMS = st.dictionaries(KEYS, st.one_of(TEXTS, VALUES, st.dictionaries(KEYS, TEXTS, max_size=2)), max_size=4)
SUFFIXES = st.sampled_from([".jsonl", ".json", ".csv", ".tsv", ".jsonl.gz", ".parquet", ".arrow"])
PIECES = [
    b'{"a": 1}',
    b"\n",
    b",",
    b"[",
    b"]",
    b"a,b",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\0",
    b'"',
    b"1e400",
    b"\xe9",
    b"a\n\xe9\n",
    b"a\nx\0\n",
    b"{}",
]
BYTES = st.one_of(st.binary(max_size=40), st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join))
EVENT = st.fixed_dictionaries({}, optional={"content": st.one_of(st.none(), TEXTS), "reasoning_content": TEXTS})
SECRETS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=16, max_size=40).filter(
    lambda key: len(set(key)) > 5
)


@inputs(120)
@given(PROBLEMS, TEXTS, TEXTS)
def test_a_solution_is_read_back_whatever_its_keys_and_text_hold(problem, problem_id, text):
    problem = {"id": problem_id, **{key: value for key, value in problem.items() if key != "id"}}
    line = solution_line(problem, seed=3, generation=text, finish_reason="stop", num_generated_tokens=812)
    solution = parse_solution(line, Path("f"), 1)
    assert unescape_json(solution.text) == text and (solution.finish_reason, solution.tokens) == ("stop", 812)
    for key, value in {**problem, "seed": 3}.items():
        assert key in GENERATED_KEYS or same(solution.keys[key], value)
    assert read_id(line) == problem_id and summarize_row(line)[:2] == ("stop", 812)
    assert line.count(b"\n") == 1


@inputs(120)
@given(PROBLEMS, TEXTS, st.integers(0, 10**6), st.binary(max_size=3), st.integers(0, 3))
def test_a_damaged_row_is_read_or_refused(problem, text, place, put, cut):
    """Whatever was flipped, cut or put in: what is read can be written again, and nothing ends in a traceback."""
    line = solution_line({**problem, "id": "p"}, seed=3, generation=text, finish_reason="stop", num_generated_tokens=8)
    place %= len(line) - 1
    line = (line[:place] + put + line[place + cut :]).replace(b"\n", b"") + b"\n"
    if read_id(line) is not None:
        assert summarize_row(line).tokens >= 0
    try:
        solution = parse_solution(line, Path("f"), 7)
        assert "id" in solution.keys and files.dumps(solution.keys)
        assert isinstance(solution.answer_text(), str) and isinstance(unescape_json(solution.text), str)
    except UnreadableRow as error:
        assert re.search(r"f, line 7|its text is damaged", str(error))


@inputs(120)
@given(BYTES, SUFFIXES)
def test_any_bytes_are_rows_or_refused_with_the_file(data, suffix):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"f{suffix}")
        path.write_bytes(data)
        try:
            for place, row in read_rows(path):
                assert re.fullmatch(r"(line|row) \d+", place) and isinstance(row, (dict, BadRow))
                if isinstance(row, dict):
                    assert same(files.parse_row(files.dumps(plain := unmarked(row)), path, 1), plain)
        except SdgError as error:
            assert str(path) in str(error)
        except ValueError as error:
            assert "too large" in str(error)


@inputs(120)
@given(SECRETS, TEXTS, TEXTS, st.integers(0, 40), st.integers(0, 40))
def test_half_of_a_key_is_never_left(key, before, after, start, end):
    hidden = Redactor([key]).hide(f"{before}{key[start:]}{after}{key[:end]}{key}")
    half = max(8, len(key) // 2)
    assert not any(key[place : place + half] in hidden for place in range(len(key) - half + 1))
    assert Redactor([key]).hide(before) == before or key[:half] in before


@inputs(100)
@given(st.lists(EVENT, max_size=5), st.lists(st.integers(1, 400), max_size=6), st.sampled_from(["\n\n", "\r\n\r\n"]))
def test_an_event_stream_is_read_alike_in_any_pieces(deltas, cuts, end):
    parts = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    parts.append({"choices": [{"index": 0, "delta": {"content": "!"}, "finish_reason": "stop"}]})
    data = "".join(f"data: {json.dumps(part)}{end}" for part in parts).encode() + b"data: [DONE]\n\n"
    found = []
    for places in ([], sorted(cuts), list(range(1, len(data)))):
        stream = EventStream(1 << 20)
        for start, stop in zip([0, *places], [*places, len(data)], strict=True):
            stream.feed(data[start:stop])
        found.append((stream.finish(1.0), stream.checksum, stream.stopped))
    assert found[0] == found[1] == found[2]


@inputs(120)
@given(st.one_of(st.binary(max_size=80), VALUES.map(lambda value: json.dumps(value).encode())), VALUES, VALUES, VALUES)
def test_any_body_is_a_completion_or_a_failure(data, content, finish, usage):
    choice = {"message": {"content": content, "reasoning": usage}, "finish_reason": finish}
    for body in (data, json.dumps({"choices": [choice], "usage": usage}).encode(), b"[" * 5000 + data):
        assert isinstance(read_reply(body, 1.0), (Completion, FailedAttempt))
        stream = EventStream(1 << 20)
        stream.feed(b"data: " + body + b"\n\n")
        assert isinstance(stream.finish(1.0), (Completion, FailedAttempt))


@inputs(100)
@given(
    st.dictionaries(TEXTS, TEXTS, max_size=2),
    st.one_of(TEXTS, st.sampled_from(["{x}", "{x.__class__}", "{{", "%s", "{0}"])),
)
def test_the_text_of_a_row_is_never_a_template(row, text):
    prompt = Prompt(name="p", user="Solve {problem} {{now}}: {x}")
    assert prompt.user_text({**row, "problem": text, "x": "{problem}"}) == f"Solve {text} {{now}}: {{problem}}"


@inputs(100)
@given(st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.binary(max_size=9)), max_size=20), st.integers(1, 60))
def test_shuffling_is_a_permutation_that_depends_on_keys_only(rows, size):
    with tempfile.TemporaryDirectory() as folder:
        orders = []
        for buckets, buffer in ((1, 1 << 20), (size, 1 + size // 3)):
            with ShuffledRows(Path(folder, "spill"), buckets, bucket_bytes=1, buffer_bytes=buffer) as shuffled:
                for number, (key, line) in enumerate(rows):
                    shuffled.add(key, line, number)
                orders.append([(bytes(line), note) for line, note, _ in shuffled])
    wanted = sorted(((key, number) for number, (key, _) in enumerate(rows)))
    assert orders[0] == orders[1] == [(rows[number][1], number) for _, number in wanted]


@inputs(100)
@given(
    st.lists(
        st.tuples(st.binary(min_size=16, max_size=16), st.integers(0, 1), *[st.integers(0, 40)] * 2, st.binary()),
        max_size=20,
    ),
    st.integers(1, 60),
)
def test_shuffled_lines_get_their_excerpts_back(rows, buffer):
    with tempfile.TemporaryDirectory() as folder:
        sources = [Path(folder, name) for name in "ab"]
        for number, path in enumerate(sources):
            path.write_bytes(bytes(range(100 * number, 100 * number + 40)))
        spill, wanted = Path(folder, "spill"), []
        with ShuffledRows(spill, 9, bucket_bytes=3, buffer_bytes=buffer, sources=sources) as shuffled:
            for number, (key, source, start, stop, line) in enumerate(rows):
                part = sources[source].read_bytes()[start:stop]
                shuffled.add(key, line, number, Excerpt.of(part, source, start), line[::-1])
                wanted.append((key, number, line + part + line[::-1]))
            found = [(line, note) for line, note, _ in shuffled]
    assert found == [(line, number) for _, number, line in sorted(wanted)]


@inputs(100)
@given(st.binary(max_size=60).map(lambda data: data.replace(b"\x01", b"\n")), st.lists(st.integers(0, 60), max_size=4))
def test_fingerprints_do_not_depend_on_how_a_file_is_written(data, cuts):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "f.jsonl")
        path.write_bytes(data)
        found = []
        for places in ([], sorted(cuts)):
            recorder = fingerprints.Recorder(by_row=True)
            for start, stop in zip([0, *places], [*places, len(data)], strict=True):
                recorder.update(data[start:stop])
            found.append((recorder.fingerprint(path.stat()), recorder.row_hashes))
    assert found[0] == found[1] and found[0][0]["rows"] == data.count(b"\n")
    rows = [fingerprints.row_hash(row) for row in data.splitlines(keepends=True) if row.endswith(b"\n")]
    hashes = found[0][1]
    assert fingerprints.read_hashes(fingerprints.write_hashes(hashes) + b"torn") == hashes
    assert b"\r" in data or b"\x0b" in data or b"\x0c" in data or list(hashes) == rows


@inputs(100)
@given(
    st.lists(
        st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=20),
        max_size=3,
    )
)
def test_a_lease_with_any_file_in_it_is_free_or_held(names):
    with tempfile.TemporaryDirectory() as folder:
        lease = Lease(Path(folder, ".lock"))
        Path(folder, ".lock.lease").mkdir()
        for name in names:
            if name not in (".", "..") and len(name.encode()) < 200:
                Path(folder, ".lock.lease", name).touch()
        assert lease.is_free() in (True, False) and isinstance(lease.holder(), str)
