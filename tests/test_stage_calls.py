"""Whether a stage needs a job: only when its function has something to do, and nothing is changed by asking."""

import cloudpickle
import pytest

from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.errors import SdgError
from sdg_helpers.problems import download_problems
from sdg_helpers.runs.stage_calls import _is_finished, call_stage
from sdg_helpers.sft import ChatTemplate
from sdg_helpers.stages import Unfinished, only_if_finished
from tests.helpers.stages import stage_at
from tests.helpers.tokenizers import CHATML, build_tokenizer


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(f'{{"problem": "{number} + 1", "answer": "{number + 1}"}}\n' for number in range(5)))
    return path


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_a_finished_stage_needs_no_job(tmp_path, source):
    stage = stage_at(tmp_path / "problems")

    def work(**changes):
        return download_problems(stage, **{"source": str(source), "max_problems": 3, **changes})

    assert not _is_finished(work) and files_of(stage.folder) == {}
    manifest = work()
    before = files_of(stage.folder)
    assert _is_finished(work)
    assert not _is_finished(lambda: work(max_problems=4))  # it is to grow
    with pytest.raises(SdgError, match="was finished with other settings"):
        _is_finished(lambda: work(drop_types=["other"]))
    assert files_of(stage.folder) == before
    with only_if_finished():
        assert work() == manifest
    assert work(max_problems=4)["counts"]["rows_out"] == 4


def test_an_interrupted_stage_needs_a_job(tmp_path, source):
    stage = stage_at(tmp_path / "problems")
    with pytest.raises(KeyboardInterrupt), stage.work({"a": 1}, {"source": source}):
        raise KeyboardInterrupt
    with pytest.raises(Unfinished), only_if_finished(), stage.work({"a": 1}, {"source": source}):
        pass


@pytest.mark.parametrize("hub", [False, True])
def test_a_chat_template_that_has_been_used_travels_to_a_job(tmp_path, hub):
    source = (CHATML / "chat_template.jinja").read_text()
    template = ChatTemplate(build_tokenizer(tmp_path / "tokenizer", source) if hub else "chatml")
    assert template.end == "<|im_end|>"
    again = cloudpickle.loads(cloudpickle.dumps(template))
    assert (again.id, again.end, again.special) == (template.id, template.end, template.special)


def test_a_download_that_fails_in_a_job_says_how_to_stay_on_the_login_node(tmp_path, monkeypatch):
    def refuse(*words):
        raise SdgError("1 of 1 jobs failed: the hub cannot be reached.")

    monkeypatch.setattr("sdg_helpers.cluster.run_one", refuse)
    stage = stage_at(tmp_path / "problems")
    with pytest.raises(SdgError, match="cannot be reached.\n.*jobs: download: {where: local}.*without --submit"):
        call_stage("download", JobSpec(where="slurm"), stage, dict)
    with pytest.raises(SdgError, match="cannot be reached.$"):
        call_stage("cpu", JobSpec(where="slurm"), stage, dict)
