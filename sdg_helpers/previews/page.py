"""The page of a preview: what came out, what the whole would cost, and samples to read."""

from __future__ import annotations

from typing import Any

from sdg_helpers import files
from sdg_helpers.formatting import plain_line, plain_text
from sdg_helpers.judging.verdicts import SeedVerdicts
from sdg_helpers.planning.intervals import Pilot, read_pilot, sensitivities
from sdg_helpers.planning.measuring import scale_from_run
from sdg_helpers.planning.report import prices_of, projection_lines, sensitivity_lines
from sdg_helpers.profiles import Profile
from sdg_helpers.runs.run import Track
from sdg_helpers.solutions import seed_files
from sdg_helpers.solutions.reading import read_seed_file

_SHOWN = 3  # samples


def write_page(track: Track, profile: Profile, whole: int | None, seeds: int) -> str:
    """Write preview.md into the run's folder and return its text, which is safe to print.

    whole, seeds: problems (None if unknown) and solutions per problem of the whole run that is projected. Raises
    SdgError when the solutions are not complete.
    """
    solved = track.stage("solutions").require()
    pilot = read_pilot(track, whole)
    title = f"# Preview: {solved['problems']} problems, {solved['parameters']['num_seeds']} solutions each\n"
    parts = [title, "## What came out\n", *_results(track, solved), "\n## What it took\n", *_usage(track)]
    parts += _projection(track, profile, pilot, whole, seeds)
    parts += ["\n## Read these\n", *_samples(track)]
    text = "\n".join(parts) + "\n"
    with files.atomic_writer(track.folder.parent / "preview.md") as out:
        out.write(text.encode("utf-8", "replace"))
    return text


def _results(track: Track, solved: dict[str, Any]) -> list[str]:
    counts = solved["counts"]
    lines = [
        f"- {counts['rows_out']} of {counts['rows_in']} solutions written"
        + "".join(f", {count} {reason}" for reason, count in counts["dropped"].items()),
        "- finish reasons: " + ", ".join(f"{n} {plain_line(one)}" for one, n in solved["finish_reasons"].items()),
    ]
    if (table := track.verdicts()) and (judged := files.read_json(table.parent / "manifest.json")):
        lines.append("- verdicts: " + ", ".join(f"{n} {one}" for one, n in judged["verdicts"].items()))
    if labels := files.read_json(track.folder / "relabeled" / "manifest.json"):
        lines.append("- labels: " + ", ".join(f"{n} {one}" for one, n in labels["problems"].items()))
    exported = track.stage("sft").manifest
    if exported is None:
        return [*lines, "- no row was exported: see the failure above"]
    counts = exported["counts"]
    dropped = "".join(f", {count} {reason}" for reason, count in counts["dropped"].items())
    return [*lines, f"- exported: {counts['rows_out']} of {counts['rows_in']} rows{dropped}"]


def _usage(track: Track) -> list[str]:
    lines = ["| stage | requests | tokens generated | of prompts | seconds | tokens/s |", "|---|---|---|---|---|---|"]
    for name in track.stages:
        manifest = track.stage(name).manifest
        if manifest and (asked := manifest.get("requests")):
            lines.append(
                f"| {name} | {asked['done'] + asked['failed']:,} | {asked['completion_tokens']:,} | "
                f"{asked['prompt_tokens']:,} | {asked['elapsed_s']:.1f} | {asked['tokens_per_s']:.1f} |"
            )
    if failures := (track.stage("solutions").manifest or {}).get("failures"):
        lines += ["", *(f"- {reason}: {plain_line(detail, 300)}" for reason, detail in failures.items())]
    return lines


def _projection(track: Track, profile: Profile, pilot: Pilot, whole: int | None, seeds: int) -> list[str]:
    scale = scale_from_run(track.folder.parent, whole or 1000, seeds, track.name)
    known = "" if whole else " (the size of the source is unknown: give it with --problems)"
    prices = prices_of(profile)
    return [
        f"\n## The whole: {scale.problems:,} problems{known}, {seeds} solutions each\n",
        *projection_lines(scale, profile, pilot, track.name),
        "",
        "The interval holds 90 % of what other problems of the same source would have given. Hours are those of one "
        "server at the speed measured here; a server with room for more requests at a time is faster.",
        "\n## What matters most\n",
        *sensitivity_lines("tokens", sensitivities(scale, "tokens", *prices)),
    ]


def _samples(track: Track) -> list[str]:
    verdicts = track.verdicts()
    kinds: dict[Any, list[str]] = {}
    for seed, path in seed_files.seed_files(track.solutions).items():
        known = SeedVerdicts(verdicts, seed) if verdicts else None
        for row in read_seed_file(path):
            verdict = known.find(row["id"]) if known else None
            correct = verdict.correct if verdict else None
            kinds.setdefault(correct, []).append(_sample(row, verdict))
    shown = [texts[0] for texts in (kinds.get(kind, []) for kind in (True, False, None)) if texts]
    return shown[:_SHOWN]


def _sample(row: dict[str, Any], verdict: Any) -> str:
    judged = "not judged"
    if verdict:
        name = {True: "right", False: "wrong", None: "undecided"}[verdict.correct]
        judged = (
            f"{name} ({verdict.how}): answer {plain_line(verdict.predicted_answer or 'none')}, "
            f"expected {plain_line(verdict.expected_answer or 'none')}"
        )
    texts = f"{plain_text(row['problem'], 600)}\n\n---\n\n{plain_text(row['generation'], 1200)}"
    fence = "`" * max(3, 1 + _longest_run(texts))
    length = f"{row['num_generated_tokens']:,} tokens, {plain_line(row['finish_reason'])}"
    return f"**{judged}** (id {plain_line(row['id'])}, seed {row['seed']}, {length})\n\n{fence}\n{texts}\n{fence}\n"


def _longest_run(text: str) -> int:
    longest = current = 0
    for letter in text:
        current = current + 1 if letter == "`" else 0
        longest = max(longest, current)
    return longest
