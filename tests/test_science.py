"""The science track: taxonomy, reading questions from replies, option letters, near-duplicates, votes."""

import json
from collections import Counter

import pandas as pd
import pytest
from datasets import Value, load_dataset

from sdg_helpers import files, science, solutions
from sdg_helpers.answers.options import normalise_vote, option_letter
from sdg_helpers.audit import labels as labels_audit
from sdg_helpers.completions.types import Limits, Sampling
from sdg_helpers.decontamination import near_duplicates
from sdg_helpers.errors import SdgError
from sdg_helpers.prompts import load_prompt
from sdg_helpers.science import open_science, plan, voting
from sdg_helpers.science.question_reader import Question, read_question
from sdg_helpers.science.taxonomy import describe_form, fold, load_taxonomy
from sdg_helpers.sft.dataset_cards import DatasetCard
from tests.helpers.effort import assert_grows_linearly
from tests.helpers.solving import endpoint_server
from tests.helpers.stages import stage_at, write_manifest
from tests.helpers.standin import StandIn

# --- the taxonomy


def test_the_taxonomy_is_large_and_has_no_duplicates():
    taxonomy = load_taxonomy()
    table = taxonomy.table()
    assert len(table) >= 8 and table["topics"].sum() >= 60 and table["subtopics"].sum() >= 400
    assert list(taxonomy.levels) == ["intermediate", "complex", "hard", "brutal", "borderline_unsolvable"]
    assert len(set(taxonomy.levels.values())) == 5 and all(len(text.split()) > 10 for text in taxonomy.levels.values())
    subtopics = [fold(one) for _, _, inside in taxonomy.topics() for one in inside]
    assert len(set(subtopics)) == len(subtopics) and all(2 <= len(one.split()) <= 8 for one in subtopics)


@pytest.mark.parametrize(
    "text, said",
    [
        ("- a", "keys levels and fields, found list"),
        ("levels: {a: b}", "keys levels and fields, found levels"),
        ("levels: {}\nfields: {F: {T: [a]}}", "no levels"),
        ("levels: {a: ''}\nfields: {F: {T: [a]}}", "level 'a' demands"),
        ("levels: {a: b}\nfields: {F: {T: [a, A.]}}", "one twice"),
        ("levels: {a: b}\nfields: {F: {T: [1]}}", "list of te"),
        ("levels: {a: b}\nfields: {F: {T: []}}", "no subtopics"),
        ("levels: {a: b}\nfields: {F: [a]}", "not mappings of"),
        ("levels: {a: b}\nfields: {F: {T: [a]}, G: {t: [b]}}", "topic 't' twice"),
        ("levels: [", "cannot read this taxonomy"),
    ],
)
def test_a_broken_taxonomy_is_rejected(tmp_path, text, said):
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(SdgError, match=said):
        load_taxonomy(tmp_path / "t.yaml")


def test_topics_are_spread_over_the_fields_and_unknown_names_are_rejected(tmp_path):
    manifest = plan.choose_topics(stage_at(tmp_path / "a"), max_topics=11)
    rows = list(files.read_jsonl(tmp_path / "a" / "topics.jsonl"))
    assert Counter(Counter(row["field"] for row in rows).values()) == {1: 7, 2: 2} and len(rows) == 11
    assert manifest["counts"]["rows_out"] == 11
    with pytest.raises(SdgError, match="Did you mean Genetics?"):
        plan.choose_topics(stage_at(tmp_path / "b"), topics=["Genetic"])
    with pytest.raises(SdgError, match="none of .'Genetics'. is in the fields .'Physics'"):
        plan.choose_topics(stage_at(tmp_path / "c"), topics=["Genetics"], fields=["Physics"])
    with pytest.raises(SdgError, match="unknown difficulty 'easy'"):
        plan.plan_questions(tmp_path / "a" / "topics.jsonl", stage_at(tmp_path / "d"), levels=["easy"], num_options=[4])
    with pytest.raises(SdgError, match="2 to 10, found 11"):
        describe_form(11)


@pytest.mark.parametrize(
    "levels, num_options, said",
    [
        (["easy"], [4], "unknown difficulty 'easy'. Known: intermediate"),
        (["hard"], [11], "2 to 10, found 11"),
        ([], [4], "LEVELS and NUM_OPTIONS: at least one of each is needed"),
        (["hard"], [], "at least one of each"),
    ],
)
def test_a_grid_is_checked_before_the_first_request(levels, num_options, said):
    with pytest.raises(SdgError, match=said):
        plan.check_grid(levels, num_options)
    assert list(plan.check_grid(["hard"], [4, 0])[1]) == [4, 0]


