"""The tracks and their stages: the one place that lists the name, notebook and inputs of every stage."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StageInfo:
    """One stage. name: also its folder's; notebook: the one that runs it; needs: the stages that it reads."""

    name: str
    notebook: str
    needs: tuple[str, ...] = ()


# A track's stages are in the order in which its notebooks run them.
STAGES: dict[str, tuple[StageInfo, ...]] = {
    "math": (
        StageInfo("problems", "math/01_download_problems"),
        StageInfo(
            "checkpoint", "math/02_shard_checkpoint"
        ),  # no other stage depends on it: sharding does not change the model
        StageInfo("solutions", "math/03_generate_solutions", ("problems",)),
        StageInfo("judged", "math/04_judge_solutions", ("solutions",)),
        StageInfo("relabeled", "math/05_relabel_with_majority", ("judged",)),
        StageInfo("rejudged", "math/06_rejudge_solutions", ("relabeled",)),
        StageInfo("sft", "math/07_export_sft", ("rejudged",)),
        StageInfo("genselect_comparisons", "math/08_build_genselect", ("rejudged",)),
        StageInfo("genselect_solutions", "math/08_build_genselect", ("genselect_comparisons",)),
        StageInfo("genselect_picks", "math/08_build_genselect", ("genselect_solutions",)),
        StageInfo("genselect_sft", "math/08_build_genselect", ("genselect_picks",)),
    ),
    "science": (
        StageInfo("topics", "science/01_write_questions"),
        StageInfo("expanded", "science/01_write_questions", ("topics",)),
        StageInfo("assignments", "science/01_write_questions", ("topics", "expanded")),
        StageInfo("written", "science/01_write_questions", ("assignments",)),
        StageInfo("questions", "science/01_write_questions", ("written",)),
        StageInfo("variations", "science/02_augment_questions", ("questions",)),
        StageInfo("inspired", "science/02_augment_questions", ("variations",)),
        StageInfo("problems", "science/02_augment_questions", ("questions", "inspired")),
        StageInfo("candidates", "science/03_decontaminate", ("problems",)),
        StageInfo("compared", "science/03_decontaminate", ("candidates",)),
        StageInfo("clean", "science/03_decontaminate", ("candidates", "compared")),
        StageInfo("solutions", "science/04_solve_questions", ("clean",)),
        StageInfo("voted", "science/05_vote_and_export", ("solutions",)),
        StageInfo("sft", "science/05_vote_and_export", ("voted",)),
        StageInfo("published", "science/05_vote_and_export", ("sft",)),
    ),
    "code": (
        StageInfo("problems", "code/01_prepare_questions"),
        StageInfo("solutions", "code/02_generate_solutions", ("problems",)),
        StageInfo("filtered", "code/03_filter_solutions", ("solutions",)),
        StageInfo("checked", "code/04_check_by_running", ("filtered",)),
        StageInfo("sft", "code/05_export_sft", ("checked",)),
    ),
}
