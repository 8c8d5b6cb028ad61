"""Operator, hub and Prometheus as separate processes on a real control plane, with what an installation has of them.

Two replicas of the operator serve their metrics by HTTPS, to an account that is bound to ``bobrapet-metrics-reader``;
the first one also answers the reviews of the API server.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.api.objects import Object
from core.api.resource import (
    CLUSTER_ROLE_BINDING,
    CONFIG_MAP,
    IMPULSE,
    IMPULSE_TEMPLATE,
    NAMESPACE,
    SERVICE_ACCOUNT,
    STORY,
    TRANSPORT,
)
from deployment.observability.rule import HUB_JOB, JOB
from deployment.permissions.names import HUB_ACCOUNT
from deployment.permissions.roles import DEFAULT_INSTALLATION
from localcluster.kubeconfig import Connection, render_kubeconfig, write_private
from tests.e2e.admission_rig import NAMES, ask_admission
from tests.e2e.observability.prometheus import Prometheus, open_prometheus, plain_scrape, secure_scrape
from tests.e2e.operator_rig import ROOT, OperatorRig, eventually, open_operator_rig, status_of, step
from tools.control_plane.ports import unshared_port
from tools.control_plane.processes import ServerProcess, open_process

READER: Final = "prometheus"
"""The account of Prometheus, in a namespace of this name."""
QUEUE: Final = "gpu"
SLOTS: Final = 2
STREAM_STEPS: Final = ("measure", "mark", "store")
_PROGRAM: Final = ROOT / "tests/e2e/engrams/pressure.py"


@dataclass
class Stage:
    rig: OperatorRig
    replicas: list[ServerProcess]
    prometheus: Prometheus
    folder: Path
    """A file ``slow`` in it slows the sink of the realtime Story down."""


@asynccontextmanager
async def open_stage(directory: Path, interval: str) -> AsyncIterator[Stage]:
    """Everything runs, the Stories of ``install`` are there, and Prometheus scrapes every ``interval``."""
    async with open_operator_rig(directory) as rig, AsyncExitStack() as stack:
        await rig.create(
            CONFIG_MAP,
            "bobrapet-operator-config",
            {"data": {f"storyrun.queue.{QUEUE}.concurrency": str(SLOTS)}},
            namespace=DEFAULT_INSTALLATION.namespace,
        )
        hub_port, hub_metrics = unshared_port(), unshared_port()
        metrics = [unshared_port() for _ in range(2)]
        replicas = [
            await rig.start_operator(
                f"operator-{number}",
                NAMES,
                f"--webhook-bind-address=127.0.0.1:{unshared_port()}",
                f"--metrics-bind-address=127.0.0.1:{port}",
                f"--hub-endpoint=127.0.0.1:{hub_port}",
            )
            for number, port in enumerate(metrics)
        ]
        await eventually(lambda: _says(replicas[0], "admission reviews are answered"), replicas[0].tail)
        await ask_admission(rig, replicas[0])
        await stack.enter_async_context(_open_hub(rig, hub_port, hub_metrics))
        await install(rig, directory)
        scrapes = [
            secure_scrape(JOB, [f"127.0.0.1:{port}" for port in metrics], await _reader_token(rig)),
            plain_scrape(HUB_JOB, [f"127.0.0.1:{hub_metrics}"]),
        ]
        prometheus = await stack.enter_async_context(open_prometheus(directory, scrapes, interval))
        yield Stage(rig, replicas, prometheus, directory)


async def install(rig: OperatorRig, folder: Path) -> None:
    """Stories that succeed, fail, retry, wait for slots, sleep and stream."""
    await rig.engram("work", "sleep 0.2")
    await rig.engram("broken", "exit 3")
    await rig.engram("flaky", "test $(($(date +%N | cut -c7-9 | sed 's/^0*//;s/^$/0/') % 2)) = 0 || exit 137")
    await rig.engram("train", "sleep 3")
    greeting = {"with": {"text": '{{ inputs.day | default "today" }}'}}
    await rig.story(
        "report",
        step("read", "work", **greeting),
        step("join", "work", needs=["read"], **{"if": "1 < 2"}),
        step("send", "work", needs=["join"]),
    )
    await rig.story("payments", step("pay", "broken", execution={"retry": {"maxRetries": 0}}))
    await rig.story("crawl", step("fetch", "flaky", execution={"retry": {"maxRetries": 5, "delay": "500ms"}}))
    await rig.story("model", step("a", "train"), step("b", "train"), policy={"queue": QUEUE})
    await rig.story("reminder", {"name": "sleep", "type": "sleep", "with": {"duration": "20s"}})
    await _install_impulse(rig)
    spec: Object = {"spec": {"provider": "people", "driver": "hub", "supportedBinary": ["application/json"]}}
    await rig.create(TRANSPORT, "hub", spec)
    for name in STREAM_STEPS:
        program = shlex.join([sys.executable, str(_PROGRAM), name, str(folder)])
        script = f"export PYTHONPATH={ROOT}/sdk; exec {program}"
        await rig.engram(name, script, engram={"mode": "deployment"}, supportedModes=["deployment"])
    await rig.story(
        "sensors",
        step("measure"),
        step("mark", needs=["measure"]),
        step("store", needs=["mark"]),
        pattern="realtime",
        transports=[
            {"name": "readings", "transportRef": "hub", "streaming": {"delivery": {"semantics": "at_least_once"}}}
        ],
    )
    await rig.until(STORY, "sensors", lambda story: bool(status_of(story)))


async def _install_impulse(rig: OperatorRig) -> None:
    """An Impulse whose listener is up and has nothing to do."""
    rig.add_images({"test/bell": {"command": ["/bin/sh", "-c", "exec sleep 3600"]}})
    spec = {"version": "1", "image": "test/bell", "supportedModes": ["deployment"]}
    await rig.create(IMPULSE_TEMPLATE, "bell", {"spec": spec})
    await rig.create(IMPULSE, "bell", {"spec": {"templateRef": {"name": "bell"}, "storyRef": {"name": "report"}}})


@asynccontextmanager
async def _open_hub(rig: OperatorRig, port: int, metrics: int) -> AsyncIterator[ServerProcess]:
    """The hub under its own account, with a token for an hour."""
    account = DEFAULT_INSTALLATION.account(HUB_ACCOUNT)
    token = await rig.plane.token_of(account, DEFAULT_INSTALLATION.namespace)
    kubeconfig = rig.directory / "hub.kubeconfig"
    write_private(kubeconfig, render_kubeconfig(Connection(rig.plane.url, token, rig.plane.ca_pem)))
    command = [
        *(sys.executable, "-m", "cli", "hub"),
        f"--kubeconfig={kubeconfig}",
        f"--bind-address=127.0.0.1:{port}",
        f"--metrics-bind-address=127.0.0.1:{metrics}",
        f"--config-namespace={DEFAULT_INSTALLATION.namespace}",
        "--lease-identity=hub",
    ]
    async with open_process("hub", command, rig.directory) as process:
        yield process


async def _says(process: ServerProcess, words: str) -> bool:
    return words in process.log.read_text()


async def _reader_token(rig: OperatorRig) -> Path:
    """A file with the token of an account that may read metrics, and nothing else."""
    await rig.create(NAMESPACE, READER, {})
    await rig.create(SERVICE_ACCOUNT, READER, {}, namespace=READER)
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bobrapet-metrics-reader"}
    subject = {"kind": "ServiceAccount", "name": READER, "namespace": READER}
    await rig.create(CLUSTER_ROLE_BINDING, "prometheus-reads-bobrapet", {"roleRef": role, "subjects": [subject]})
    path = rig.directory / "prometheus.token"
    write_private(path, await rig.plane.token_of(READER, READER))
    return path
