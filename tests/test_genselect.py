"""GenSelect: selecting candidates, drawing comparisons, reading picks, and the two stages on real files."""

import random
from collections import Counter

import pandas as pd
import pytest

from sdg_helpers import files, genselect, solutions
from sdg_helpers.completions.types import Limits, Sampling
from sdg_helpers.errors import SdgError
from sdg_helpers.genselect import picks
from sdg_helpers.genselect.comparisons import Candidate, Rules, draw, select_candidates
from sdg_helpers.judging.verdicts import Verdict
from sdg_helpers.prompts import load_prompt
from sdg_helpers.sft.dataset_cards import DatasetCard
from sdg_helpers.sft.export import export_sft
from sdg_helpers.sft.rows import RowFormat
from sdg_helpers.stages import Stage
from tests.helpers.loading import assert_loads_alike
from tests.helpers.solving import endpoint_server, generate, write_problems
from tests.helpers.stages import stage_at
from tests.helpers.standin import StandIn


def some(right, wrong):
    return [
        Candidate(seed, f"text {seed} \\boxed{{{seed}}}", str(seed), "7", seed < right) for seed in range(right + wrong)
    ]


@pytest.mark.parametrize("right, wrong", [(1, 3), (3, 1), (2, 2), (1, 15), (15, 1), (8, 8), (12, 20), (4, 60)])
def test_comparisons_have_a_right_candidate_and_at_most_as_many_right_as_wrong(right, wrong):
    drawn = draw(some(right, wrong), Rules(), random.Random(3))
    assert 1 <= len(drawn) <= 8
    assert len({frozenset(one.seed for one in chosen) for chosen in drawn}) == len(drawn)
    for chosen in drawn:
        num_right = sum(one.correct for one in chosen)
        assert 2 <= len(chosen) <= 16 and 1 <= num_right <= len(chosen) - num_right
        assert len({one.seed for one in chosen}) == len(chosen)


def test_sizes_center_on_the_middle_and_right_ones_are_in_any_place():
    rng, sizes, places = random.Random(0), Counter(), Counter()
    for _ in range(400):
        for chosen in draw(some(8, 24), Rules(), rng):
            sizes[len(chosen)] += 1
            if len(chosen) == 8:
                places.update(place for place, one in enumerate(chosen) if one.correct)
    mean = sum(size * count for size, count in sizes.items()) / sizes.total()
    assert 8.5 < mean < 9.5 and sizes[9] > 3 * sizes[2] and sizes[9] > 3 * sizes[16]
    assert max(places.values()) < 1.5 * min(places.values())


@pytest.mark.parametrize("right, wrong", [(0, 9), (9, 0), (1, 2), (0, 0)])
def test_problems_without_a_mix_are_not_compared(right, wrong):
    assert draw(some(right, wrong), Rules(), random.Random(1)) == []


def test_drawing_again_gives_the_same():
    """Fault 10 of the reference: its sampling was not seeded."""
    assert draw(some(5, 9), Rules(), random.Random("x")) == draw(some(5, 9), Rules(), random.Random("x"))
    assert draw(some(5, 9), Rules(), random.Random("x")) != draw(some(5, 9), Rules(), random.Random("y"))


def test_candidates_are_judged_short_distinct_and_boxed_once(tmp_path):
    """Fault 10 of the reference: equal summaries shared one number."""
    cases = [
        ("The answer is \\boxed{7}", True, None),
        ("The answer is \\boxed{7}", True, "same_text"),
        ("\\boxed{7} or \\boxed{8}", True, "not_one_box"),
        ("x" * 3000 + "\\boxed{7}", True, "too_long"),
        ("\\boxed{8}", None, "undecided"),
        ("It is \\boxed{9}", False, None),
        ("No answer to \\boxed{}", False, "no_answer"),
        ("\\boxed{5}", "unjudged", "no_verdict"),
    ]
    rows = [
        (
            files.dumps(
                {
                    "id": "a",
                    "problem": "p",
                    "seed": seed,
                    "generation": f"<think>\\boxed{{1}}</think>\n{text}",
                    "finish_reason": "stop",
                    "num_generated_tokens": 5,
                }
            ),
            tmp_path / "x",
            None if correct == "unjudged" else Verdict("a", "" if "{}" in text else "7", "7", correct, "exact"),
        )
        for seed, (text, correct, _) in enumerate(cases)
    ]
    dropped = Counter()
    found = select_candidates(iter(rows), Rules(), dropped)
    assert [one.seed for one in found] == [0, 5]
    assert dropped == Counter(reason for _, _, reason in cases if reason)