def test_the_grid_is_every_subtopic_level_and_form(tmp_path):
    plan.choose_topics(stage_at(tmp_path / "t"), topics=["Genetics", "Stars"])
    manifest = plan.plan_questions(
        tmp_path / "t" / "topics.jsonl",
        stage_at(tmp_path / "a"),
        num_options=[4, 10, 0],
        levels=["hard", "brutal"],
        max_subtopics=3,
    )
    rows = list(files.read_jsonl(tmp_path / "a" / "assignments.jsonl"))
    assert manifest["assignments"] == len(rows) == len({row["id"] for row in rows}) == 2 * 3 * 2 * 3
    assert manifest["counts"] == {"rows_in": 14, "rows_out": 6, "dropped": {"not_chosen": 8}}
    cost = plan.grid_cost(6, ["hard", "brutal"], [4, 10, 0], 5)
    assert cost.loc["all", "requests"] == 2 * cost.loc["hard", "requests"] == 180
    assert cost.loc["all", "gpu_hours"] == pytest.approx(180 * 220 / 4000 * 8 / 3600)


@pytest.mark.parametrize(
    "reply, found",
    [
        ("1. lasers\n2) optical tweezers.\n- **solar cells**", ["lasers", "optical tweezers", "solar cells"]),
        ("<think>1. lasers</think>\nfibre sensors\n\n", ["fibre sensors"]),
        ("Here are three:\n1. a b", ["a b"]),
        ("1. " + "word " * 20, []),
        ("Which one?", []),
        ("", []),
        ("...", []),
    ],
)
def test_read_subtopics(reply, found):
    assert plan.read_subtopics(reply) == found


# --- replies become questions

GOOD = "Question: Which gas do plants take up?\nA. oxygen\nB. carbon dioxide\nC. nitrogen\nD. helium"
TEN = "Question: How many legs has an ant?\n" + "\n".join(f"{letter}. {n}" for n, letter in enumerate("ABCDEFGHIJ"))
STEM, OPTIONS = "Which gas do plants take up?", ("oxygen", "carbon dioxide", "nitrogen", "helium")


@pytest.mark.parametrize(
    "reply, num_options",
    [
        (GOOD, 4),
        (GOOD.replace(". ", ") "), 4),
        (GOOD.replace("\nA.", "\n\nOptions:\nA."), 4),
        ("Sure! Here is a question:\n\n" + GOOD, 4),
        (f"<think>Question: no\nA. x</think>\n{GOOD}", 4),
        ("### Question:\n" + GOOD.removeprefix("Question: "), 4),
        ("**Question:** " + GOOD.removeprefix("Question: "), 4),
        (GOOD.replace("A.", "**A.**").replace("B.", "**B.**").replace("C.", "**C.**").replace("D.", "**D.**"), 4),
        (GOOD.replace("A.", "- (A)").replace("B.", "- (B)").replace("C.", "- (C)").replace("D.", "- (D)"), 4),
        (GOOD + "\n\n---\n", 4),
        ("```\n" + GOOD + "\n```", 4),
        (GOOD.replace("carbon dioxide", "carbon\ndioxide"), 4),
        ("A. Einstein was asked:\n" + GOOD, 4),
    ],
)
def test_a_question_is_read_from_any_layout(reply, num_options):
    found = read_question(reply, num_options)
    assert isinstance(found, Question), found
    assert found.text.endswith(STEM) and found.options == OPTIONS
    assert found.problem.endswith(f"{STEM}\n\nA. oxygen\nB. carbon dioxide\nC. nitrogen\nD. helium")


FORCE = "What is the SI unit of force?"
UNITS = ("newton", "joule", "watt", "pascal")


