"""The private Slurm: one for all tests of a process. Tests that use it are marked, and skip where it cannot start."""

import os
from pathlib import Path

import pytest

from tests.helpers.private_slurm import PrivateSlurm, why_not

CLUSTER_FIXTURES = {"slurm", "accounting"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark the tests that need a cluster, and keep them in one process, so that one private Slurm serves them all."""
    for item in items:
        if CLUSTER_FIXTURES.intersection(item.fixturenames):
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.xdist_group("cluster"))


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """The cluster; its configuration is in the environment of this process meanwhile."""
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
    """A stage's folder in a run."""
    folder = tmp_path / "run" / "math" / "solutions"
    folder.mkdir(parents=True)
    return folder