@pytest.mark.parametrize(
    "reply, pick",
    [
        ("Judgment: 2", 2),
        ("Judgment: [2]", 2),
        ("**Judgment:** 2", 2),
        ("**Judgement: 2**", 2),
        ("judgment: 2.", 2),
        ("Judgment: Solution 2", 2),
        ("Judgment: \\boxed{2}", 2),
        ("Judgment: **[2]**", 2),
        ("Judgment:\n2", 2),
        ("Judgment: 1\nNo, wait.\nJudgment: 2", 2),
        ("Judgment: $2$", 2),
        ("Judgment: #2, since it checks", 2),
        ("Judgment: 4", None),
        ("Judgment: 12", None),
        ("Judgment: 1 and 2", None),
        ("Judgment: 1, 2", None),
        ("Judgment: 0-2", None),
        ("Judgment: 2–3", None),
        ("Judgment: $1$ - $2$", None),
        ("Judgment: 2\n- 1 is wrong", 2),
        ("Judgment: 2 - it checks", 2),
        ("Judgment: 1.5", None),
        ("Judgment: none", None),
        ("Judgment:", None),
        ("I choose 2", None),
        ("<think>Judgment: 1</think>", None),
        ("<think>Judgment: 1</think>\nJudgment: 3", 3),
        ("Judgment: -1", None),
        ("Judgment: " + "[" * 100_000, None),
    ],
)
def test_read_pick_reads_any_spelling(reply, pick):
    """Fault 10 of the reference: `[2]` and `**Judgment:** 2` were not read."""
    assert picks.read_pick(reply, 4) == pick


@pytest.mark.parametrize(
    "answers, right, said",
    [
        (["1/2", "3", "0.5"], [True, False, True], 1.0),
        (["3", "4"], [False, True], 0.5),
        (["3", "4", "5"], [True, False, False], 1 / 3),
        (["5", "3", "3"], [True, False, False], 0.0),
        (["x = 5", "3", "5", "3", "5"], [True, False, True, False, True], 1.0),
    ],
)
def test_the_majority_counts_equal_answers_together(answers, right, said):
    assert picks.majority_right(answers, right) == said


@pytest.fixture
def solved(tmp_path):
    """(problems, solutions folder, verdicts) of 30 problems with 8 seeds, most of them with right and wrong ones."""
    problems = write_problems(tmp_path / "problems" / "problems.jsonl", 30)
    with StandIn(accuracy=0.5) as server:
        generate(problems, tmp_path / "solutions", server.base_url, num_seeds=8)
    truth = {row["id"]: row for row in files.read_jsonl(problems)}
    rows = []
    for row in solutions.read_solutions(tmp_path / "solutions"):
        said = row["generation"].rpartition("boxed{")[2].rstrip("}")
        i = int(truth[row["id"]]["expected_answer"])
        rows.append((row["id"], row["seed"], said, str(i + i * 7 % 11), said == str(i + i * 7 % 11), "exact"))
    verdicts = tmp_path / "judged" / "verdicts.parquet"
    verdicts.parent.mkdir()
    pd.DataFrame(rows, columns=["id", "seed", "predicted_answer", "expected_answer", "correct", "how"]).to_parquet(
        verdicts
    )
    return problems, tmp_path / "solutions", verdicts


