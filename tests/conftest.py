"""Which control plane tests run against: the embedded one, or with ``--control-plane real`` a real one.

A test that uses the fixture ``control_plane`` runs on either. With the real one, tests below ``tests/integration`` are
left out that do not use it, or that prove nothing more there (``tests/integration/only_embedded.py``). One real control
plane serves the whole session (docs/testing-on-a-real-cluster.md).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.integration.only_embedded import why_only_embedded
from tools.control_plane.session import SessionCluster, running_cluster

INTEGRATION = Path(__file__).parent / "integration"
EMBEDDED, REAL = "localcluster", "real"

# A busy machine is not a defect: no deadline, and no complaint that it draws examples slowly.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    help_text = "the API server and controllers that integration tests run against"
    parser.addoption("--control-plane", choices=(EMBEDDED, REAL), default=EMBEDDED, help=help_text)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "control_plane" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("control_plane")
        metafunc.parametrize("control_plane", [chosen], indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("control_plane") == EMBEDDED:
        return
    bound = [item for item in items if INTEGRATION in item.path.parents and not _runs_on_real(item)]
    config.hook.pytest_deselected(items=bound)
    items[:] = [item for item in items if item not in bound]


def _runs_on_real(item: pytest.Item) -> bool:
    takes_control_plane = "control_plane" in getattr(item, "fixturenames", ())
    function = getattr(item, "originalname", item.name)
    return takes_control_plane and why_only_embedded(item.path.stem, function) is None


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest) -> SessionCluster | None:
    """The real cluster. None means that the test opens an embedded one."""
    if request.param == EMBEDDED:
        return None
    cluster: SessionCluster = request.getfixturevalue("real_cluster")
    return cluster


@pytest.fixture(scope="session")
def real_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionCluster]:
    """A real control plane for all tests of the session, or the cluster of ``BOBRAPET_E2E_KUBECONFIG``."""
    with running_cluster(tmp_path_factory.mktemp("control-plane")) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Restore logging. A command in this process changes handlers and levels, and the next test has its own."""
    loggers = [logging.getLogger(name) for name in ("", "bobrapet")]
    before = [(logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers
