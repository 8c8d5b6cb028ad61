"""The versions of Kubernetes that pages, chart and doctor promise are those on which tests run."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from cli.doctor.api_server import of_version
from deployment.metadata import NEWEST_KUBERNETES, OLDEST_KUBERNETES
from localcluster.server.documents import KUBERNETES_VERSION
from tests.integration.kubectl_binary import OLDEST_KUBECTL
from tools.control_plane.binaries import DEFAULT_VERSION, OLDEST_VERSION, pinned_versions
from views.doctor.diagnosis import Health

ROOT = Path(__file__).parents[3]
OLDEST, NEWEST = (f"{major}.{minor}" for major, minor in (OLDEST_KUBERNETES, NEWEST_KUBERNETES))
PROMISES = {
    "docs/install.md": (f"Kubernetes {OLDEST} or newer", f"Tests run on {NEWEST};", f"is tested on {OLDEST}, too"),
    "docs/helm.md": (f"Kubernetes {OLDEST} or newer", f"tests run on {OLDEST} and {NEWEST}"),
    "docs/testing-on-a-real-cluster.md": (f"run on Kubernetes {NEWEST}", f"the API server of {OLDEST}, the oldest"),
}


def test_tests_run_on_the_oldest_and_the_newest() -> None:
    assert pinned_versions() == [DEFAULT_VERSION, OLDEST_VERSION]
    assert DEFAULT_VERSION.startswith(f"{NEWEST}.")
    assert OLDEST_VERSION.startswith(f"{OLDEST}.")
    assert f"v{DEFAULT_VERSION}" == KUBERNETES_VERSION


@pytest.mark.parametrize("page", PROMISES)
def test_a_page_promises_what_is_tested(page: str) -> None:
    text = " ".join((ROOT / page).read_text().split())
    for promise in PROMISES[page]:
        assert promise in text


def test_no_page_promises_another_version() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        promised = set(re.findall(r"Kubernetes (1\.\d+) or newer", page.read_text()))
        assert promised <= {OLDEST}, page


@pytest.mark.parametrize("page", ["README.md", "docs/first-hour.md", "docs/quickstart.md"])
def test_pages_about_the_embedded_cluster_name_the_kubectl_of_the_tests(page: str) -> None:
    promise = f"kubectl {OLDEST_KUBECTL} or newer (tests use {OLDEST_KUBECTL} and {NEWEST})"
    assert promise in " ".join((ROOT / page).read_text().split())


def test_the_chart_refuses_a_cluster_that_is_too_old() -> None:
    assert f"kubeVersion: '>={OLDEST}.0-0'" in (ROOT / "deployment/charts/bobrapet/Chart.yaml").read_text()


def test_doctor_finds_exactly_the_versions_before_the_oldest_too_old() -> None:
    major, minor = OLDEST_KUBERNETES
    found = {each: of_version({"gitVersion": f"v{major}.{each}.0"}, timedelta()).health for each in (minor - 1, minor)}
    assert found == {minor - 1: Health.PROBLEM, minor: Health.OK}