def test_from_verdicts_to_picks(solved, tmp_path):
    problems, folder, verdicts = solved
    # equal texts are one candidate here, so that a problem has at most one right and three wrong ones
    manifest = genselect.draw_comparisons(
        stage_at(folder), verdicts, problems, stage_at(tmp_path / "c"), rules=Rules(min_candidates=2)
    )
    counts = manifest["counts"]
    assert counts["rows_in"] == 30 == counts["rows_out"] + sum(counts["dropped"].values()) and counts["rows_out"] > 15
    rows = list(files.read_jsonl(tmp_path / "c" / "comparisons.jsonl"))
    assert len(rows) == manifest["comparisons"] == len({row["id"] for row in rows})
    assert all(
        row["right"].count(True) == 1 and row["answers"][row["right"].index(True)] == row["expected_answer"]
        for row in rows
    )
    with StandIn(accuracy=0.7) as server:
        solutions.generate_solutions(
            tmp_path / "c" / "comparisons.jsonl",
            stage_at(tmp_path / "s"),
            open_server=lambda: endpoint_server(server.base_url),
            model="standin",
            prompt=load_prompt("math/genselect"),
            num_seeds=1,
            sampling=Sampling(0.6),
            limits=Limits(16),
        )
    manifest_of_picks = picks.judge_picks(
        tmp_path / "c" / "comparisons.jsonl", stage_at(tmp_path / "s"), stage_at(tmp_path / "p")
    )
    report = manifest_of_picks["report"]
    assert report["comparisons"] == report["readable"] == len(rows) and manifest_of_picks["how"] == {
        "picked": len(rows)
    }
    assert report["chance_right"] < 0.51 and report["pick_right"] > 0.6 and 0 < report["majority_right"] < 1
    table = pd.read_parquet(tmp_path / "p" / "verdicts.parquet")
    by_id = {row["id"]: row for row in rows}
    assert all(by_id[row.id]["right"][row.pick] == row.correct for row in table.itertuples())
    places = picks.count_positions(tmp_path / "p" / "verdicts.parquet")
    assert places["picked"].sum() == len(rows) and abs(places.iloc[:, 1].sum() - len(rows)) < 1e-9
    assert (
        genselect.draw_comparisons(
            stage_at(folder), verdicts, problems, stage_at(tmp_path / "c"), rules=Rules(min_candidates=2)
        )
        == manifest
    )


def test_undecided_and_unsure_labels_are_not_compared_and_are_counted(solved, tmp_path):
    problems, folder, verdicts = solved
    ids = [row["id"] for row in files.read_jsonl(problems)]
    mixed = [
        one for one, group in pd.read_parquet(verdicts).groupby("id")["correct"] if group.any() and not group.all()
    ]
    labels = pd.DataFrame({"id": ids, "expected_answer": "7", "decision": "keep", "confidence": 0.99})
    labels.loc[labels["id"] == mixed[0], "decision"] = "undecided"
    labels.loc[labels["id"] == mixed[1], "confidence"] = 0.92
    labels.to_parquet(tmp_path / "labels.parquet")

    def drawn(name, **rules):
        manifest = genselect.draw_comparisons(
            stage_at(folder),
            verdicts,
            problems,
            stage_at(tmp_path / name),
            labels=tmp_path / "labels.parquet",
            rules=Rules(min_candidates=2, **rules),
        )
        compared = {row["problem_id"] for row in files.read_jsonl(tmp_path / name / "comparisons.jsonl")}
        counts, left_out = manifest["counts"], manifest["solutions_left_out"]
        assert counts["rows_in"] == len(ids) == counts["rows_out"] + sum(counts["dropped"].values())
        assert manifest["solutions"] == 8 * len(ids) == manifest["candidates"] + sum(left_out.values())
        return compared, counts["dropped"], left_out

    compared, dropped, left_out = drawn("c")
    assert mixed[0] not in compared and mixed[1] in compared
    assert dropped["undecided_label"] == 1 and left_out["undecided_label"] == 8 and "unsure_label" not in dropped
    compared, dropped, left_out = drawn("d", max_expected_error=0.05)
    assert not {mixed[0], mixed[1]} & compared and mixed[2] in compared
    assert dropped["undecided_label"] == dropped["unsure_label"] == 1 and left_out["unsure_label"] == 8


@pytest.fixture
def repaired(solved):
    """As `solved`, with the id of the one problem whose reference was replaced; all others have the judged answer."""
    problems, folder, verdicts = solved
    by_id = pd.read_parquet(verdicts).groupby("id")
    mixed = by_id["correct"].agg(["any", "all"]).query("any and not all").index[0]
    answers = {**by_id["expected_answer"].first(), mixed: "none of them"}
    rows = [{**row, "expected_answer": answers[row["id"]]} for row in files.read_jsonl(problems)]
    problems.write_bytes(b"".join(map(files.dumps, rows)))
    return problems, folder, verdicts, mixed


