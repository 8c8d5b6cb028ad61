"""Fixtures that all tests on a real control plane share."""

from __future__ import annotations

import pytest
import trio

from tests.e2e.comparison import Outcome
from tests.e2e.control_plane.session import SessionCluster
from tests.e2e.fault_rig import play_without_faults
from tests.integration.operator_cluster import install_on


@pytest.fixture(scope="session")
def furnished(real_cluster: SessionCluster) -> SessionCluster:
    """The real cluster with our definitions installed."""
    trio.run(install_on, real_cluster)
    return real_cluster


@pytest.fixture(scope="session")
def steerable(furnished: SessionCluster) -> SessionCluster:
    """The same cluster. Tests may use its etcd and its keys."""
    if furnished.ready is None:
        pytest.skip("needs a control plane of our own")
    return furnished


@pytest.fixture(scope="session")
def faultless(steerable: SessionCluster, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The outcome of the work of the fault tests when there is no fault."""
    return trio.run(play_without_faults, steerable, tmp_path_factory.mktemp("faultless"))
