"""The server under test and an administrator's client in a new namespace of it.

By default these are localcluster and the fuzz suite's model. ``--control-plane real`` takes a kube-apiserver with etcd
and the kube-controller-manager. Each server, except the model, is a separate process, started once for all tests.
Objects that a test leaves behind end with it. ``model_gaps`` lists what the model does not have.
"""

from __future__ import annotations

import itertools
import json
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.conformance.conformance_api import Api, ServerUnderTest
from tests.conformance.conformance_hooks import Hooks, allow
from tests.conformance.conformance_kinds import GROUP, widget_definition
from tests.conformance.model_gaps import MODULES, why_not_modelled
from tests.conformance.model_server import ModelUnderTest
from tests.integration.webhookserver import WebhookServer, open_webhook_server

_PROCESS = "tests.conformance.api_server_process"
_STARTS_WITHIN_SECONDS = 60
_POLL_SECONDS = 0.05
_KNOWN_GAPS = {
    "localcluster": frozenset(
        {
            "CEL extension libraries",
            "authorizer in match conditions",
            "client certificates",
            "eviction",
            "watches from the future",
        }
    ),
    "model": frozenset({"apply"}),
    "real": frozenset[str](),
}
"""Features that are missing, according to docs/embedded-cluster.md and to the model itself."""

_namespaces = itertools.count(1)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" not in metafunc.fixturenames:
        return
    chosen = [metafunc.config.getoption("--control-plane", default="localcluster")]
    if chosen == ["localcluster"] and Path(metafunc.module.__file__).stem in MODULES:
        reason = why_not_modelled(metafunc.function.__name__)
        marks = [pytest.mark.skip(reason=f"not modelled: {reason}")] if reason else []
        chosen.append(pytest.param("model", marks=marks))
    metafunc.parametrize("server", chosen, indirect=True, scope="session")


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[ServerUnderTest]:
    kind: str = request.param
    if kind == "model":
        yield ModelUnderTest.serving(_KNOWN_GAPS[kind])
        return
    command = [sys.executable, "-m", _PROCESS, kind]
    importable = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=importable) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        orders, answers = process.stdin, process.stdout

        def forget() -> None:
            orders.write("forget\n")
            orders.flush()
            assert answers.readline().strip() == "done"

        try:
            line = answers.readline()
            assert line, f"the {kind} server did not start; its complaint is above"
            told: dict[str, Any] = json.loads(line)
            tls = ssl.create_default_context(cadata=told["ca_pem"])
            real = kind == "real"
            running = ServerUnderTest(**told, gaps=_KNOWN_GAPS[kind], forget=forget, tls=tls, writes_from_cache=real)
            trio.run(_define_widgets, running)
            yield running
        finally:
            orders.close()


@pytest.fixture
async def api(server: ServerUnderTest) -> AsyncIterator[Api]:
    """An administrator in a namespace that only this test uses."""
    async with server.client() as http:
        namespace = f"test-{next(_namespaces)}"
        api = Api(http, namespace)
        await api.create("namespaces", {"metadata": {"name": namespace}})
        yield api


@pytest.fixture
async def webhook(tmp_path: Path) -> AsyncIterator[WebhookServer]:
    """A webhook on loopback. Both servers reach it by its URL."""
    async with open_webhook_server(tmp_path) as hook:
        yield hook


@pytest.fixture
async def hooks(api: Api, server: ServerUnderTest, tmp_path: Path) -> AsyncIterator[Hooks]:
    async with open_webhook_server(tmp_path) as webhooks:
        webhooks.handlers |= {"/allow": allow, "/probe": allow}
        found = Hooks(api, webhooks, writes_from_cache=server.writes_from_cache)
        yield found
        await found.remove()


async def _define_widgets(server: ServerUnderTest) -> None:
    """Install the suite's kind, and return once the server serves both its versions."""
    async with server.client() as client:
        definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        answer = await client.post(definitions, json=widget_definition())
        assert answer.status_code == 201, answer.text
        with trio.fail_after(_STARTS_WITHIN_SECONDS):
            for version in ("v1", "v2"):
                while (await client.get(f"/apis/{GROUP}/{version}/widgets")).status_code != 200:  # noqa: ASYNC110 - no event
                    await trio.sleep(_POLL_SECONDS)