def test_the_card_counts_problems_and_repaired_answers_not_comparisons(repaired, tmp_path):
    problems, folder, verdicts, mixed = repaired
    genselect.draw_comparisons(
        stage_at(folder), verdicts, problems, stage_at(tmp_path / "c"), rules=Rules(min_candidates=2)
    )
    comparisons = list(files.read_jsonl(tmp_path / "c" / "comparisons.jsonl"))
    of_mixed = [row for row in comparisons if row["problem_id"] == mixed]
    assert len(of_mixed) > 1 and {row["original_expected_answer"] for row in of_mixed} == {"none of them"}
    assert all(row["original_expected_answer"] == row["expected_answer"] for row in comparisons if row not in of_mixed)
    with Stage(tmp_path / "s", "solutions").work({}, {}) as work:
        path = work.folder / "output-rs0.jsonl"
        path.write_bytes(
            b"".join(
                files.dumps(
                    {
                        **row,
                        "seed": 0,
                        "generation": f"<think>Hm.</think>\n\nJudgment: {row['right'].index(True)}",
                        "finish_reason": "stop",
                        "num_generated_tokens": 2,
                    }
                )
                for row in comparisons
            )
        )
        work.finish(rows_in=len(comparisons), rows_out=len(comparisons), outputs=[path])
    picks.judge_picks(tmp_path / "c" / "comparisons.jsonl", stage_at(tmp_path / "s"), stage_at(tmp_path / "p"))
    manifest = export_sft(
        stage_at(tmp_path / "s"),
        tmp_path / "p" / "verdicts.parquet",
        stage_at(tmp_path / "sft"),
        track="genselect",
        row_format=RowFormat(load_prompt("math/genselect")),
        card=DatasetCard("tiny", "cc-by-4.0"),
        filters={"trim_solutions": False},
        parquet=True,
    )
    assert len(assert_loads_alike(tmp_path / "sft", tmp_path / "cache")["sft"]) == len(comparisons)
    assert manifest["problems"] == len({row["problem_id"] for row in comparisons}) < len(comparisons)
    assert manifest["rows_with_repaired_answer"] == len(of_mixed)
    card = (tmp_path / "sft" / "README.md").read_text()
    assert (
        f"{len(comparisons)} solution picks for {manifest['problems']} problems ({2 * len(comparisons)} generated "
        "tokens). In each row, a model compares candidate solutions of a problem and picks one; only picks of a "
        f"solution that was judged correct are included. In {len(of_mixed)} rows, the problem's original reference "
        "answer was replaced by the majority answer."
    ) in card
    assert "| output | the reasoning that picks a candidate" in card and "worked solution" not in card


def test_comparisons_of_an_older_format_are_rejected(solved, tmp_path):
    problems, folder, verdicts = solved
    rules = Rules(min_candidates=2)
    genselect.draw_comparisons(stage_at(folder), verdicts, problems, stage_at(tmp_path / "c"), rules=rules)
    manifest = files.read_json(tmp_path / "c" / "manifest.json")
    del manifest["parameters"]["row_format"], manifest["checksum"]
    files.write_json(tmp_path / "c" / "manifest.json", manifest)
    with pytest.raises(SdgError, match=r"row_format: was None, now 2(.|\n)*sdg reset"):
        genselect.draw_comparisons(stage_at(folder), verdicts, problems, stage_at(tmp_path / "c"), rules=rules)


def test_an_error_when_nothing_can_be_compared(solved, tmp_path):
    problems, folder, verdicts = solved
    with pytest.raises(SdgError, match="lower MIN_CANDIDATES"):
        genselect.draw_comparisons(
            stage_at(folder), verdicts, problems, stage_at(tmp_path / "c"), rules=Rules(min_candidates=9)
        )
    with pytest.raises(SdgError, match="min_candidates: .*greater than or equal to 2, found 1"):
        Rules(min_candidates=1)
