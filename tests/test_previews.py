"""`sdg try` and `sdg plan`: the sample, the projection and its interval, what matters, and the page."""

import re

import numpy as np
import pytest

from sdg_helpers import files, notebooks
from sdg_helpers.budgets.ledger import Entry
from sdg_helpers.budgets.prices import Prices
from sdg_helpers.cli.main import main
from sdg_helpers.errors import SdgError
from sdg_helpers.formatting import plain_line, plain_text
from sdg_helpers.planning.from_profile import scale_from_profile
from sdg_helpers.planning.intervals import Pilot, ranges, sensitivities
from sdg_helpers.planning.scale import Scale, costs, total
from sdg_helpers.previews.sample import draw_sample, preview_profile, spread_evenly
from sdg_helpers.previews.tracks import prepare_preview
from sdg_helpers.profiles import load_profile
from sdg_helpers.runs import history
from tests.helpers.clone import ROOT
from tests.helpers.standin import StandIn

PRICES = Prices(input_per_million=2, output_per_million=10, currency="EUR")
MATH_01 = {
    "SOURCE": "demo",
    "COLUMNS": {},
    "REVISION": "",
    "SPLITS": ["cot", "additional_problems"],
    "DROP_TYPES": ["converted_proof"],
    "MAX_PROBLEMS": 0,
    "MAX_BAD_ROWS": 100,
}


