"""The rigs of scenarios: model and embedded cluster, or a real one with ``--control-plane real``."""

from __future__ import annotations

import pytest
import trio

from tests.acceptance.acceptance_stand import Outcomes, Rig, Scenario
from tests.acceptance.cluster_stand import ClusterOutcomes
from tests.acceptance.model_stand import ModelOutcomes
from tests.integration.operator_cluster import install_on

_RIGS = {"localcluster": (Rig.MODEL, Rig.LOCALCLUSTER), "real": (Rig.REAL,)}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    scenario: Scenario | None = getattr(metafunc.function, "scenario", None)
    if scenario is None:
        return
    rigs = [pytest.param(rig, id=rig) for rig in _RIGS[metafunc.config.getoption("control_plane")]]
    metafunc.parametrize("outcomes", rigs, indirect=True, scope="session")


@pytest.fixture(scope="session")
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """The outcomes of the chosen scenarios on a rig."""
    rig: Rig = request.param
    if rig is Rig.MODEL:
        return ModelOutcomes()
    real = None
    if rig is Rig.REAL:
        real = request.getfixturevalue("real_cluster")
        if real.ready is None:
            pytest.skip("needs a cluster without nodes: the ends of Pods are reported by the test")
        trio.run(install_on, real)
    return ClusterOutcomes(rig, _chosen(request.session, rig), real, tmp_path_factory.mktemp("acceptance"))


def _chosen(session: pytest.Session, rig: Rig) -> list[Scenario]:
    """The scenarios that this session runs on the rig."""
    chosen: list[Scenario] = []
    for item in session.items:
        scenario: Scenario | None = getattr(getattr(item, "function", None), "scenario", None)
        if scenario is not None and item.callspec.params["outcomes"] is rig:  # type: ignore[attr-defined]  # pytest declares it nowhere
            chosen.append(scenario)
    return chosen
