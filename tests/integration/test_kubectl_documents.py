"""A real kubectl reads the server's documents: explain, client-side and server-side apply, validation, tables."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from localcluster import certificates, serving
from localcluster.clock import utc_now
from localcluster.kubeconfig import Connection, render_kubeconfig, write_private
from localcluster.server.cluster import open_api_server
from tests.integration.kubectl_binary import KUBECTL, needs_kubectl
from tests.integration.operator_cluster import NAMESPACE_NAME, open_emptied
from tools.control_plane.session import SessionCluster

pytestmark = [pytest.mark.kubectl, needs_kubectl]

SPEC_SCHEMA = {
    "type": "object",
    "required": ["color"],
    "description": "What is wanted.",
    "properties": {
        "color": {"type": "string", "enum": ["red", "green"], "description": "Color of the widget."},
        "replicas": {"type": "integer", "maximum": 5, "default": 2},
        "parts": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "size": {"type": "integer"}},
            },
        },
    },
    "x-kubernetes-validations": [{"rule": "!has(self.parts) || self.parts.size() < 3", "message": "two parts at most"}],
}
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.test.example.com"},
    "spec": {
        "group": "test.example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": SPEC_SCHEMA}}},
                "additionalPrinterColumns": [
                    {"name": "Color", "type": "string", "jsonPath": ".spec.color"},
                    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1},
                ],
            }
        ],
    },
}
JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "j"},
    "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "x:1"}]}}},
}


def widget(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "test.example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "w"},
        "spec": {"color": "red", **spec},
    }


@dataclass(frozen=True)
class Kubectl:
    """kubectl on its own server, or on the real one."""

    environment: dict[str, str]

    async def __call__(self, *arguments: str, stdin: Any = None, check: bool = True) -> str:
        """Standard output and standard error of one call."""
        done = await trio.run_process(
            [str(KUBECTL), *arguments],
            stdin=json.dumps(stdin).encode() if stdin is not None else b"",
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            env=self.environment,
            check=False,
        )
        text = done.stdout.decode()
        assert done.returncode == 0 or not check, text
        return text


@pytest.fixture
async def kubectl(tmp_path: Path, real: SessionCluster | None) -> AsyncIterator[Kubectl]:
    async with _real(real) if real is not None else _embedded(tmp_path) as kubeconfig:
        file = tmp_path / "kubeconfig"
        write_private(file, kubeconfig)
        run = Kubectl({"KUBECONFIG": str(file), "HOME": str(tmp_path), "PATH": os.defpath})
        await run("create", "-f", "-", stdin=CRD)
        await run("wait", "--for=condition=Established", "crd/widgets.test.example.com", "--timeout=30s")
        await _until_described(run)
        yield run
        await run("delete", "crd", "widgets.test.example.com")


async def _until_described(kubectl: Kubectl) -> None:
    """Wait for the documents of a new kind. A real server publishes them a moment after it serves the kind."""
    with trio.fail_after(30):
        while "What is wanted." not in await kubectl("explain", "widget.spec", check=False):  # noqa: ASYNC110
            await trio.sleep(0.2)


@asynccontextmanager
async def _embedded(directory: Path) -> AsyncIterator[str]:
    authority = certificates.new_authority("tests", utc_now())
    pair = certificates.issue_server(authority, "tests", ("127.0.0.1",), utc_now())
    listener = serving.bind_loopback(0)
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    async with open_api_server() as server, trio.open_nursery() as nursery:
        await nursery.start(serving.serve_asgi, server.app, listener, serving.TlsIdentity(pair), directory)
        yield render_kubeconfig(Connection(url, token=server.admin_token, ca_pem=authority.certificate_pem))
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _real(real: SessionCluster) -> AsyncIterator[str]:
    if real.ready is None:
        pytest.skip("makes definitions of its own: not in somebody's cluster")
    async with open_emptied(real):
        connection = Connection(real.ready.url, real.ready.admin_token, real.ready.ca_pem)
        yield render_kubeconfig(connection, namespace=NAMESPACE_NAME)


async def test_explain_describes_custom_and_built_in_fields(kubectl: Kubectl) -> None:
    told = await kubectl("explain", "widget.spec")
    assert "What is wanted." in told
    assert "Color of the widget." in told
    assert "-required-" in told
    nested = await kubectl("explain", "job.spec.template.spec.containers", "--recursive")
    for field in ("secretKeyRef", "livenessProbe", "volumeMounts", "terminationMessagePolicy"):
        assert field in nested


async def test_client_side_apply_creates_compares_and_patches(kubectl: Kubectl) -> None:
    assert "created" in await kubectl("apply", "-f", "-", stdin=widget(parts=[{"name": "a", "size": 1}]))
    assert "unchanged" in await kubectl("apply", "-f", "-", stdin=widget(parts=[{"name": "a", "size": 1}]))
    assert "configured" in await kubectl("apply", "-f", "-", stdin=widget(parts=[{"name": "a", "size": 2}]))
    assert "created" in await kubectl("apply", "-f", "-", stdin=JOB)
    assert "unchanged" in await kubectl("apply", "-f", "-", stdin=JOB)


async def test_server_side_apply_owns_fields_of_custom_and_built_in_kinds(kubectl: Kubectl) -> None:
    for manifest in (widget(parts=[{"name": "a", "size": 1}]), JOB):
        for _ in range(2):
            assert "serverside-applied" in await kubectl("apply", "--server-side", "-f", "-", stdin=manifest)
    refused = await kubectl(
        "apply", "--server-side", "--field-manager=other", "-f", "-", stdin=widget(color="green"), check=False
    )
    assert 'conflict with "kubectl": .spec.color' in refused


async def test_unknown_fields_are_refused_or_warned_about_as_asked(kubectl: Kubectl) -> None:
    refused = await kubectl("apply", "-f", "-", stdin=widget(bogus=1), check=False)
    assert 'strict decoding error: unknown field "spec.bogus"' in refused
    warned = await kubectl("apply", "--validate=warn", "-f", "-", stdin=widget(bogus=1))
    assert 'Warning: unknown field "spec.bogus"' in warned
    assert "created" in warned


async def test_an_invalid_object_is_refused_with_every_reason(kubectl: Kubectl) -> None:
    refused = await kubectl("apply", "-f", "-", stdin=widget(color="pink", replicas=9), check=False)
    assert 'The Widget "w" is invalid' in refused
    assert 'spec.color: Unsupported value: "pink": supported values: "red", "green"' in refused
    assert "spec.replicas: Invalid value: 9: spec.replicas in body should be less than or equal to 5" in refused
    three = [{"name": name} for name in "abc"]
    ruled = await kubectl("apply", "-f", "-", stdin=widget(parts=three), check=False)
    assert "spec: Invalid value: two parts at most" in ruled
    endless = {**JOB, "spec": {"template": {"spec": {"containers": [{"name": "a", "image": "x"}]}}}}
    told = await kubectl("apply", "-f", "-", stdin=endless, check=False)
    assert 'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"' in told


async def test_tables_show_printer_columns_and_priorities(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=widget())
    await kubectl("apply", "-f", "-", stdin=JOB)
    narrow = (await kubectl("get", "wd")).splitlines()
    assert narrow[0].split() == ["NAME", "COLOR"]
    assert narrow[1].split() == ["w", "red"]
    assert (await kubectl("get", "wd", "-o", "wide")).splitlines()[1].split() == ["w", "red", "2"]
    jobs = (await kubectl("get", "jobs")).splitlines()
    assert jobs[0].split() == ["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"]
    assert jobs[1].split()[:3] == ["j", "Running", "0/1"]


async def test_resources_are_discovered_with_their_short_names(kubectl: Kubectl) -> None:
    listed = await kubectl("api-resources", "--no-headers")
    rows = {line.split()[0]: line.split() for line in listed.splitlines()}
    assert rows["widgets"][1:] == ["wd", "test.example.com/v1", "true", "Widget"]
    assert rows["deployments"][1:] == ["deploy", "apps/v1", "true", "Deployment"]
