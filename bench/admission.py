"""Measures how long admission takes for a review, and how much one user can slow another; over TLS, in a process of its
own.

Load comes at a fixed rate, whether the server answers or not. A latency starts when the request was due. Client, server
and the server's processes for large reviews share the machine.
"""

from __future__ import annotations

import gc
import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import orjson
import trio
import trustme

from bench.process import command_line, cpu_seconds, descendants, resident_bytes
from bench.report import MIB, MILLISECONDS, Row, Value, percentiles_row
from core.api.objects import Object
from core.policy.settings import OperatorSettings
from webhooks.app import admission_app
from webhooks.cluster_view import InMemoryView
from webhooks.registration import HOOKS, Hook
from webhooks.server import serve_admission
from webhooks.setup import AdmissionSetup

_HOST: Final = "127.0.0.1"
_RATE: Final = 200
_SECONDS: Final = 10.0
_CONNECTIONS: Final = 190  # less than the server's limit
_HOOKS: Final = {hook.path: hook for hook in HOOKS}
STORY_HOOK: Final = _HOOKS["/validate-bubustack-io-v1alpha1-story"]
_STORY_DEFAULTS: Final = _HOOKS["/mutate-bubustack-io-v1alpha1-story"]
_RUN: Final = _HOOKS["/validate-runs-bubustack-io-v1alpha1-storyrun"]
_STEP_STATUS: Final = _HOOKS["/validate-runs-bubustack-io-v1alpha1-steprun-status"]
_OPERATOR: Final = "system:serviceaccount:bobrapet-system:operator"


def measure() -> list[Row]:
    """Returns rows for the report."""
    return trio.run(_measure)


async def _measure() -> list[Row]:
    async with open_server() as server:
        return [
            *await _costs(server),
            *await _under_load(server),
            *await _large(server),
            *await _beside_hostile(server),
            *await _beside_flood(server),
        ]


