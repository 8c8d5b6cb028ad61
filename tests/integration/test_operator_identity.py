"""The operator of the embedded cluster has its own identity, with no more rights than a deployed operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.embedded.identity import operator_kubeconfig
from core.api.resource import NAMESPACE, POD, SECRET
from core.kube.client import open_client
from core.kube.config import ClusterConfig
from core.kube.credentials import bearer_token
from core.kube.errors import ForbiddenError
from localcluster.kubeconfig import Connection, read_kubeconfig, render_kubeconfig
from localcluster.transport import ASGIStreamingTransport
from tests.integration.operator_cluster import OPERATOR_NAMESPACE


async def test_its_kubeconfig_is_private_and_its_rights_are_those_of_the_table(cluster: Any, tmp_path: Path) -> None:
    administrator = tmp_path / "kubeconfig"
    administrator.write_text(render_kubeconfig(Connection("https://127.0.0.1:1", token=cluster.server.admin_token)))

    def connected(token: str) -> Any:
        wire = ASGIStreamingTransport(cluster.server.app, cluster.nursery)
        return open_client(ClusterConfig("http://cluster", bearer_token(token)), transport=wire)

    async with connected(cluster.server.admin_token) as client:
        first = await operator_kubeconfig(client, administrator, tmp_path)
        again = await operator_kubeconfig(client, administrator, tmp_path)
        assert (await client.get(NAMESPACE, OPERATOR_NAMESPACE))["status"]["phase"] == "Active"
    assert first == again == tmp_path / "operator.kubeconfig"
    assert first.stat().st_mode & 0o777 == 0o600
    own = read_kubeconfig(first)
    assert own.url == "https://127.0.0.1:1"
    assert own.token != cluster.server.admin_token
    async with connected(own.token) as client:
        assert (await client.list(POD)).items == []
        for resource in (SECRET, NAMESPACE):
            with pytest.raises(ForbiddenError, match="bobrapet-system:bobrapet-controller-manager"):
                await client.list(resource)
