"""Fixtures that all tests on a real control plane share."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from tests.e2e.comparison import Outcome
from tests.e2e.fault_rig import play_without_faults
from tests.e2e.go_sdk_rig import VERSIONS, go_engram
from tests.e2e.object_store.gateway import Gateway, open_gateway
from tests.e2e.operator_rig import OperatorRig, open_operator_rig
from tests.integration.operator_cluster import install_on
from tools.control_plane.binaries import MissingBinariesError, ensure_tool, find_go
from tools.control_plane.session import SessionCluster

ENGRAMS = Path(__file__).parent / "engrams"


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


@pytest.fixture
async def rig(tmp_path: Path, pytestconfig: pytest.Config) -> AsyncIterator[OperatorRig]:
    """An operator's surroundings on a control plane of its own, whose audit log contains only this test."""
    if pytestconfig.getoption("control_plane") != "real":
        pytest.skip("needs a real control plane: --control-plane real")
    async with open_operator_rig(tmp_path) as opened:
        yield opened


@pytest.fixture
async def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    """An object store that speaks S3 by HTTPS; programs of the test trust its certificate."""
    try:
        ensure_tool("versitygw")
    except MissingBinariesError as error:
        pytest.skip(str(error))
    async with open_gateway(tmp_path) as opened:
        monkeypatch.setenv("SSL_CERT_FILE", str(opened.authority.ca_file))
        yield opened


@pytest.fixture(scope="session")
def mounts() -> None:
    """The node can give containers mount namespaces."""
    unshare = shutil.which("unshare")
    tried = [str(unshare), "--mount", "--user", "--map-root-user", "true"]
    if unshare is None or subprocess.run(tried, capture_output=True).returncode != 0:
        pytest.skip("volumes at a Pod's own paths need mount namespaces, which this system does not grant")


@pytest.fixture(scope="session")
def go_programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the programs ``greeter`` and ``starter``."""
    go = find_go()
    if go is None:
        pytest.skip("no Go to build the programs with")
    folder = tmp_path_factory.mktemp("programs")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
    build = [str(go), "build", "-o", f"{folder}/", "./greeter", "./starter"]
    subprocess.run(build, cwd=ENGRAMS, env=environment, check=True, timeout=300)
    return folder


@pytest.fixture(scope="session")
def go_engrams() -> dict[str, Path]:
    """The program on each version of the real Go SDK."""
    try:
        return {version: go_engram(version) for version in VERSIONS}
    except MissingBinariesError as error:
        pytest.skip(str(error))