@pytest.mark.parametrize(
    "reply",
    [
        f"```\n{FORCE}\n\nA) newton\nB) joule\nC) watt\nD) pascal\n```",
        f"```text\n{FORCE}\nA) newton\nB) joule\nC) watt\nD) pascal\n```\n",
        f"Here is a question:\n\n~~~\n{FORCE}\nA) newton\nB) joule\nC) watt\nD) pascal\n~~~",
        f"{FORCE}\n\na) newton\nb) joule\nc) watt\nd) pascal",
        f"{FORCE}\n\n(a) newton\n(b) joule\n(c) watt\n(d) pascal",
        f"{FORCE}\nA) newton    B) joule\nC) watt    D) pascal",
        f"{FORCE}\n(A) newton\t(B) joule\t(C) watt\t(D) pascal",
        f"{FORCE}\n| A) newton | B) joule |\n| C) watt | D) pascal |",
        f"{FORCE}\n"
        + "\n".join(f"$\\textbf{{({letter})}}$ {unit}" for letter, unit in zip("ABCD", UNITS, strict=True)),
        f"{FORCE}\n"
        + " \\qquad ".join(f"$\\textbf{{({one})}}\\ $ {unit}" for one, unit in zip("ABCD", UNITS, strict=True)),
        json.dumps({"question": FORCE, "options": dict(zip("ABCD", UNITS, strict=True))}),
        "```json\n" + json.dumps({"Question": FORCE, "choices": UNITS}, indent=1) + "\n```",
    ],
)
def test_fences_and_layouts_of_options(reply):
    assert read_question(reply, 4) == Question(FORCE, UNITS)


def test_a_fence_inside_a_question_stays():
    stem = "What does this print?\n\n```\nprint(1)\n```"
    assert read_question(f"{stem}\nA. 1\nB. 2\nC. 3\nD. 4", 4).text == stem


@pytest.mark.parametrize(
    "reply, num_options, reason",
    [
        (json.dumps({"question": FORCE, "options": UNITS, "answer": "A"}), 4, "gives_its_answer_away"),
        (json.dumps({"question": FORCE, "options": {"B": "joule", "A": "newton"}}), 2, "does_not_parse"),
        ("{" * 7000, 4, "does_not_parse"),
        (f"{FORCE}\na) newton\nc) joule", 2, "does_not_parse"),
        ("I cannot do that.", 4, "does_not_parse"),
        ("", 4, "does_not_parse"),
        ("x" * 9000, 4, "does_not_parse"),
        ("<think>Question: a b c", 4, "does_not_parse"),
        ("A. x\nB. y\nC. z\nD. w", 4, "does_not_parse"),
        (GOOD + "\n\nI hope that this helps you a lot.", 4, "does_not_parse"),
        (STEM, 4, "does_not_parse"),
        ("Question: " + STEM, 4, "fewer_options"),
        (GOOD, 10, "fewer_options"),
        (GOOD.replace("D. helium", "D."), 4, "fewer_options"),
        (GOOD.replace("\nB.", "\nX."), 4, "fewer_options"),
        (GOOD + "\nE. neon", 4, "more_options"),
        (GOOD, 0, "more_options"),
        (TEN, 4, "more_options"),
        (GOOD.replace("helium", "Oxygen"), 4, "repeated_options"),
        (TEN.replace("A. 0", "A. 1/2").replace("J. 9", "J. 0.5"), 10, "repeated_options"),
        (GOOD.replace("nitrogen", "the Krebs cycle").replace("helium", "The Krebs Cycle."), 4, "repeated_options"),
        (GOOD.replace("nitrogen", "5 mPa").replace("helium", r"5\,\text{mPa}"), 4, "repeated_options"),
        (GOOD + "\nAnswer: B", 4, "gives_its_answer_away"),
        (GOOD + "\n\n**Correct answer:** B", 4, "gives_its_answer_away"),
        (GOOD + "\n\nThe correct option is (B), since they need it.", 4, "gives_its_answer_away"),
        (GOOD + "\n\nExplanation: they breathe it.", 4, "gives_its_answer_away"),
        (GOOD.replace("dioxide", "dioxide (correct)"), 4, "gives_its_answer_away"),
        (GOOD.replace("dioxide", "dioxide ✓"), 4, "gives_its_answer_away"),
        (GOOD.replace("dioxide", "dioxide <- correct answer"), 4, "gives_its_answer_away"),
        (GOOD.replace("B. carbon", "**B.** carbon"), 4, "gives_its_answer_away"),
        (GOOD.replace("up?", "up? (The answer is B)"), 4, "gives_its_answer_away"),
        ("Question: How fast is light?\nAnswer: 300000 km/s", 0, "gives_its_answer_away"),
        (GOOD.replace("Which", "In the figure below, which"), 4, "needs_a_figure"),
        (GOOD.replace("Which", "As shown in the diagram, which"), 4, "needs_a_figure"),
    ],
)
def test_other_replies_are_dropped_with_a_reason(reply, num_options, reason):
    assert read_question(reply, num_options) == reason