class AdmissionServer:
    """A server process and the connections to it. Each request in progress has a connection; later requests reuse it.

    The client does as little as possible, because it shares the processor with the server.
    """

    def __init__(self, pid: int, port: int, trust: ssl.SSLContext) -> None:
        self.pid = pid
        self.port = port
        self._trust = trust
        self._idle: list[_Stream] = []
        self._room = trio.CapacityLimiter(_CONNECTIONS)

    async def ask(self, hook: Hook, body: bytes) -> int:
        """Returns the HTTP status of the answer."""
        async with self._room:
            return await self._ask(hook, body)

    async def _ask(self, hook: Hook, body: bytes) -> int:
        stream = self._idle.pop() if self._idle else await self._connect()
        head = f"POST {hook.path} HTTP/1.1\r\nhost: gate\r\ncontent-type: application/json\r\n"
        await stream.send_all(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += await self._more(stream)
        length = int(received[:end].lower().partition(b"content-length:")[2].split()[0])
        while len(received) < end + 4 + length:
            received += await self._more(stream)
        self._idle.append(stream)
        return int(received[9:12])

    async def _more(self, stream: _Stream) -> bytes:
        part = bytes(await stream.receive_some(1 << 16))
        if not part:
            raise ConnectionError("the server has closed a connection while it owed an answer")
        return part

    async def _connect(self) -> _Stream:
        stream = await trio.open_ssl_over_tcp_stream(_HOST, self.port, ssl_context=self._trust)
        await stream.do_handshake()
        return stream

    @property
    def pids(self) -> list[int]:
        return [self.pid, *descendants(self.pid)]

    async def aclose(self) -> None:
        for stream in self._idle:
            await trio.aclose_forcefully(stream)


_Stream = trio.SSLStream[trio.SocketStream]
_Ask = tuple[Hook, bytes]


async def _costs(server: AdmissionServer) -> list[Row]:
    """Measures the server's processor time for one review after the other."""
    rows = []
    reviewed: list[tuple[str, Callable[[int], dict[str, Any]], float | None]] = [
        ("a Story of 30 steps", lambda number: story_of(30), 0.005),
        ("… whose texts were never seen", lambda number: story_of(30, f" {number}"), 0.005),
        ("a Story of 3 steps", lambda number: story_of(3), None),
    ]
    for what, make, target in reviewed:
        bodies = [review_of(STORY_HOOK, make(number)) for number in range(200)]
        await server.ask(STORY_HOOK, review_of(STORY_HOOK, make(-1)))
        before = cpu_seconds(server.pids)
        for body in bodies:
            await server.ask(STORY_HOOK, body)
        used = (cpu_seconds(server.pids) - before) / len(bodies)
        rows.append(Row(f"processor time for {what}", Value(used, MILLISECONDS, at_most=target)))
    return rows


async def _under_load(server: AdmissionServer) -> list[Row]:
    everyday: list[_Ask] = [
        (_STORY_DEFAULTS, review_of(_STORY_DEFAULTS, story_of(10))),
        (STORY_HOOK, review_of(STORY_HOOK, story_of(10))),
        *[(_RUN, review_of(_RUN, _run(number))) for number in range(4)],
        *[(_STEP_STATUS, _status_review(number)) for number in range(4)],
    ]
    rows = []
    for what, asked, rate in (
        (f"{_RATE} reviews/s: runs, statuses, a fifth Stories of 10 steps", everyday, _RATE),
        ("50 reviews/s of Stories of 30 steps", [(STORY_HOOK, review_of(STORY_HOOK, story_of(30)))], 50),
        ("20 reviews/s of Stories of 64 KiB", [(STORY_HOOK, review_of(STORY_HOOK, story_of(100, "x" * 200)))], 20),
    ):
        latencies = await _at_rate(server, asked, rate, _SECONDS)
        rows.append(percentiles_row(what, latencies, p99_at_most=0.025))
    return rows


async def _large(server: AdmissionServer) -> list[Row]:
    body = review_of(STORY_HOOK, _branched(100))
    latencies = [await _timed(lambda: server.ask(STORY_HOOK, body)) for _ in range(50)]
    return [percentiles_row("a Story of 100 steps and 100 branches, one at a time", latencies, median_at_most=0.04)]


async def _beside_hostile(server: AdmissionServer) -> list[Row]:
    """One user sends reviews that are hard to check, one after the other; another user sends at a steady rate."""
    small: list[_Ask] = [(STORY_HOOK, review_of(STORY_HOOK, story_of(3)))]
    alone = await _at_rate(server, small, 50, _SECONDS / 2)
    rows = [percentiles_row("50 reviews/s of Stories of 3 steps, alone", alone)]
    for what, text in (
        ("unknown steps", "{{{{ steps.u{0}x{1}.output }}}}"),
        ("sound templates", "{{{{ inputs.u{0}x{1} }}}}"),
    ):
        body = review_of(STORY_HOOK, story_of_many(text), user="mallory")
        attack = _Attack(server, body)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(attack.run)
            nursery.start_soon(attack.watch)
            beside = await _at_rate(server, small, 50, _SECONDS)
            nursery.cancel_scope.cancel()
        name = f"a Story of 80 steps with 300 {what} each ({len(body) // 1024} KiB)"
        rows += [
            percentiles_row(name, attack.latencies, p99_at_most=1.0),
            Row("… memory that it takes", Value(attack.most_bytes, MIB, at_most=64 << 20)),
            percentiles_row("… 50 reviews/s of another user meanwhile", beside),
        ]
    return rows


class _Attack:
    """Sends one request after the other; records how long each takes, and how much a process of the server grows."""

    def __init__(self, server: AdmissionServer, body: bytes) -> None:
        self._server = server
        self._body = body
        self._before = {pid: resident_bytes(pid) for pid in server.pids}
        self.latencies: list[float] = []
        self.most_bytes = 0

    async def run(self) -> None:
        while True:
            self.latencies.append(await _timed(lambda: self._server.ask(STORY_HOOK, self._body)))

    async def watch(self) -> None:
        while True:
            grown = [resident_bytes(pid) - before for pid, before in self._before.items() if _is_there(pid)]
            self.most_bytes = max(self.most_bytes, *grown)
            await trio.sleep(0.05)


def _is_there(pid: int) -> bool:
    return bool(command_line(pid))


async def _beside_flood(server: AdmissionServer) -> list[Row]:
    """One user keeps 150 requests in progress; another user sends reviews at a steady rate."""
    flood = review_of(STORY_HOOK, story_of(30), user="mallory")
    small: list[_Ask] = [(STORY_HOOK, review_of(STORY_HOOK, story_of(3)))]
    statuses: list[int] = []
    async with trio.open_nursery() as nursery:

        async def insist() -> None:
            while True:
                statuses.append(await server.ask(STORY_HOOK, flood))

        for _ in range(150):
            nursery.start_soon(insist)
        await trio.sleep(1)
        beside = await _at_rate(server, small, 20, _SECONDS)
        nursery.cancel_scope.cancel()
    shed = statuses.count(429) / max(1, len(statuses))
    return [
        percentiles_row("20 reviews/s while another user keeps 150 under way", beside),
        Row("… of whose requests are sent away", f"{shed:.0%}"),
    ]


async def _at_rate(server: AdmissionServer, asked: Sequence[_Ask], rate: int, seconds: float) -> list[float]:
    """Returns the seconds from the time at which each request was due to its answer; reports answers other than 200."""
    latencies: list[float] = []
    refused: list[int] = []

    async def ask(hook: Hook, body: bytes, due: float) -> None:
        status = await server.ask(hook, body)
        latencies.append(trio.current_time() - due)
        if status != HTTPStatus.OK:
            refused.append(status)

    async with trio.open_nursery() as nursery:
        begin = trio.current_time()
        for number in range(int(rate * seconds)):
            due = begin + number / rate
            await trio.sleep_until(due)
            nursery.start_soon(ask, *asked[number % len(asked)], due)
    if refused:
        sys.stderr.write(f"{len(refused)} of {len(latencies)} requests were not decided: {sorted(set(refused))}\n")
    return latencies


async def _timed(ask: Callable[[], Any]) -> float:
    began = trio.current_time()
    await ask()
    return trio.current_time() - began


# The reviews that are sent.


def review_of(hook: Hook, new: Object, old: Object | None = None, *, user: str = "alice") -> bytes:
    resource = hook.resource
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "resource": {"group": resource.group, "version": resource.version, "resource": resource.plural},
        "subResource": hook.subresource,
        "operation": "UPDATE" if old else "CREATE",
        "namespace": "team",
        "userInfo": {"username": user, "groups": ["system:authenticated"]},
        "object": new,
        "oldObject": old,
    }
    return orjson.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})


