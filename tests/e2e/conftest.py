"""What all tests on a real control plane share."""

from __future__ import annotations

import pytest
import trio
from operator_cluster import install_on

from control_plane.session import SessionCluster


@pytest.fixture(scope="session")
def furnished(real_cluster: SessionCluster) -> SessionCluster:
    """The real cluster with our definitions in it."""
    trio.run(install_on, real_cluster)
    return real_cluster