@pytest.mark.parametrize(
    "stem",
    [
        "Which statement about the answer is true in quantum mechanics?",
        "What moves to the (right) of the axis?",
        "In which of these does x <-3 hold for the number x?",
        "Given a graph with n nodes, is it a tree?",
        "What is the key difference: A ring or a chain?",
        "Is the correct reading of the gauge: A little more?",
    ],
)
def test_questions_that_only_look_flawed_are_kept(stem):
    assert isinstance(read_question(GOOD.replace(STEM, stem), 4), Question)


@pytest.mark.parametrize(
    "options",
    [
        ["AABB", "AaBb", "AaBB", "aabb"],
        ["AA", "Aa", "aA", "aa"],
        ["5 mPa", "5 kPa", "5 MPa", "5 Pa"],
        ["2 meV", "2 MeV", "2 keV", "2 eV"],
        ["3 Mbar", "3 mbar", "3 bar", "3 kbar"],
        ["T", "t", "M", "m"],
        ["5 m s", "5 ms", "5 Ms", "5 s"],
    ],
)
def test_options_that_differ_in_case_are_different(options):
    found = read_question(GOOD.split("\n")[0] + "".join(map("\n{}. {}".format, "ABCD", options)), 4)
    assert isinstance(found, Question) and found.options == tuple(options)


def test_unfinished_replies_and_open_questions():
    assert read_question(GOOD, 4, "length") == "unfinished"
    assert read_question("Question: How fast is light in vacuum, in km/s?", 0) == Question(
        "How fast is light in vacuum, in km/s?"
    )


@pytest.mark.parametrize(
    ("hostile", "length"),
    [
        ("A. ", 7800),
        ("A. x" + " " * 200, 7800),
        ("A. B) C) ", 7900),
        ("**", 8000),
        ("Question: ", 8000),
        ("(", 7900),
        ("answer is ", 7900),
        ("A. x\n", 8000),
        ("the figure ", 7700),
        (" ", 7999),
    ],
)
def test_hostile_replies_take_linear_time(hostile, length):
    def read(length):
        for number in (0, 4):
            text = (hostile * length)[: length - 2] + "A."
            assert isinstance(read_question(text, number), str | Question)

    assert_grows_linearly(read, length)


# --- letters

CHOICES = ["3 m/s", "1/2", "the cell wall", "B", "x^2"]


@pytest.mark.parametrize(
    "answer",
    [
        "A",
        "a",
        "A.",
        "(A)",
        "(a)",
        r"\text{A}",
        r"\text{(A)}",
        r"\mathrm{A}",
        "$A$",
        r"\textbf{A}.",
        r"\(A\)",
        "Option A",
        "option (A)",
        "Answer: A",
        "**A**",
        "[A]",
        "The correct answer is A",
        "A) 3 m/s",
        "A. 3 m/s",
        "(A) 3 m/s",
        "A - 3 m/s",
        "{A}",
        r"\text{A. } 3\text{ m/s}",
        "3 m/s",
        r"3\,\text{m/s}",
        r"\boxed{A}",
        "A: it is so",
    ],
)
def test_every_spelling_of_an_option_is_one_letter(answer):
    """Fault 11 of the reference: `A`, `A.` and `\\text{A}` were different votes."""
    assert option_letter(answer, CHOICES) == "A"


@pytest.mark.parametrize(
    "answer, letter",
    [
        ("0.5", "B"),
        (r"\frac{1}{2}", "B"),
        ("B", "B"),
        ("The cell wall.", "C"),
        ("x^{2}", "E"),
        ("D. B", "D"),
        ("A: 1/2", None),
        ("A and C", None),
        ("A, C", None),
        ("A or B", None),
        ("F", None),
        ("", None),
        ("AC", None),
        ("cell wall", "C"),
        ("A) B", None),
        ("none", None),
        ("A" * 100_000, None),
        ("{" * 2000, None),
    ],
)
def test_an_option_is_found_by_its_text_or_not_at_all(answer, letter):
    assert option_letter(answer, CHOICES) == letter


CASED = ["c/2", "c", "2c", "5 MPa", "5 mPa", "Photosynthesis", "AaBb", "aabb"]


@pytest.mark.parametrize(
    "answer, letter",
    [
        ("c", "B"),
        ("$c$", "B"),
        ("C", "C"),
        ("(c)", "C"),
        ("b", "B"),
        ("d", "D"),
        ("The answer is c", None),
        ("5 MPa", "D"),
        (r"5\,\text{mPa}", "E"),
        ("5 mpa", None),
        ("5 MPA", None),
        ("photosynthesis", "F"),
        ("Photosynthesis.", "F"),
        ("AaBb", "G"),
        ("aabb", "H"),
        ("AABB", None),
    ],
)
def test_case_matters_where_options_differ_by_it(answer, letter):
    assert option_letter(answer, CASED) == letter


