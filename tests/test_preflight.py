"""What a job checks about its node before it loads a model, with a stand-in for nvidia-smi."""

import os

import pytest

from sdg_helpers.cluster import node_check, preflight
from sdg_helpers.cluster.preflight import UnfitNode, check_this_node, find_folder_fault, find_gpu_fault
from sdg_helpers.locks import Lock

H100 = "81559, 4"


@pytest.fixture
def gpus(tmp_path, monkeypatch):
    """Let nvidia-smi say these lines, from its second call on the second ones."""
    monkeypatch.setattr(preflight, "_POLL_S", 0.01)
    monkeypatch.setenv("SLURMD_NODENAME", "n7")
    (tmp_path / "bin").mkdir()

    def say(*answers, code=0):
        for number, lines in enumerate(answers):
            (tmp_path / "bin" / f"{number}").write_text("\n".join(lines) + "\n")
        choose = '[ -s 1 ] && [ "$(wc -l <asked)" -gt 1 ] && cat 1 || cat 0'
        script = f'#!/bin/sh\ncd {tmp_path}/bin\necho "$@" >>asked\n{choose}\nexit {code}\n'
        (tmp_path / "bin" / "nvidia-smi").write_text(script)
        (tmp_path / "bin" / "nvidia-smi").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=os.pathsep)
        return tmp_path / "bin" / "asked"

    return say


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ([H100] * 8, ""),
        ([H100] * 9, ""),  # a node without cgroups lists all of its GPUs
        ([H100] * 7, "nvidia-smi lists 7 GPUs, but gpus_per_node is 8"),
        ([H100] * 7 + ["40960, 4"], "GPU 7 has 43 GB of memory, but gpu_memory_gb is 80"),
        ([H100] * 3 + ["81559, 70000"] + [H100] * 4, "other processes use 73 of 86 GB of GPU 3"),
        (["[N/A], [N/A]"] * 8, ""),  # GPU and processor share their memory
        ([H100] * 7 + ["Unknown Error"], "nvidia-smi failed: not enough values to unpack (expected 2, got 1)"),
    ],
)
def test_gpus_are_those_of_the_profile(gpus, lines, fault):
    gpus(lines)
    assert find_gpu_fault(8, 80, wait_s=0) == fault


def test_a_driver_that_does_not_answer_is_a_fault(gpus):
    gpus(["NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."], code=9)
    assert find_gpu_fault(8).startswith("nvidia-smi failed: exit code 9, NVIDIA-SMI has failed because")


def test_memory_of_processes_that_are_ending_is_waited_for(gpus):
    gpus(["81559, 70000"], [H100])
    assert find_gpu_fault(1) == ""


def test_only_the_job_s_own_gpus_are_asked_about(gpus, monkeypatch):
    asked = gpus([H100])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert find_gpu_fault(1) == "" and "--id=3" in asked.read_text()


def test_a_node_without_nvidia_smi_is_not_judged(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_gpu_fault(8, 80) == ""


def test_an_unfit_node_is_named_in_one_line(gpus, tmp_path, monkeypatch):
    gpus([H100] * 2)
    monkeypatch.setenv(preflight.GPUS, "3")
    with pytest.raises(UnfitNode) as error:
        check_this_node(tmp_path)
    assert str(error.value) == "node n7 cannot do this job: nvidia-smi lists 2 GPUs, but gpus_per_node is 3"
    monkeypatch.setenv(preflight.GPUS, "2")
    check_this_node(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]  # the probe is gone


def test_a_folder_in_which_a_node_cannot_write_is_a_fault(tmp_path):
    assert find_folder_fault(tmp_path) == ""
    fault = find_folder_fault(tmp_path / "lost")
    assert "lost" in fault and "\n" not in fault


def test_a_lock_that_stays_on_its_node_is_red(tmp_path):
    assert node_check._inspect_folder(tmp_path)["ok"] is False
    with Lock(tmp_path / node_check._LOCK, "a check"):
        assert node_check._inspect_folder(tmp_path)["ok"] is True
