"""Stage 05: a problem that no solution matched gets the answer that most of its solutions agree on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from sdg_helpers import files
from sdg_helpers.answers.equality import RULES, canonical
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.verdicts import read_batches
from sdg_helpers.stages import Stage, Work


def relabel_with_majority(
    verdicts: Path, problems: Path, stage: Stage, *, min_votes: int = 1, min_agreement: float = 0.0
) -> dict[str, Any]:
    """Write labels.parquet: id, expected_answer, original_expected_answer, relabeled, votes, total, agreement.

    Only problems without one correct verdict are relabeled; one with an undecided answer keeps its label, which that
    answer may match. The solutions of a problem vote with their answers; equal answers (1/2 and 0.5) vote together, a
    missing answer does not vote. Most votes win; of equally many, the answer that the lowest seed gave. votes: the
    winner's; total: all; agreement: votes / total (NaN without votes). The winner's most frequent spelling becomes the
    label. The defaults are the rule of OpenMathReasoning (arXiv 2504.16891): any plurality. Returns the manifest.
    """
    if min_votes < 1 or not 0 <= min_agreement <= 1:
        raise SdgError(
            f"expected min_votes of 1 or more and min_agreement from 0 to 1, found {min_votes} and {min_agreement}."
        )
    parameters = {"min_votes": min_votes, "min_agreement": min_agreement, "equality_rules": RULES}
    with stage.work(parameters, {"verdicts": verdicts, "problems": problems}) as work:
        return work.manifest if work.done else _relabel(work, verdicts, problems, min_votes, min_agreement)


def _relabel(work: Work, verdicts: Path, problems: Path, min_votes: int, min_agreement: float) -> dict[str, Any]:
    labels = pd.DataFrame(
        ((row["id"], row["expected_answer"]) for row in files.read_jsonl(problems)),
        columns=["id", "original_expected_answer"],
        dtype="str",
    )
    votes, solved, undecided = _read_votes(verdicts, pd.Index(labels["id"]), problems)
    unsolved = ~solved & ~undecided
    labels = labels.join(count_votes(votes))
    enough = (labels["votes"] >= min_votes) & (labels["votes"] >= min_agreement * labels["total"])
    same = labels["answer"].fillna("").map(canonical) == labels["original_expected_answer"].map(canonical)
    labels["relabeled"] = unsolved & enough & ~same
    labels["expected_answer"] = labels["answer"].where(labels["relabeled"], labels["original_expected_answer"])
    labels[["votes", "total"]] = labels[["votes", "total"]].fillna(0).astype("int32")
    labels["agreement"] = (labels["votes"] / labels["total"]).astype("float32")
    with files.atomic_writer(work.folder / "labels.parquet") as out:
        labels[
            ["id", "expected_answer", "original_expected_answer", "relabeled", "votes", "total", "agreement"]
        ].to_parquet(out, index=False)
    voted = labels["total"] > 0
    return work.finish(
        rows_in=len(labels),
        rows_out=len(labels),
        outputs=[work.folder / "labels.parquet"],
        problems={
            "solved": int(solved.sum()),
            "relabeled": int(labels["relabeled"].sum()),
            "unsolved_but_undecided": int((undecided & ~solved).sum()),
            "unsolved_without_votes": int((unsolved & ~voted).sum()),
            "unsolved_too_few_votes": int((unsolved & voted & ~enough).sum()),
            "unsolved_but_the_majority_is_the_old_answer": int((unsolved & voted & enough & same).sum()),
        },
    )


def _read_votes(verdicts: Path, known: pd.Index, problems: Path) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """(votes as count_votes takes them, which problems are solved, which have an answer without a verdict), read batch
    by batch: a spelling is held once."""
    (solved, undecided), spellings = np.zeros((2, len(known)), dtype=bool), {}
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for batch in read_batches(verdicts, ["id", "seed", "predicted_answer", "correct"]):
        ids, seeds, answers, correct = batch.columns
        positions = known.get_indexer(ids.to_pandas()).astype(np.int32)
        if (positions < 0).any():
            raise SdgError(
                f"{verdicts}: expected verdicts on the problems of {problems}, found the id "
                f"{ids[int(np.argmax(positions < 0))].as_py()!r}. Give the files of one run."
            )
        solved[positions[correct.fill_null(False).to_numpy(zero_copy_only=False)]] = True
        there = pc.not_equal(answers.cast("string"), "").fill_null(False).to_numpy(zero_copy_only=False)
        undecided[positions[there & correct.is_null().to_numpy(zero_copy_only=False)]] = True
        answers = answers.dictionary_encode()
        codes = np.array(
            [spellings.setdefault(one, len(spellings)) for one in answers.dictionary.to_pylist()], dtype=np.int32
        )
        chosen = answers.indices.fill_null(0).to_numpy()[there]
        parts.append((positions[there], seeds.to_numpy()[there], codes[chosen] if len(codes) else chosen))
    problem, seed, code = map(np.concatenate, zip((np.zeros(0, np.int32),) * 3, *parts, strict=True))
    texts = np.array(list(spellings), dtype=object)
    return pd.DataFrame({"problem": problem, "seed": seed, "predicted_answer": texts[code]}), solved, undecided


def count_votes(table: pd.DataFrame) -> pd.DataFrame:
    """The winner of every problem that has a vote. table: problem (int), seed, predicted_answer (null: no vote).

    Returns a frame indexed by problem: answer (the winner's spelling), votes, total, tied (whether another answer had
    as many votes).
    """
    votes = table.loc[table["predicted_answer"].fillna("") != "", ["problem", "seed", "predicted_answer"]]
    spelling, spellings = pd.factorize(votes["predicted_answer"])
    candidate, _ = pd.factorize(np.array([canonical(text) for text in spellings], dtype=object))
    votes = pd.DataFrame(
        {
            "problem": votes["problem"].to_numpy(),
            "seed": votes["seed"].to_numpy(),
            "spelling": spelling,
            "candidate": candidate[spelling] if len(votes) else spelling,
        }
    )
    won = _most_frequent(votes, "candidate")
    total = votes.groupby("problem").size()
    of_winner = votes[votes["candidate"].to_numpy() == won["candidate"].reindex(votes["problem"]).to_numpy()]
    written = _most_frequent(of_winner, "spelling")
    return pd.DataFrame(
        {
            "answer": pd.Series(spellings[written["spelling"]], index=written.index, dtype="str"),
            "votes": won["count"],
            "total": total,
            "tied": won["tied"],
        }
    )


def _most_frequent(votes: pd.DataFrame, what: str) -> pd.DataFrame:
    """For each problem its most frequent value of a column, the count, and whether it is tied; of equally many, the
    lowest seed's."""
    groups = votes.groupby(["problem", what], sort=False)["seed"].agg(["size", "min"]).reset_index()
    groups = groups.iloc[np.lexsort((groups["min"], -groups["size"], groups["problem"]))]
    groups["tied"] = (groups[["problem", "size"]] == groups[["problem", "size"]].shift(-1)).all(axis=1)
    best = groups.drop_duplicates("problem").set_index("problem")
    return best.rename(columns={"size": "count"})[[what, "count", "tied"]]