def test_an_open_answer_is_its_own_vote():
    assert (
        normalise_vote(" 5 J ", []) == "5 J"
        and normalise_vote("  ", None) is None
        and normalise_vote(None, CHOICES) is None
    )


# --- near-duplicates


def test_near_duplicates_are_found_in_any_order_of_options():
    index = near_duplicates.NearDuplicates(0.7)
    text = "A train of mass 300 t accelerates from rest to 20 m/s on a level track within one minute of time. " * 2
    assert index.find(text + "\nA. 1 kW\nB. 2 MW") is None
    index.add("something else entirely, about flowers in spring and bees")
    index.add(text + "\nA. 1 kW\nB. 2 MW")
    assert index.find(text + "\nA. 2 MW\nB. 1 kW") == (1, 1.0)
    number, share = index.find(text.replace("one minute", "two minutes") + "\nA. 1 kW\nB. 2 MW")
    assert number == 1 and 0.7 <= share < 1
    assert (
        index.find(
            text.replace("train", "car")
            .replace("300", "2")
            .replace("20", "9")
            .replace("level", "steep")
            .replace("rest", "five")
            .replace("minute", "day")
            .replace("track", "road")
        )
        is None
    )
    with pytest.raises(SdgError, match="between 0.6 and 1, but is 0.3"):
        near_duplicates.NearDuplicates(0.3)


# --- the stages, with a scripted model


