"""Measures how much one tenant slows another, who does everything that is known to cause delays, each alone and all at
once.

The quiet tenant is measured alone and beside the other tenant: how long admission takes, the time from the creation of
a run to the Job of its first step, and from a step's end to the Job of the next step. Runs are on an embedded cluster,
which has no admission; the admission server is a process beside it. API server, controllers, node, operator, admission
server and both tenants share the machine. So a part of the delay is machine load, which no turn in the operator can
prevent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import orjson
import trio

from bench.admission import STORY_HOOK, AdmissionServer, open_server, review_of, story_of, story_of_many
from bench.live_steps import largest_status, operator_memory
from bench.observer import Observer, open_observer
from bench.process import peak_resident_bytes
from bench.report import Row, percentile, percentiles_row
from bench.stand import Stand, install_chain, open_stand, start_run
from core.api.objects import Object
from core.api.resource import ENGRAM, STEP_RUN, STORY, STORY_RUN, Resource
from core.api.resource import NAMESPACE as NAMESPACES
from core.kube.client import KubeClient

OTHER: Final = "mallory"
RUNS: Final = 30
"""Runs of the measured tenant, one after the other."""
STEPS: Final = 2
PAUSE_SECONDS: Final = 0.5
WARM_UP_SECONDS: Final = 5.0
"""The time from the start of the abuses to the measurement."""
DEADLINE_SECONDS: Final = 900.0
_DOUBLINGS: Final = 26
_REPORTS: Final = 28
_HELD_CONNECTIONS: Final = 400


@dataclass(frozen=True, slots=True)
class _Place:
    stand: Stand
    gate: AdmissionServer

    @property
    def client(self) -> KubeClient:
        return self.stand.client


@dataclass(frozen=True, slots=True)
class Abuse:
    """An action that a tenant may take; it continues until cancelled."""

    what: str
    run: Callable[[_Place], Awaitable[None]]


def measure() -> list[Row]:
    return trio.run(_measure)


async def _measure() -> list[Row]:
    alone = await _felt(())
    rows = _rows("alone", alone, None)
    for abuses in (*((abuse,) for abuse in ABUSES), ABUSES):
        what = "all of it at once" if len(abuses) > 1 else abuses[0].what
        rows += _rows(f"beside {what}", await _felt(abuses), alone)
    return rows


@dataclass
class _Felt:
    """Seconds, and the peak MiB of the operator and of the admission server."""

    admission: list[float] = field(default_factory=list)
    start: list[float] = field(default_factory=list)
    transition: list[float] = field(default_factory=list)
    operator_mib: float = 0.0
    gate_mib: float = 0.0


_WORDS: Final = {
    "admission": "a Story of 3 steps is admitted",
    "start": "a run is created → its first step's Job",
    "transition": "a step's terminal status → the next one's Job",
}


def _rows(when: str, felt: _Felt, alone: _Felt | None) -> list[Row]:
    rows = []
    for key, words in _WORDS.items():
        seconds = getattr(felt, key)
        bound = None if alone is None else 2 * percentile(getattr(alone, key), 99)
        rows.append(percentiles_row(f"{words}, {when}", seconds, p99_at_most=bound))
    memory = (operator_memory(felt.operator_mib), operator_memory(felt.gate_mib))
    return [*rows, Row(f"memory at most of the operator; of the gate, {when}", memory)]


async def _felt(abuses: tuple[Abuse, ...]) -> _Felt:
    """Measures on a new cluster, so that earlier measurements have no effect."""
    async with open_server() as gate, open_stand() as stand, open_observer(stand.client) as observer:
        place = _Place(stand, gate)
        story = await install_chain(stand.client, length=STEPS)
        await _install(stand.client, story)
        felt = _Felt()
        async with trio.open_nursery() as nursery:
            for abuse in abuses:
                nursery.start_soon(abuse.run, place)
            await trio.sleep(WARM_UP_SECONDS if abuses else 1.0)
            with trio.fail_after(DEADLINE_SECONDS):
                for number in range(RUNS):
                    await _one(place, observer, story, number, felt)
                    await trio.sleep(PAUSE_SECONDS)
            nursery.cancel_scope.cancel()
        felt.operator_mib, felt.gate_mib = (
            peak_resident_bytes(pid) / (1 << 20) for pid in (stand.operator_pid(), gate.pid)
        )
        return felt


async def _one(place: _Place, observer: Observer, story: str, number: int, felt: _Felt) -> None:
    began = trio.current_time()
    status = await place.gate.ask(STORY_HOOK, review_of(STORY_HOOK, story_of(3, f" {number}")))
    assert status == HTTPStatus.OK
    felt.admission.append(trio.current_time() - began)
    name = f"quiet-{number}"
    began = trio.current_time()
    await start_run(place.client, story, name)
    jobs = [f"{name}-s{index}" for index in range(STEPS)]
    while name not in observer.run_ended or not set(jobs) <= set(observer.job_created):  # each kind has its own watch
        await observer.changed.wait()
    felt.start.append(observer.job_created[jobs[0]][0] - began)
    felt.transition.append(observer.job_created[jobs[1]][0] - observer.step_ended[jobs[0]][0])


# The abuses of the other tenant.


async def _double_schemas(place: _Place) -> None:
    """40 runs whose inputs are validated with a schema that doubles 26 times."""
    definitions = {
        f"d{number}": {"allOf": [{"$ref": f"#/definitions/d{number + 1}"}] * 2} for number in range(_DOUBLINGS)
    }
    schema = {"$ref": "#/definitions/d0", "definitions": {**definitions, f"d{_DOUBLINGS}": {"type": "object"}}}
    await _create(place.client, STORY, "doubling", {"steps": _noop(), "inputsSchema": schema})
    await _start(place.client, "doubling", 40)


async def _match_patterns(place: _Place) -> None:
    """600 conditions that each look for 52 000 matches."""
    condition = '{{ gt (len (regexFindAll "." (repeat 5200 "abcdefghij") -1)) 0 }}'
    steps: list[Object] = [{"name": f"c{number}", "type": "condition", "if": condition} for number in range(20)]
    await _create(place.client, STORY, "matching", {"steps": steps})
    await _start(place.client, "matching", 30)


async def _flood(place: _Place) -> None:
    """300 runs at the same time."""
    await _create(place.client, STORY, "flood", {"steps": _noop()})
    await _start(place.client, "flood", 300)


async def _send_hostile_stories(place: _Place) -> None:
    """Stories that are hard to check, one after the other; admission refuses them."""
    body = review_of(STORY_HOOK, story_of_many("{{{{ steps.u{0}x{1}.output }}}}"), user=OTHER)
    while True:
        await place.gate.ask(STORY_HOOK, body)


async def _report_much(place: _Place) -> None:
    """28 steps with a status far above the limit of the policy, and 28 steps that report the maximum every second."""
    too_much = {"phase": "Running", "output": {"values": [{"a": {}}] * 149_000}}
    allowed = {key: value for key, value in orjson.loads(largest_status()).items() if key != "conditions"}
    for number in range(_REPORTS):
        for name, status in ((f"too-much-{number}", too_much), (f"much-{number}", allowed)):
            spec = {"storyRunRef": {"name": "none"}, "stepId": name, "engramRef": {"name": "noop"}}
            await _create(place.client, STEP_RUN, name, spec)
            await _report(place.client, name, status)
    count = 0
    while True:
        count += 1
        for number in range(_REPORTS):
            await _report(place.client, f"much-{number}", {"lastFailureMsg": f"{count}"})
        await trio.sleep(1)


async def _report(client: KubeClient, name: str, status: Object) -> None:
    await client.patch(STEP_RUN, name, {"status": status}, namespace=OTHER, subresource="status")


async def _hold_connections(place: _Place) -> None:
    """Bare connections to the admission server, one after the other; the last 400 stay open."""
    held: deque[trio.SocketStream] = deque()
    try:
        while True:
            held.append(await trio.open_tcp_stream("127.0.0.1", place.gate.port))
            if len(held) > _HELD_CONNECTIONS:
                await trio.aclose_forcefully(held.popleft())
    finally:
        for stream in held:
            await trio.aclose_forcefully(stream)


ABUSES: Final = (
    Abuse("40 runs with a schema that doubles 26 times", _double_schemas),
    Abuse("600 conditions with 52 000 matches each", _match_patterns),
    Abuse("300 runs at once", _flood),
    Abuse("Stories of 80 steps with 300 unknown steps each", _send_hostile_stories),
    Abuse("28 statuses of 1.35 MB and 28 of 128 KiB", _report_much),
    Abuse("bare connections to the gate", _hold_connections),
)


async def _install(client: KubeClient, template: str) -> None:
    await client.create(NAMESPACES, {"metadata": {"name": OTHER}})
    await _create(client, ENGRAM, "noop", {"templateRef": {"name": template}})


async def _start(client: KubeClient, story: str, count: int) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(_create, client, STORY_RUN, f"{story}-{number}", {"storyRef": {"name": story}})


async def _create(client: KubeClient, kind: Resource, name: str, spec: Object) -> None:
    await client.create(kind, _object(kind, name, spec, OTHER))


def _object(kind: Resource, name: str, spec: Object, namespace: str) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}


def _noop() -> list[Object]:
    return [{"name": "a", "ref": {"name": "noop"}}]
