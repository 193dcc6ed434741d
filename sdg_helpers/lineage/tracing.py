"""Tell the story of a solution, section by section, in text that is safe for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as parquet

from sdg_helpers import files
from sdg_helpers.formatting import plain_line, plain_text
from sdg_helpers.judging.verdicts import Verdict, read_verdicts
from sdg_helpers.lineage.finding import Found, find_by_row, find_by_seed, sft_file
from sdg_helpers.runs import history
from sdg_helpers.runs.run import Track
from sdg_helpers.solutions.rows import GENERATED_KEYS
from sdg_helpers.solutions.solving import sampling_seed

_STORES = ("rejudged", "judged")
_ANSWERS = 40  # of one problem that are listed
_WORDS = {True: "right", False: "wrong", None: "undecided"}


def explain_row(track: Track, row: str, seed: int | None = None, limit: int = 1500) -> str:
    """Return where a row comes from. row: its number in the SFT file, or with a seed, the id of a problem.

    limit: characters shown of each long text. Raises SdgError when it is not found.
    """
    found = find_by_row(track, int(row)) if seed is None else find_by_seed(track, row, seed)
    sections = [
        ("Exported row", _export(track, found)),
        ("Problem", _problem(track, found, limit)),
        ("Request", _request(track, found)),
        ("Reply", _reply(found, limit)),
        ("Verdict", _verdict(track, found, limit)),
        ("Votes", _votes(track, found)),
    ]
    return "\n".join(f"{title}\n" + "".join(f"  {line}\n" for line in lines) for title, lines in sections)


def _export(track: Track, found: Found) -> Iterator[str]:
    if found.row:
        yield f"row {found.row:,} of {sft_file(track)}"
    else:
        yield f"none: {found.dropped}"
    manifest = track.stage("sft").manifest
    if manifest:
        filters = manifest["parameters"]["filters"]
        used = [
            name if value is True else f"{name}={value}"
            for name, value in filters.items()
            if value not in (False, None)
        ]
        yield f"{'passed' if found.row else 'filters'}: {', '.join(used)}"


def _problem(track: Track, found: Found, limit: int) -> Iterator[str]:
    keys = found.solution.keys
    yield f"id {plain_line(found.id)}"
    if manifest := next((one for name in ("problems", "clean") if (one := _manifest(track, name))), None):
        source = manifest.get("parameters", {}).get("source")
        if source:
            yield f"read from {plain_line(source)}"
    for key, value in keys.items():
        if key not in ("id", "problem", *GENERATED_KEYS):
            yield f"{plain_line(key)}: {plain_line(value)}"
    yield from plain_text(keys.get("problem", ""), limit).splitlines()


def _request(track: Track, found: Found) -> Iterator[str]:
    manifest = track.stage("solutions").require()
    known = manifest["parameters"]
    sampled = sampling_seed(known.get("run_seed", 0), found.id, found.seed)
    yield f"prompt {known['prompt_name']} ({known['prompt']})"
    yield f"seed {found.seed} of the problem's {known['num_seeds']}; sampling seed {sampled}"
    for name in ("temperature", "top_p", "max_tokens", "extra_body"):
        if known.get(name) not in (None, {}):
            yield f"{name} {plain_line(known[name])}"
    yield f"model {plain_line(known['model'])}"
    server = _server(track)
    engine = server.get("engine", "embedded")
    where = {"embedded": "on the machine of the run", "sglang": "in its jobs"}.get(engine, "at OPENAI_BASE_URL")
    yield f"server: {engine}, {plain_line(server.get('base_url') or where)}"
    for url, counts in ((manifest.get("requests") or {}).get("servers") or {}).items():
        yield f"  one of: {plain_line(url)} ({counts['done']:,} replies)"


def _server(track: Track) -> dict[str, Any]:
    content = history.read(track.folder.parent) or {"sessions": []}
    servers = content["sessions"][-1]["profile"].get("servers", {}) if content["sessions"] else {}
    solver = dict(servers.get("solver") or {})
    urls = solver.get("base_url") or []
    solver["base_url"] = ", ".join(one["url"] if isinstance(one, dict) else str(one) for one in urls)
    return solver


def _reply(found: Found, limit: int) -> Iterator[str]:
    yield f"{found.solution.tokens:,} tokens, finish reason {plain_line(found.solution.finish_reason)}"
    yield from plain_text(found.text, limit).splitlines()


def _verdict(track: Track, found: Found, limit: int) -> Iterator[str]:
    verdict = found.verdict
    if verdict is None:
        yield "not judged yet"
        return
    yield f"{_WORDS[verdict.correct]}, decided by: {verdict.how}"
    yield f"answer {plain_line(verdict.predicted_answer or '(none)')}"
    yield f"expected {plain_line(verdict.expected_answer or '(none)')}"
    comparison = _comparison(track, verdict)
    if comparison and comparison.get("reply"):
        yield f"the judge {plain_line(comparison.get('model'))} (prompt {comparison.get('prompt')}) wrote:"
        yield from (f"| {line}" for line in plain_text(comparison["reply"], limit).splitlines())


def _comparison(track: Track, verdict: Verdict) -> dict[str, Any] | None:
    """Return the stored comparison that decided a verdict; the last one counts."""
    wanted = (verdict.id, verdict.predicted_answer, verdict.expected_answer)
    for name in _STORES:
        if name not in track.stages:
            continue
        rows = files.read_log(track.folder / name / "comparisons.jsonl")
        same = [one for one in rows if (one["id"], one["predicted_answer"], one["expected_answer"]) == wanted]
        if same:
            return same[-1]
    return None


def _votes(track: Track, found: Found) -> Iterator[str]:
    for name in ("relabeled", "voted"):
        path = track.folder / name / "labels.parquet"
        if name in track.stages and path.exists():
            rows = parquet.read_table(path, filters=[("id", "=", found.id)]).to_pylist()
            for row in rows:
                yield ", ".join(f"{key} {plain_line(value)}" for key, value in row.items() if key != "id")
    if (table := track.verdicts()) is not None:
        mine = [(one, seed) for seed in _seeds(track) for one in read_verdicts(table, seed) if one.id == found.id]
        for verdict, seed in mine[:_ANSWERS]:
            mark = "  <- this one" if seed == found.seed else ""
            yield f"seed {seed}: {plain_line(verdict.predicted_answer or '(none)')} {_WORDS[verdict.correct]}{mark}"


def _seeds(track: Track) -> list[int]:
    from sdg_helpers.solutions.seed_files import seed_files

    return list(seed_files(track.solutions))


def _manifest(track: Track, name: str) -> dict[str, Any] | None:
    return track.stage(name).manifest if name in track.stages else None