def ask(rows, folder, url, prompt, num_seeds=1, **more):
    return solutions.generate_solutions(
        rows,
        stage_at(folder),
        open_server=lambda: endpoint_server(url),
        model="standin",
        prompt=load_prompt(prompt),
        limits=Limits(16),
        num_seeds=num_seeds,
        sampling=Sampling(0.8, max_tokens=300),
        **more,
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(run folder, server): the stages of notebooks 01, 02 and 04, with a scripted model."""
    run = tmp_path_factory.mktemp("science")
    with StandIn(accuracy=0.7) as server:
        url = server.base_url
        plan.choose_topics(stage_at(run / "topics"), topics=["Genetics", "Stars", "Optics"], new_subtopics=3)
        ask(run / "topics/topics.jsonl", run / "expanded", url, "science/expand-topic")
        plan.plan_questions(
            run / "topics/topics.jsonl",
            stage_at(run / "assignments"),
            levels=["hard", "complex"],
            num_options=[4, 10],
            max_subtopics=3,
            expanded=run / "expanded",
        )
        ask(run / "assignments/assignments.jsonl", run / "written", url, "science/write-question", 2)
        science.read_questions(
            stage_at(run / "written"), stage_at(run / "questions"), prompt=load_prompt("science/write-question")
        )
        science.plan_variations(
            run / "questions/questions.jsonl", stage_at(run / "variations"), kinds=["new_approach", "similar"]
        )
        ask(run / "variations/variations.jsonl", run / "inspired", url, "science/augment")
        science.collect_questions(
            run / "questions/questions.jsonl",
            stage_at(run / "inspired"),
            stage_at(run / "problems"),
            prompt=load_prompt("science/augment"),
            threshold=0.7,
        )
        ask(run / "problems/problems.jsonl", run / "solutions", url, "science/solve", 5)
        yield run, server


def manifest_of(run, stage):
    return files.read_json(run / stage / "manifest.json")


def test_each_new_subtopic_is_in_the_grid_once(written):
    run, _ = written
    manifest = manifest_of(run, "assignments")
    assert manifest["new_subtopics"] == 6 and manifest["counts"]["dropped"]["repeated"] == 3
    assert manifest["assignments"] == (9 + 6) * 2 * 2


def test_every_reply_is_kept_or_dropped_with_a_reason(written):
    run, _ = written
    counts = manifest_of(run, "questions")["counts"]
    kept, dropped = (list(files.read_jsonl(run / "questions" / name)) for name in ("questions.jsonl", "dropped.jsonl"))
    assert counts["rows_in"] == 120 == len(kept) + len(dropped)
    assert Counter(row["reason"] for row in dropped) == counts["dropped"]
    assert {*counts["dropped"]} == {
        "does_not_parse",
        "fewer_options",
        "more_options",
        "repeated_options",
        "gives_its_answer_away",
    }
    assert all(len(row["options"]) in (4, 10) and row["problem"].count("\n") == len(row["options"]) + 1 for row in kept)
    assert {row["problem_type"] for row in kept} == {"multiple_choice_4", "multiple_choice_10"}
    assert not [row for row in kept if row["problem"].find("(correct)") >= 0]


def test_inspired_questions_name_their_source_and_near_duplicates_what_they_resemble(written):
    run, _ = written
    counts = manifest_of(run, "problems")["counts"]
    rows = list(files.read_jsonl(run / "problems" / "problems.jsonl"))
    assert counts["rows_in"] == 3 * manifest_of(run, "questions")["counts"]["rows_out"]
    assert counts["rows_out"] == len(rows) == len({row["id"] for row in rows})
    by_id = {row["id"]: row for row in rows}
    families = science.inspired_pairs(run / "problems", 2)
    assert len(families) == 2 and all(child["inspired_by"] == source["id"] for source, child in families)
    assert any(row["inspired_by"] in by_id and row["problem_source"] == "similar" for row in rows)
    assert counts["dropped"]["near_duplicate"] >= 1
    pairs = science.near_duplicate_pairs(run / "problems")
    assert pairs and all(pair["similarity"] >= 0.7 and pair["problem"] != pair["resembles"] for pair in pairs)


def test_copies_of_the_prompts_examples_are_dropped(tmp_path):
    prompt = load_prompt("science/write-question-few-shot")
    copy = next(turn.assistant for turn in prompt.few_shot_turns)
    rows = [("a", copy), ("b", GOOD), ("c", GOOD.replace("helium", "neon")), ("d", GOOD)]
    out = tmp_path / "written"
    out.mkdir()
    with open(out / "output-rs0.jsonl", "wb") as file:
        for name, text in rows:
            file.write(
                files.dumps(
                    {
                        "id": name,
                        "problem": "p",
                        "num_options": 4,
                        "field": "f",
                        "topic": "t",
                        "subtopic": "s",
                        "difficulty": "hard",
                        "seed": 0,
                        "generation": text,
                        "finish_reason": "stop",
                        "num_generated_tokens": 9,
                    }
                )
            )
    write_manifest(out, parameters={"model": "m"})
    manifest = science.read_questions(stage_at(out), stage_at(tmp_path / "q"), prompt=prompt)
    assert manifest["counts"]["dropped"] == {"copies_an_example": 1, "repeated": 1}
    assert {row["written_by"] for row in files.read_jsonl(tmp_path / "q" / "questions.jsonl")} == {"m"}


def test_spellings_of_an_option_vote_together(written, tmp_path):
    run, _ = written
    manifest = voting.vote(
        stage_at(run / "solutions"), run / "problems" / "problems.jsonl", stage_at(tmp_path / "v"), min_votes=3
    )
    labels = pd.read_parquet(tmp_path / "v" / "labels.parquet")
    table = pd.read_parquet(tmp_path / "v" / "verdicts.parquet")
    problems = {row["id"]: row for row in files.read_jsonl(run / "problems" / "problems.jsonl")}
    assert manifest["votes_by_how"] == {"vote": len(table)} and len(table) == 5 * len(problems)
    right = [label.expected_answer == truth(problems[label.id]) for label in labels.itertuples() if not label.reason]
    assert sum(right) / len(right) > 0.9
    kept, dropped = (list(files.read_jsonl(tmp_path / "v" / name)) for name in ("kept.jsonl", "dropped.jsonl"))
    assert len(kept) == manifest["counts"]["rows_out"] and len(kept) + len(dropped) == len(problems)
    assert {row["reason"] for row in dropped} <= {"tied", "too_few_votes", "unsure"}
    assert all(row["votes"] >= 3 and row["confidence"] >= 0.9 for row in kept)
    of_dropped = table[table["id"].isin({row["id"] for row in dropped})]
    assert of_dropped["correct"].isna().all() and len(of_dropped) == 5 * len(dropped)
    of_kept = table[~table["id"].isin({row["id"] for row in dropped})]
    assert (of_kept["correct"] == (of_kept["predicted_answer"] == of_kept["expected_answer"])).all()
    assert (
        voting.vote(
            stage_at(run / "solutions"), run / "problems" / "problems.jsonl", stage_at(tmp_path / "v"), min_votes=3
        )
        == manifest
    )


def truth(row):
    numbers = [int(word) for word in row["problem"].partition("What is ")[2].partition("?")[0].split(" + ")]
    return "ABCDEFGHIJ"[row["options"].index(str(sum(numbers)))]


CASES = [  # answers of seeds 0, 1, …; winner, votes, reason
    (["A", "A.", r"\text{A}", "B"], "A", 3, ""),
    (["B", "(A)", "a", "B."], "B", 2, "tied"),
    (["Option A", "C", "C", "A"], "A", 2, "tied"),
    ([None, None, "A and B", "Z"], "", 0, "no_votes"),
    (["A", None, None, None], "A", 1, "too_few_votes"),
    (["A", "B", "C", "one"], "A", 2, "unsure"),
    (["A", "B", "C", "D"], "A", 1, "tied"),
    (["A", None, "a", "(A)"], "A", 3, ""),  # silence is not consent, but three of four agree
]


def test_a_persons_decisions_override_the_votes(tmp_path):
    solved(tmp_path, [(case[0], ["one", "two", "three", "four"]) for case in CASES])
    decisions = tmp_path / labels_audit.FILE
    arguments = stage_at(tmp_path / "s"), tmp_path / "problems.jsonl"
    voting.vote(*arguments, stage_at(tmp_path / "v"), decisions=decisions)
    before = pd.read_parquet(tmp_path / "v" / "labels.parquet")

    def decide(place, right):
        row = before.iloc[place]
        case = labels_audit.Case(row.id, "", row.expected_answer, "voted", row.reason, row.confidence)
        labels_audit.record_choice(decisions, case, right)

    decide(0, None)  # A, which three chose
    decide(1, "A")  # tied
    decide(4, "C")  # nobody chose it
    decide(7, "A")  # as the votes do
    with pytest.raises(SdgError, match="decisions"):
        voting.vote(*arguments, stage_at(tmp_path / "v"), decisions=decisions)
    manifest = voting.vote(*arguments, stage_at(tmp_path / "w"), decisions=decisions)
    after = pd.read_parquet(tmp_path / "w" / "labels.parquet")
    changed = after.iloc[[0, 1, 4, 7]]
    assert changed["reason"].tolist() == ["rejected", "", "", ""]
    assert changed["expected_answer"].tolist()[1:] == ["A", "C", "A"] and changed["votes"].tolist()[1:] == [2, 0, 3]
    assert (changed["confidence"][1:] == 1).all() and manifest["counts"]["dropped"]["rejected"] == 1
    same = [place for place in range(len(CASES)) if place not in (0, 1, 4, 7)]
    pd.testing.assert_frame_equal(after.iloc[same], before.iloc[same])
    table = pd.read_parquet(tmp_path / "w" / "verdicts.parquet").set_index(["id", "seed"])["correct"]
    ids = before["id"]
    assert [table[ids[1], seed] for seed in range(4)] == [False, True, True, False]
    assert not any(table[ids[4], seed] for seed in range(4)) and table[ids[0]].isna().all()


def test_votes_by_the_table(tmp_path):
    """Fault 11, and the rule for ties: nobody knows which of two equal groups is right."""
    solved(tmp_path, [(case[0], ["one", "two", "three", "four"]) for case in CASES])
    manifest = voting.vote(stage_at(tmp_path / "s"), tmp_path / "problems.jsonl", stage_at(tmp_path / "v"), min_votes=2)
    labels = pd.read_parquet(tmp_path / "v" / "labels.parquet")
    assert [tuple(row) for row in labels[["expected_answer", "votes", "reason"]].itertuples(index=False)] == [
        case[1:] for case in CASES
    ]
    assert manifest["votes_by_how"] == {"vote": 24, "missing": 6, "names_no_option": 2}
    assert manifest["counts"]["dropped"] == {"no_votes": 1, "tied": 3, "too_few_votes": 1, "unsure": 1}
    assert manifest["ties"] == 3 and 0 < manifest["expected_wrong"] < 0.2
    again = voting.vote(
        stage_at(tmp_path / "s"), tmp_path / "problems.jsonl", stage_at(tmp_path / "w"), min_votes=1, min_agreement=0.7
    )
    assert again["counts"]["dropped"] == {"no_votes": 1, "tied": 3, "too_little_agreement": 2}


def test_open_questions_vote_by_value_even_without_an_opening_tag(tmp_path):
    """Fault 11: without the opening `<think>` everything was dropped."""
    solved(tmp_path, [([r"\frac{1}{2}", "0.5", "2", None, "1/2", "1/2"], [])], opening="")
    voting.vote(stage_at(tmp_path / "s"), tmp_path / "problems.jsonl", stage_at(tmp_path / "v"))
    table = pd.read_parquet(tmp_path / "v" / "verdicts.parquet")
    assert table["correct"].tolist() == [True, True, False, False, True, True]
    assert table["how"].tolist() == ["vote", "vote", "vote", "missing", "vote", "vote"]


def test_a_wrong_equation_is_no_vote(tmp_path):
    solved(tmp_path, [(["37"] * 4, []), (["27"] * 4, [])])
    for path in (tmp_path / "s").glob("output-rs*.jsonl"):
        text = path.read_bytes().split(b"\n")
        path.write_bytes(b"\n".join([text[0].replace(b"I guess", b"4 + 8 + 15 = 37,"), *text[1:]]))
    manifest = voting.vote(stage_at(tmp_path / "s"), tmp_path / "problems.jsonl", stage_at(tmp_path / "v"))
    labels = pd.read_parquet(tmp_path / "v" / "labels.parquet")
    assert labels["reason"].tolist() == ["miscalculated", ""] and labels["votes"].tolist() == [0, 4]
    assert manifest["counts"]["dropped"] == {"miscalculated": 1} and manifest["verdicts"] == {
        "right": 4,
        "undecided": 4,
    }


def test_an_error_when_no_question_is_kept(tmp_path):
    solved(tmp_path, [([None, None], ["one", "two"])])
    with pytest.raises(SdgError, match="none of the 1 questions has an answer .*no_votes.*lower MIN_VOTES"):
        voting.vote(stage_at(tmp_path / "s"), tmp_path / "problems.jsonl", stage_at(tmp_path / "v"))
    with pytest.raises(SdgError, match="min_agreement must be between 0 and 1, not 2"):
        voting.vote(stage_at(tmp_path / "s"), tmp_path / "problems.jsonl", stage_at(tmp_path / "v"), min_agreement=2)


def solved(folder, cases, opening="<think>\n"):
    """Write problems.jsonl and s/output-rs{seed}.jsonl of questions with these answers and options."""
    (folder / "s").mkdir()
    with open(folder / "problems.jsonl", "wb") as out:
        for number, (_, options) in enumerate(cases):
            out.write(files.dumps({"id": f"q{number}", "problem": f"Question {number}?", "options": options}))
    for seed in range(len(cases[0][0])):
        with open(folder / "s" / f"output-rs{seed}.jsonl", "wb") as out:
            for number, (answers, options) in enumerate(cases):
                boxed = "I do not know." if answers[seed] is None else f"It is \\boxed{{{answers[seed]}}}."
                out.write(
                    files.dumps(
                        {
                            "id": f"q{number}",
                            "problem": f"Question {number}?",
                            "options": options,
                            "seed": seed,
                            "generation": f"{opening}I guess \\boxed{{D}}\n</think>\n\n{boxed}",
                            "finish_reason": "stop",
                            "num_generated_tokens": 9,
                        }
                    )
                )
    write_manifest(folder / "s")


def test_published_rows_have_the_schema_and_provenance(tmp_path):
    labels = pd.DataFrame({"id": ["a"], "expected_answer": ["B"], "votes": [3], "seeds": [4]})
    labels.to_parquet(tmp_path / "labels.parquet")
    said = [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "<think>x</think>\\boxed{B}"}]
    keys = dict.fromkeys(open_science.PROVENANCE, "x")
    row = {"messages": said, "expected_answer": "B", **keys, "id": "a", "seed": 2}
    with open(tmp_path / "m.jsonl", "wb") as out:
        out.write(files.dumps(row))
    open_science.publish_rows(
        tmp_path / "m.jsonl",
        tmp_path / "labels.parquet",
        stage_at(tmp_path / "p"),
        card=DatasetCard("tiny", "cc0-1.0"),
        solved_by="R1",
    )
    found = next(files.read_jsonl(tmp_path / "p" / "open-science.jsonl"))
    assert list(found)[:3] == ["input", "output", "expected_answer"] and found["input"] == "Q?"
    assert [found[key] for key in ("votes", "seeds", "agreement", "seed", "solved_by")] == [3, 4, 0.75, 2, "R1"]
    for folder in (tmp_path / "p", tmp_path / "p" / "parquet"):
        data = load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache" / folder.name))
        assert data.to_list() == [found] and data.features["seed"] == data.features["votes"] == Value("int64")
    with open(tmp_path / "bad.jsonl", "wb") as out:
        out.write(files.dumps({**row, "id": "b"}))
    with pytest.raises(SdgError, match="'b' has no vote"):
        open_science.publish_rows(
            tmp_path / "bad.jsonl",
            tmp_path / "labels.parquet",
            stage_at(tmp_path / "b"),
            card=DatasetCard("tiny", "cc0-1.0"),
            solved_by="R1",
        )
