"""SGLang's own environment, and a model small enough for it on a CPU. `make test-sglang` says where the former is."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from sdg_helpers.cluster import ranks
from sdg_helpers.serving.server_specs import SglangSpec

HERE = Path(__file__).resolve().parent
# what SGLang must be told on a machine without a GPU
ON_CPU = [
    "--device",
    "cpu",
    "--attention-backend",
    "torch_native",
    "--sampling-backend",
    "pytorch",
    "--cuda-graph-backend-decode=disabled",
    "--cuda-graph-backend-prefill=disabled",
    "--skip-server-warmup",
    "--max-total-tokens",
    "8192",
    "--decode-log-interval",
    "1",
]
VARIABLES = {"SGLANG_USE_CPU_ENGINE": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
TWO_CORES = {"SGLANG_CPU_OMP_THREADS_BIND": "0|1"}  # one for each of two ranks, or of two servers


def pytest_collection_modifyitems(items):
    if not os.environ.get("SDG_TEST_SGLANG"):
        for item in items:
            if item.path.is_relative_to(HERE):
                item.add_marker(pytest.mark.skip(reason="needs SGLang's environment: make test-sglang"))


@pytest.fixture(scope="session")
def python():
    """The interpreter of SGLang's environment."""
    return str(Path(os.environ["SDG_TEST_SGLANG"]).absolute() / "bin" / "python")


@pytest.fixture(scope="session")
def tiny(python):
    """The folder of a model that adds digits."""
    return trained(python, "qwen2")


@pytest.fixture(scope="session")
def tiny_deepseek(python):
    """The same with DeepSeek's latent attention and experts."""
    return trained(python, "deepseek_v3")


def trained(python, kind):
    """Return a model's folder; it is made once for the environment."""
    script = HERE / "tiny_model.py"
    folder = Path(python).parent.parent / f"{kind}-{hashlib.sha256(script.read_bytes()).hexdigest()[:12]}"
    if not (folder / "model.safetensors").exists():
        subprocess.run([python, script, folder, kind], check=True)
    return folder


@pytest.fixture
def spec(python, tiny):
    """Settings of a server of that model; further ones by name."""

    def make(**more):
        environment = VARIABLES | (TWO_CORES if 2 in (more.get("tp_size"), more.get("num_servers")) else {})
        given = {
            "engine": "sglang",
            "model": str(tiny),
            "served_model_name": "adder",
            "python": python,
            "context_length": 2048,
            "mem_fraction_static": 0.1,
            "extra_args": ON_CPU,
            "environment": environment,
            "canary_question": "3+4=?",
            "canary_expects": r"boxed\{7\}",
            "start_deadline_s": 1200,
            "check_every_s": 15,
            "max_misses": 2,
            **more,
        }
        return SglangSpec(**given)

    return make


@pytest.fixture(autouse=True)
def alone():
    """Every test begins outside of a job."""
    ranks._group = None
    yield
    ranks._group = None