@pytest.fixture(autouse=True)
def in_clone(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("SDG_OUTPUTS", str(tmp_path / "outputs"))


# --- the sample


def test_a_sample_is_spread_over_the_lengths():
    assert spread_evenly([5, 1, 4, 2, 3, 6], 3) == {3, 2, 5}
    assert spread_evenly([1, 1, 1], 8) == {0, 1, 2}
    lengths = np.random.default_rng(0).permutation(1000)
    chosen = sorted(lengths[list(spread_evenly(lengths, 10))])
    assert chosen == list(range(50, 1000, 100))


def test_the_sample_of_the_demo_is_always_the_same_and_knows_the_whole(tmp_path):
    sample = draw_sample(tmp_path / "a", MATH_01, 8)
    assert (sample.size, sample.of) == (8, 25)
    assert sample.path.read_bytes() == draw_sample(tmp_path / "b", MATH_01, 8).path.read_bytes()
    assert draw_sample(tmp_path / "c", {**MATH_01, "MAX_PROBLEMS": 5}, 8)[1:] == (5, 5)
    with pytest.raises(SdgError, match="-n 1: 2 problems at least"):
        prepare_preview("math", tmp_path / "d", {"math/01_download_problems": MATH_01}, 1)


def test_a_preview_on_a_cluster_uses_one_job_per_stage(tmp_path):
    assert preview_profile(load_profile("demo"), tmp_path).key == "demo"
    whole = load_profile("slurm")
    preview = preview_profile(whole, tmp_path)
    assert whole.jobs.spec("generate").servers == 16
    assert preview.jobs.spec("generate") == whole.jobs.spec("generate").model_copy(update={"servers": 1})
    assert preview.servers == whole.servers and preview.parameters == whole.parameters


# --- projections


def pilot_of(count, sd=0.5, seed=0, of=None):
    rng = np.random.default_rng(seed)
    sigma = np.sqrt(np.log(1 + sd**2))
    tokens = 1000 * rng.lognormal(-(sigma**2) / 2, sigma, count)
    return Pilot(tokens, rng.random(count), rng.integers(0, 3, count).astype(float), of)


@pytest.mark.parametrize("count, least", [(8, 0.80), (50, 0.84)])
def test_the_interval_holds_the_truth_as_often_as_it_says(count, least):
    """Nine of ten intervals hold the mean of the population; a little less with few problems and a heavy tail."""
    held = 0
    for seed in range(200):
        pilot = pilot_of(count, seed=seed)
        scale = Scale(mean_tokens=float(pilot.tokens.mean()), comparisons_per_problem=0)
        found = ranges(scale, pilot)["tokens"]
        held += found.low <= 1000 * scale.solutions <= found.high
    assert least <= held / 200 <= 0.97


def test_an_interval_shrinks_with_more_problems_and_to_nothing_with_all_of_them():
    def width(count, of=None):
        pilot = pilot_of(count, of=of)
        found = ranges(Scale(mean_tokens=float(pilot.tokens.mean())), pilot)["tokens"]
        assert found.low <= found.value <= found.high
        return (found.high - found.low) / found.value

    assert width(8) > 2 * width(80) and width(80) > 2 * width(800)
    assert width(8, of=10) < width(8, of=1000) <= width(8) and width(8, of=8) == pytest.approx(0)


def test_without_a_pilot_there_is_no_interval():
    found = ranges(Scale(), None)["tokens"]
    assert found.low == found.value == found.high == total(Scale()).tokens


def test_money_and_loads_and_the_tail_are_in_the_plan():
    scale = Scale(
        problems=1000, num_seeds=4, mean_tokens=900, prompt_tokens=100, servers=2, gpus_per_server=8, tokens_per_s=1000,
        load_min=30, hours_per_job=0.25, tail_s=360, comparisons_per_problem=0,
    )  # fmt: skip
    by_name = {cost.stage: cost for cost in costs(scale, PRICES, PRICES)}
    assert by_name["03 solutions"].money == pytest.approx(4000 * (100 * 2 + 900 * 10) / 1e6)
    assert by_name["03 solutions"].hours == pytest.approx(0.5)
    assert by_name["03 loading"].gpu_hours == pytest.approx(2 * 0.5 * 2 * 8), "two jobs each, half an hour"
    assert by_name["03 tail"].gpu_hours == pytest.approx(0.1 * 2 * 8)
    with pytest.raises(SdgError, match="hours_per_job must be greater than 0"):
        Scale(hours_per_job=0)


def test_what_matters_most_is_first():
    found = sensitivities(Scale(), "gpu_hours")
    names = [name for name, _ in found]
    assert names[:2] == ["gpus_per_server", "problems"] and dict(found)["mean_tokens"] == pytest.approx(0.1, abs=0.01)
    assert dict(found)["tokens_per_s"] < -0.08 and "judge_prompt_tokens" not in names
    money = dict(sensitivities(Scale(prompt_tokens=2500), "money", PRICES, PRICES))
    assert money["prompt_tokens"] > 0 and "gpus_per_server" not in money


def test_a_profile_gives_its_own_figures():
    scale = scale_from_profile(load_profile("slurm"))
    assert (scale.servers, scale.gpus_per_server, scale.judge_gpus, scale.num_seeds) == (16, 16, 8, 16)
    assert scale_from_profile(load_profile("endpoint")).num_seeds == 4


@pytest.mark.parametrize(
    "words, code, said",
    [
        ([], 0, r"03 loading +0 +0 +569"),
        (["--problems", "1000", "-s", "servers", "2"], 0, r"solutions \| 16,000 \|"),
        (["-s", "mean_token", "3"], 2, "unknown figure. Did you mean mean_tokens?"),
        (["-s", "servers", "many"], 2, "not a number"),
        (["-s", "servers", "0"], 2, "servers must be greater than 0"),
        (["nosuchrun"], 2, "run 'nosuchrun'"),
    ],
)
def test_sdg_plan_in_the_terminal(capsys, words, code, said):
    assert main(["plan", *words]) == code
    shown = capsys.readouterr()
    assert re.search(said, shown.out + shown.err)


def test_a_kept_plan_is_compared_with_what_is_spent(tmp_path, capsys):
    words = ["plan", "--problems", "1000", "--seeds", "4", "-s", "mean_tokens", "1000", "--for", "mine"]
    assert main(words) == 0 and "Kept as the plan of run mine." in capsys.readouterr().out
    run = tmp_path / "outputs" / "mine"
    history.begin(run, load_profile("demo"))
    Entry(run, completion_tokens=1_005_900).save(ended=True)
    assert main(["status", "mine"]) == 0
    planned = capsys.readouterr().out.splitlines()[-1]
    tokens = total(Scale(problems=1000, num_seeds=4, mean_tokens=1000)).tokens
    assert planned.startswith(f"planned: 4.236M tokens ({1_005_900 / tokens:.0%} spent), ") and "gpu-hours" in planned
    (run / "plan.json").write_text("[]")
    assert main(["status", "mine"]) == 2 and "plan.json: not a plan. Make it again" in capsys.readouterr().err


# --- text from models


def test_text_for_a_terminal_cannot_steer_it():
    text = plain_text("a\x1b[2Jb\u202ec\r\nd\x07\x9b31m\ttab")
    assert text == "a\\x1b[2Jb\\u202ec\n\nd\\x07\\x9b31m\ttab"
    assert plain_line("a\n b\x00") == "a b\\x00" and len(plain_text("x" * 10_000, 300)) < 400


# --- the whole


@pytest.mark.slow
def test_a_preview_ends_with_a_page_even_if_requests_fail(tmp_path, capsys):
    with StandIn(accuracy=0.7, faults="length=0.1,null_content=0.05") as server:
        profile = tmp_path / "p.yaml"
        profile.write_text(
            f"servers: {{solver: {{engine: endpoint, model: standin, base_url: '{server.base_url}', prices: "
            "{input_per_million: 2, output_per_million: 10, currency: EUR}}}\n"
        )
        code = main(["try", "math", "--profile", str(profile), "-n", "6"])
        shown = capsys.readouterr().out
        asked = server.stats()["unique"]
    run = tmp_path / "outputs" / "try-p-6x2"
    page = (run / "preview.md").read_text()
    assert page in shown and "# Preview: 6 problems, 2 solutions each" in page
    assert code in (0, 1) and "## The whole: 25 problems, 4 solutions each" in page
    assert re.search(r"\| money \| [\d.]+ EUR \| [\d.]+ EUR – [\d.]+ EUR \|", page) and "\n**right" in page
    solved = files.read_json(run / "math" / "solutions" / "manifest.json")
    assert solved["counts"]["rows_in"] == 12 <= asked
    assert main(["plan", "try-p-6x2", "--problems", "2500", "--seeds", "4"]) == 0
    projected = float(re.search(r"tokens generated \| ([\d.]+)k \|", capsys.readouterr().out)[1]) * 1000
    assert projected == pytest.approx(solved["generated_tokens"] / 12 * 10_000, rel=0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "track, whole, solving", [("code", "24 problems, 2 solutions", "02 solutions"), ("science", "", "04 solutions")]
)
def test_previews_of_the_other_tracks(tmp_path, capsys, track, whole, solving):
    with StandIn(accuracy=0.7) as server:
        profile = tmp_path / "p.yaml"
        profile.write_text(
            f"servers: {{solver: {{engine: endpoint, model: standin, base_url: {server.base_url!r}}}}}\n"
        )
        code = main(["try", track, "--profile", str(profile), "-n", "4"])
        shown = capsys.readouterr()
    run = tmp_path / "outputs" / f"try-{track}-p-4x2"
    page = (run / "preview.md").read_text()
    assert code in (0, 1) and page in shown.out, shown.err
    solved = files.read_json(run / track / "solutions" / "manifest.json")
    assert f"# Preview: {solved['problems']} problems, 2 solutions each" in page and f"## The whole: {whole}" in page
    assert main(["plan", run.name, "--problems", "1000", "--seeds", "2"]) == 0
    planned = capsys.readouterr().out
    assert re.search(rf"{solving} +2,000 +", planned) and "rejudged" not in planned
    tokens = float(re.search(rf"{solving} +2,000 +([\d.,]+)k", planned)[1].replace(",", "")) * 1000
    assert tokens == pytest.approx(solved["generated_tokens"] / solved["counts"]["rows_out"] * 2000, rel=0.01)


def test_a_preview_of_code_takes_questions_of_all_lengths_with_their_tests(tmp_path):
    source = tmp_path / "mine.jsonl"
    rows = [
        {"name": f"q{number}", "problem": "Print the sum. " * (1 + number), "tests": [{"input": "1", "output": "1"}]}
        for number in range(20)
    ]
    source.write_bytes(b"".join(files.dumps(row) for row in [*rows, {"problem": 7}, rows[-1]]))
    first = "code/01_prepare_questions"
    values = {name: one.value for name, one in notebooks.find(first, notebooks.discover()).parameters.items()}
    values |= {"SOURCE": str(source), "COLUMNS": {"id": "name"}}
    preview = prepare_preview("code", tmp_path / "run", {first: values}, 8)
    changes = preview.changes[first]
    kept = list(files.read_jsonl(changes["SOURCE"]))
    assert changes["MAX_QUESTIONS"] == 0 and [row["name"] for row in kept] == ["q2", "q7", "q12", "q17"]
    assert all(row["tests"] == rows[0]["tests"] for row in kept)