def _object(hook: Hook, name: str, spec: Object, **fields: Any) -> Object:
    kind = {"apiVersion": hook.resource.api_version, "kind": hook.resource.kind}
    return {**kind, "metadata": {"name": name, "namespace": "team"}, "spec": spec, **fields}


def _step(number: int, filler: str = "") -> Object:
    before = f'steps "step-{number - 1}" "output"'
    parameters: Object = {
        "city": "{{ inputs.city }}",
        "title": f"{{{{ inputs.name | upper }}}} {number}{filler}",
        "items": [1, 2, "{{ inputs.list | len }}"],
    }
    if not number:
        return {"name": "step-0", "ref": {"name": "engram"}, "with": parameters}
    return {
        "name": f"step-{number}",
        "ref": {"name": "engram"},
        "needs": [f"step-{number - 1}"],
        "if": f'{{{{ gt (index {before} "count") 1 }}}}',
        "with": {**parameters, "table": f'{{{{ index {before} "table" }}}}{filler}'},
    }


def story_of(steps: int, filler: str = "") -> Object:
    return _object(STORY_HOOK, "story", {"steps": [_step(number, filler) for number in range(steps)]})


def _branched(steps: int) -> Object:
    """Each second step has two branches: as many branches as steps."""
    made = [_step(number) for number in range(steps)]
    for number in range(0, steps, 2):
        branches = [{**_step(0), "name": f"branch-{number}-{branch}"} for branch in range(2)]
        made[number] = {"name": f"step-{number}", "type": "parallel", "with": {"steps": branches}}
    return _object(STORY_HOOK, "story", {"steps": made})


def story_of_many(text: str) -> Object:
    return _object(
        STORY_HOOK,
        "story",
        {
            "steps": [
                {
                    "name": f"step-{step}",
                    "ref": {"name": "engram"},
                    "with": {f"k{number}": text.format(step, number) for number in range(300)},
                }
                for step in range(80)
            ]
        },
    )


def _run(number: int) -> Object:
    return _object(_RUN, f"run-{number}", {"storyRef": {"name": "story"}, "inputs": {"city": "Paris"}})


def _status_review(number: int) -> bytes:
    old = _object(_STEP_STATUS, f"run-{number}-a", {"storyRunRef": {"name": f"run-{number}"}, "stepId": "a"})
    return review_of(_STEP_STATUS, {**old, "status": {"phase": "Running"}}, old, user=_OPERATOR)


# The server process.


@asynccontextmanager
async def open_server() -> AsyncIterator[AdmissionServer]:
    """Starts the server in its own process and sends it one review to warm it up."""
    authority = trustme.CA()
    with tempfile.TemporaryDirectory() as folder:
        pem = Path(folder) / "tls.pem"
        authority.issue_cert(_HOST).private_key_and_cert_chain_pem.write_to_path(str(pem))
        command = [sys.executable, "-m", "bench.admission", str(pem)]
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            url = (await process.stdout.receive_some()).decode().strip()
            trust = ssl.create_default_context()
            authority.configure_trust(trust)
            server = AdmissionServer(process.pid, int(url.rpartition(":")[2]), trust)
            await server.ask(STORY_HOOK, review_of(STORY_HOOK, _branched(100)))
            yield server
            await server.aclose()
        finally:
            process.terminate()
            await process.wait()


async def _serve(pem: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    context.set_alpn_protocols(["http/1.1"])
    story = story_of(1)
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "title": {"type": "string"}}}
    template = {"version": "1", "image": "worker:1", "supportedModes": ["job"], "inputSchema": schema}
    kinds = {"apiVersion": "bubustack.io/v1alpha1", "kind": "Engram"}
    engram = {**story, **kinds, "metadata": {"name": "engram", "namespace": "team"}}
    engram["spec"] = {"version": "1", "templateRef": {"name": "engram"}}
    catalogue = {"apiVersion": "catalog.bubustack.io/v1alpha1", "kind": "EngramTemplate"}
    world = InMemoryView(
        [story, engram, {**catalogue, "metadata": {"name": "engram"}, "spec": template}], settings=OperatorSettings()
    )
    gate = AdmissionSetup(
        world=lambda: world,
        operator=_OPERATOR,
        trouble=lambda: "",
        changed=trio.sleep_forever,
        convert=lambda body: body,
    )
    async with trio.open_nursery() as nursery:
        url: str = await nursery.start(serve_admission, admission_app(gate), _HOST, 0, lambda: context)
        os.write(1, f"{url}\n".encode())


if __name__ == "__main__":
    gc.freeze()  # as the operator does
    trio.run(_serve, sys.argv[1])
