"""A private Slurm for the tests that need a cluster: one a process. They skip, with the reason, without it."""

import os
from pathlib import Path

import pytest

from tests.helpers.private_slurm import PrivateSlurm, why_not


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
