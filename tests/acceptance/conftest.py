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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out scenarios on rigs that are not theirs."""
    elsewhere = [item for item in items if (found := _scenario_of(item)) and _rig_of(item) not in found.rigs]
    config.hook.pytest_deselected(items=elsewhere)
    items[:] = [item for item in items if item not in elsewhere]


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
    return [found for item in session.items if (found := _scenario_of(item)) and _rig_of(item) is rig]


def _scenario_of(item: pytest.Item) -> Scenario | None:
    found: Scenario | None = getattr(getattr(item, "function", None), "scenario", None)
    return found


def _rig_of(item: pytest.Item) -> Rig:
    rig: Rig = item.callspec.params["outcomes"]  # type: ignore[attr-defined]  # pytest declares it nowhere
    return rig
