"""How tests are marked and spread over processes, and the private Slurm."""

import os
import signal
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.helpers.private_slurm import PrivateSlurm, why_not

CLUSTER_FIXTURES = {"slurm", "accounting", "dusk"}
CLUSTER_FILES = "tests/cluster/"
LONG_FILES = (
    "tests/test_sharding.py",
    "tests/test_supervision.py",
    "tests/test_notebooks_runner.py",
    "tests/test_leases.py",
    "tests/test_completions.py",
    "tests/test_sandbox.py",
    "tests/test_budgets.py",
    "tests/test_batches.py",
    "tests/test_continuing.py",
)


def pytest_configure(config):
    """Take interrupts as usual, also where a shell started us in the background and made them ignored: our children
    would ignore them too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark the tests that need a cluster. Start the longest files first, so that no process ends long after the others:
    the cluster's, then runs of whole tracks, then LONG_FILES."""
    for item in items:
        if CLUSTER_FIXTURES.intersection(item.fixturenames):
            item.add_marker(pytest.mark.cluster)
    items.sort(
        key=lambda item: (
            not item.nodeid.startswith(CLUSTER_FILES),
            "chain" not in item.fixturenames,
            not item.nodeid.startswith(LONG_FILES),
        )
    )


class ByFile(LoadScopeScheduling):
    """Run each file in one process, so that its tests share what its fixtures start. All files of the cluster run in
    the same process, with one private Slurm."""

    def _split_scope(self, nodeid: str) -> str:
        return CLUSTER_FILES if nodeid.startswith(CLUSTER_FILES) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config, log):
    config.option.loadscopereorder = False  # keep our order
    return ByFile(config, log)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """The cluster; while it runs, SLURM_CONF names its configuration."""
    if reason := why_not():
        pytest.skip(reason)
    cluster = PrivateSlurm(tmp_path_factory.mktemp("slurm")).start()
    before = dict(os.environ)
    os.environ["SLURM_CONF"] = str(cluster.conf)
    yield cluster
    os.environ.clear()
    os.environ.update(before)
    cluster.stop()


@pytest.fixture
def stage(slurm, tmp_path) -> Path:
    """Return a stage's folder in a run."""
    folder = tmp_path / "run" / "math" / "solutions"
    folder.mkdir(parents=True)
    return folder
