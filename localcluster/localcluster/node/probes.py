"""Startup, readiness and liveness probes of a container: exec, httpGet and tcpSocket, as a kubelet runs them.

Containers share the machine's network; a probe without a host uses the Pod's address (``addresses``). For a gRPC probe
the node only checks that the port accepts a connection.
"""

from __future__ import annotations

import math
import signal
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import h11
import trio

from localcluster.node.http import ConnectionLostError, HttpServer
from localcluster.node.launcher.order import LaunchOrder
from localcluster.node.launcher.zygote import CONTAINER_ID
from localcluster.node.processes import Launcher, LaunchError

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Probed:
    """A running container, and how its probes reach it."""

    container: Object
    address: str
    """That of its Pod."""
    order: LaunchOrder
    launcher: Launcher
    ports: Mapping[int, int]
    """Ports that the container listens on instead of others."""


def decide_readiness(container: Object) -> bool:
    """Whether a probe decides that the container is ready; otherwise it is ready when it has started."""
    return bool(container.get("readinessProbe") or container.get("startupProbe"))


def asked_ports(container: Object) -> set[int]:
    """The ports that its probes ask."""
    probes = [container.get(f"{kind}Probe") or {} for kind in ("startup", "readiness", "liveness")]
    targets = [probe[how] for probe in probes for how in ("httpGet", "tcpSocket", "grpc") if probe.get(how)]
    return {_number(container, target.get("port")) for target in targets}


async def watch_health(probed: Probed, set_ready: Callable[[bool], None]) -> bool:
    """Run the container's probes while they pass. True: end the container; its policy decides about a restart.

    Returns False at once when no probe is left to run.
    """
    container = probed.container
    startup = container.get("startupProbe")
    if startup and not await _until_passed(probed, startup):
        return True
    readiness, liveness = container.get("readinessProbe"), container.get("livenessProbe")
    if not readiness:
        set_ready(True)
    if not readiness and not liveness:
        return False
    async with trio.open_nursery() as nursery:
        if readiness:
            nursery.start_soon(_follow_readiness, probed, readiness, set_ready)
        if liveness:
            await _until_failed(probed, liveness)
            nursery.cancel_scope.cancel()
    return bool(liveness)


async def _until_passed(probed: Probed, probe: Object) -> bool:
    """Run the probe until it passes; False if it fails ``failureThreshold`` times."""
    await trio.sleep(probe.get("initialDelaySeconds") or 0)
    failures = 0
    while not await _passes(probed, probe):
        failures += 1
        if failures >= (probe.get("failureThreshold") or 3):
            return False
        await trio.sleep(probe.get("periodSeconds") or 10)
    return True


async def _until_failed(probed: Probed, probe: Object) -> None:
    await trio.sleep(probe.get("initialDelaySeconds") or 0)
    failures = 0
    while failures < (probe.get("failureThreshold") or 3):
        failures = 0 if await _passes(probed, probe) else failures + 1
        await trio.sleep(probe.get("periodSeconds") or 10)


async def _follow_readiness(probed: Probed, probe: Object, set_ready: Callable[[bool], None]) -> None:
    await trio.sleep(probe.get("initialDelaySeconds") or 0)
    passed = failed = 0
    while True:
        if await _passes(probed, probe):
            passed, failed = passed + 1, 0
        else:
            passed, failed = 0, failed + 1
        if passed >= (probe.get("successThreshold") or 1):
            set_ready(True)
        elif failed >= (probe.get("failureThreshold") or 3):
            set_ready(False)
        await trio.sleep(probe.get("periodSeconds") or 10)


async def _passes(probed: Probed, probe: Object) -> bool:
    passed = False
    with trio.move_on_after(probe.get("timeoutSeconds") or 1):
        if probe.get("exec"):
            passed = await _exec_passes(tuple(probe["exec"].get("command") or ()), probed.order, probed.launcher)
        elif probe.get("httpGet"):
            passed = await _http_passes(probed, probe["httpGet"])
        else:
            target = probe.get("tcpSocket") or probe.get("grpc") or {}
            port = _port(probed, target.get("port"))
            passed = await _tcp_passes(target.get("host") or probed.address, port)
    return passed


async def _exec_passes(command: tuple[str, ...], order: LaunchOrder, launcher: Launcher) -> bool:
    if not command:
        return False
    try:
        # A separate badge: otherwise the launcher would end the container's stray processes when the probe ends.
        env = {**order.env, CONTAINER_ID: order.env.get(CONTAINER_ID, "") + ".probe"}
        process = await launcher.start(replace(order, argv=command, env=env))
    except LaunchError:
        return False
    try:
        async with process.stdout, process.stderr:
            return (await process.wait()).code == 0
    finally:
        with trio.CancelScope(shield=True):
            await process.send_signal(signal.SIGKILL, group=True)


async def _http_passes(probed: Probed, target: Object) -> bool:
    scheme = str(target.get("scheme") or "HTTP").lower()
    path = str(target.get("path") or "/")
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # a kubelet does not check this certificate either
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    port = _port(probed, target.get("port"))
    url = f"{scheme}://{target.get('host') or probed.address}:{port}"
    headers = {str(header["name"]).lower(): str(header["value"]) for header in target.get("httpHeaders") or []}
    server = HttpServer(url, unverified, connections=1)
    try:
        async with server.exchange("GET", f"/{path.lstrip('/')}", headers, b"", silence_seconds=math.inf) as answer:
            return 200 <= answer.status < 400
    except (ConnectionLostError, h11.LocalProtocolError):
        return False
    finally:
        server.close()


async def _tcp_passes(host: str, port: int) -> bool:
    try:
        stream = await trio.open_tcp_stream(host, port)
    except OSError:
        return False
    await stream.aclose()
    return True


def _port(probed: Probed, port: object) -> int:
    number = _number(probed.container, port)
    return probed.ports.get(number, number)


def _number(container: Object, port: object) -> int:
    """A port by its number, or by its name in the container's ports; 0 if unknown: nothing listens on that port."""
    if isinstance(port, int):
        return port
    for declared in container.get("ports") or []:
        if declared.get("name") == port:
            return int(declared["containerPort"])
    return int(port) if isinstance(port, str) and port.isdigit() else 0
