"""Stage 05: give every problem a label that is probably right, or none: keep, relabel, or leave undecided."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sdg_helpers import files
from sdg_helpers.answers.arithmetic import WRONG_EQUATION_RULES
from sdg_helpers.answers.equality import RULES
from sdg_helpers.audit.labels import apply_decisions
from sdg_helpers.labels.ballots import Ballots, Ints, read_ballots
from sdg_helpers.labels.calibration import compare_rules, majority_curve
from sdg_helpers.labels.deciding import Facts, decide_labels, discount_wrong_arithmetic, label_table
from sdg_helpers.labels.model import Confidence, LabelModel
from sdg_helpers.labels.rules import REASONS, RelabelRule
from sdg_helpers.labels.votes import count_votes, depend_on_problem, group_ballots
from sdg_helpers.problems.problem_file import read_texts
from sdg_helpers.stages import Stage, Work

RULES_COMPARED = ("never", "majority", "confidence")
_TYPES = {"id": "str", "original_expected_answer": "str", "conflicting": "bool"}
_BATCH = 1 << 14  # problems read at a time


def relabel_problems(
    verdicts: Path,
    problems: Path,
    stage: Stage,
    rule: RelabelRule | None = None,
    solutions: Path | None = None,
    decisions: Path | None = None,
    first_round: int | None = None,
) -> dict[str, Any]:
    """Write labels.parquet, one row per problem, in the order of `problems`, with the columns of COLUMNS.

    votes: of the label in use (of the majority, where the label is undecided); seeds: solutions asked for; agreement:
    votes / seeds, so that silence is not consent; tied: whether another answer has as many votes as the majority;
    confidence: probability that the label is right (see labels.model). Of an undecided problem expected_answer is the
    reference; nothing exports it. solutions: the folder in which majorities that would replace a reference are checked
    for wrong equations; None: they are not. decisions: a person's decisions on labels (see audit.labels), which
    override the rule; a file that does not exist is ignored. first_round: solutions of round one of adaptive sampling,
    to which the model is fitted; None: to all solutions. Returns the manifest: decisions and reasons, the fitted
    model, the calibration curve, and what each rule would have changed.
    """
    rule = rule or RelabelRule()
    parameters = {**vars(rule), "equality_rules": RULES, "arithmetic_rules": solutions and WRONG_EQUATION_RULES}
    parameters |= {} if first_round is None else {"first_round": first_round}
    inputs = {"verdicts": verdicts, "problems": problems}
    decided = decisions if decisions is not None and decisions.exists() else None
    with stage.work(parameters, {**inputs, **({"decisions": decided} if decided else {})}) as work:
        return work.manifest if work.done else _relabel(work, verdicts, problems, rule, solutions, decided, first_round)


def _relabel(
    work: Work,
    verdicts: Path,
    problems: Path,
    rule: RelabelRule,
    solutions: Path | None,
    decisions: Path | None,
    first_round: int | None,
) -> dict[str, Any]:
    facts, found = _gather_facts(verdicts, problems, rule, solutions, first_round)
    labels = label_table(facts, decide_labels(facts, rule))
    apply_decisions(labels, decisions)
    with files.atomic_writer(work.folder / "labels.parquet") as out:
        labels.to_parquet(out, index=False)
    reasons = labels["reason"].value_counts()
    return work.finish(
        rows_in=len(labels),
        rows_out=len(labels),
        outputs=[work.folder / "labels.parquet"],
        problems={one: int((labels["decision"] == one).sum()) for one in ("keep", "relabel", "undecided")},
        reasons={reason: int(reasons[reason]) for reason in REASONS if reason in reasons},
        **found,
        rules=compare_rules((one, decide_labels(facts, RelabelRule(one))) for one in RULES_COMPARED),
    )


def _gather_facts(
    verdicts: Path, problems: Path, rule: RelabelRule, solutions: Path | None, first_round: int | None
) -> tuple[Facts, dict[str, Any]]:
    """Return the facts, and what the manifest says of the model; the ballots, which are large, are not kept."""
    table = _read_references(problems)
    ballots, seeds, unjudged = read_ballots(verdicts, table["id"], problems)
    groups = group_ballots(ballots, read_texts(problems, depend_on_problem(ballots).tolist()))
    tally = count_votes(ballots, groups, seeds)
    has_reference = (table["original_expected_answer"] != "").to_numpy() & ~table["conflicting"].to_numpy()
    unjudged &= has_reference  # without a reference there is nothing to match
    patterns, index, counts = tally.patterns(has_reference)
    fitted = (patterns, counts)
    if first_round is not None:
        fit_to = _solutions_to_fit(ballots, groups, seeds, first_round)
        rows = ballots.seed < fit_to[ballots.problem]
        fitted = count_votes(ballots.choose(rows), groups[rows], fit_to).patterns(has_reference)[::2]
    model = LabelModel.fit(dict(zip(fitted[0], fitted[1].tolist(), strict=True)))
    confidence = np.array([model.confidence(votes) for votes in patterns]).reshape(-1, len(Confidence._fields))[index]
    facts = Facts(
        tally, tally.largest.copy(), has_reference, table["conflicting"].to_numpy(), unjudged, confidence,
        model.plausible, table,
    )  # fmt: skip
    if solutions is not None:
        discount_wrong_arithmetic(facts, rule, model, ballots, groups, solutions)
    return facts, {"model": model.summary(), "calibration": majority_curve(model, *fitted)}


def _solutions_to_fit(ballots: Ballots, groups: Ints, seeds: Ints, first: int) -> Ints:
    """Return to how many solutions of each problem the model is fitted, where round one of sampling had `first`.

    A problem stops when enough of its solutions match the reference, so its number of solutions depends on the
    reference, and the fit would be wrong. Free of that are the solutions of round one, and half as many of round two
    where the first answers are not unanimous, if all of these problems have them.
    """
    some, more = (np.minimum(seeds, number).astype(np.int32) for number in (first, first + first // 2))
    rows = ballots.seed < first
    unanimous = count_votes(ballots.choose(rows), groups[rows], some).largest == some
    complete = (seeds[~unanimous] >= first + first // 2).all()
    return np.where(unanimous, some, more) if complete else some


def _read_references(problems: Path) -> pd.DataFrame:
    """Return id, original_expected_answer and whether the sources conflict, of every problem."""
    rows = ((row["id"], row["expected_answer"], "conflicting_answers" in row) for row in files.read_jsonl(problems))
    parts = []
    while batch := list(islice(rows, _BATCH)):  # rows of Python objects take several times the memory of the columns
        parts.append(pa.Table.from_pandas(pd.DataFrame(batch, columns=list(_TYPES), dtype=object).astype(_TYPES)))
    if not parts:
        return pd.DataFrame(columns=list(_TYPES)).astype(_TYPES)
    return pa.concat_tables(parts).combine_chunks().to_pandas(ignore_metadata=True).astype(_TYPES)
