"""Fixtures: an environment in memory, its API over HTTP, and a program that stands for the container."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bubu_sdk.testing import EngramEnvironment
from tests.unit.sdk.sdk_container import Container, LiveApi


@pytest.fixture
def environment() -> EngramEnvironment:
    return EngramEnvironment()


@pytest.fixture
def api(environment: EngramEnvironment, tmp_path: Path) -> Iterator[LiveApi]:
    live = LiveApi(environment.cluster, tmp_path / "kubeconfig.json")
    yield live
    live.close()


@pytest.fixture
def container(environment: EngramEnvironment, api: LiveApi, tmp_path: Path) -> Container:
    return Container(environment, api, tmp_path)
