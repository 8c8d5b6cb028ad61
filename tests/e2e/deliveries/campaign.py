"""Plays a campaign: two clients send the same deliveries while programs are killed; then everything is compared.

``make bench BENCH=deliveries`` plays the full size, ``tests/e2e/test_deliveries.py`` a small one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import orjson
import trio

from core.api.keys import ANNOTATION_TRIGGER_TOKEN
from core.api.objects import Object
from core.api.resource import IMPULSE, STORY_RUN, STORY_TRIGGER
from tests.e2e.deliveries.killing import KillRecord, Victim, kill_in_between
from tests.e2e.deliveries.sender import Receipt, SendingOrder, key_of
from tests.e2e.deliveries.stand import DeliveryStand, open_delivery_stand
from tests.e2e.deliveries.verdict import DeliveryFacts, StoredRun, StoredTrigger, problems
from tests.integration.operator_cluster import NAMESPACE_NAME, status_of

CLIENTS: Final = ("one", "two")
_ROOT: Final = Path(__file__).parents[3]
_SCATTER_SECONDS: Final = 0.05
_COUNTED_SECONDS: Final = 30.0
"""How long the counters of the Impulse may lag behind."""
_LOOK_SECONDS: Final = 0.2
_QUIET_LEVELS: Final = ("debug", "info", "warning")


@dataclass(frozen=True, slots=True)
class DeliveryPlan:
    """What to play."""

    count: int
    per_second: float
    """How many deliveries each client sends."""
    kills: Mapping[Victim, int]
    seconds: float
    """The limit for everything from the first delivery to the end of the last run."""
    seed: int = 1


@dataclass
class DeliveryOutcome:
    """What has happened."""

    receipts: dict[str, list[Receipt]] = field(default_factory=lambda: {client: [] for client in CLIENTS})
    kills: list[KillRecord] = field(default_factory=list)
    accepted: set[str] = field(default_factory=set)
    """Keys of deliveries that a client knows to be accepted."""
    sent_seconds: float = 0.0
    """From the first request to the last delivery that was accepted for the first time."""
    run_seconds: float = 0.0
    """From the first request to the end of the last run."""
    counted: int = 0
    """``status.storiesLaunched`` of the Impulse."""
    problems: list[str] = field(default_factory=list)
    """What is wrong; empty if every delivery started its run, once."""

    @property
    def repeated(self) -> Counter[str]:
        """Why requests were repeated, and how often."""
        return sum((Counter(receipt.repeated) for receipt in self._all()), Counter())

    @property
    def requests(self) -> int:
        return sum(receipt.requests for receipt in self._all())

    @property
    def longest_seconds(self) -> float:
        """The longest time from a client's first request for a delivery to its acceptance."""
        return max((receipt.seconds for receipt in self._all()), default=0.0)

    def _all(self) -> Sequence[Receipt]:
        return [receipt for receipts in self.receipts.values() for receipt in receipts]


async def play(plan: DeliveryPlan, directory: Path) -> DeliveryOutcome:
    """Play ``plan`` on a control plane of its own, with all its files and logs in ``directory``."""
    async with open_delivery_stand(directory) as stand:
        outcome, log = DeliveryOutcome(), directory / "operator.log"
        with trio.move_on_after(plan.seconds):
            await _deliver(stand, plan, outcome)
        errors = errors_in(await trio.Path(log).read_text(errors="replace"))
        outcome.problems = problems(await _facts(stand, plan, outcome, errors))
        if (kills := sum(plan.kills.values())) != len(outcome.kills):
            outcome.problems.append(f"{len(outcome.kills)} kills instead of {kills}")
        outcome.counted = await _counted(stand, plan.count)
        return outcome


async def _deliver(stand: DeliveryStand, plan: DeliveryPlan, outcome: DeliveryOutcome) -> None:
    """Returns when every delivery was accepted, every StoryTrigger has its answer, and every run has ended."""
    ledger, began_at = stand.ledger, trio.current_time()

    def ended(client: str, receipt: Receipt) -> None:
        outcome.receipts[client].append(receipt)
        if receipt.trigger and receipt.key not in outcome.accepted:
            outcome.accepted.add(receipt.key)
            outcome.sent_seconds = trio.current_time() - began_at
        ledger.wake()

    def progress() -> tuple[float, float]:
        return len(outcome.accepted) / plan.count, len(ledger.runs_ended) / plan.count

    async with trio.open_nursery() as nursery:
        for client in CLIENTS:
            order = stand.impulse.order(
                client,
                plan.count,
                plan.per_second,
                scatter_seconds=_SCATTER_SECONDS,
                patience_seconds=plan.seconds,
            )
            nursery.start_soon(_send, order, partial(ended, client))
        nursery.start_soon(kill_in_between, stand, plan.kills, plan.seed, progress, ledger.until, outcome.kills.append)
        await ledger.until(lambda: len(ledger.runs_ended) >= plan.count)
        outcome.run_seconds = trio.current_time() - began_at
        await ledger.until(lambda: len(ledger.answers) >= plan.count)


async def _send(order: SendingOrder, ended: Callable[[Receipt], None]) -> None:
    """One client, as a process of its own."""
    command = [sys.executable, "-m", "tests.e2e.deliveries.sender"]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    async with trio.open_nursery() as nursery:
        run = partial(
            trio.run_process,
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        process: trio.Process = await nursery.start(run)
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdin.send_all(f"{order.to_line()}\n".encode())
        left = b""
        async for chunk in process.stdout:
            *lines, left = (left + chunk).split(b"\n")
            for line in lines:
                ended(Receipt(**json.loads(line)))


async def _facts(
    stand: DeliveryStand, plan: DeliveryPlan, outcome: DeliveryOutcome, log: Sequence[str]
) -> DeliveryFacts:
    client, ledger = stand.client, stand.ledger
    runs = await client.list(STORY_RUN, NAMESPACE_NAME, keep=_slim)
    triggers = await client.list(STORY_TRIGGER, NAMESPACE_NAME, keep=_slim)
    return DeliveryFacts(
        NAMESPACE_NAME,
        stand.impulse.name,
        [key_of(number) for number in range(plan.count)],
        outcome.receipts,
        [_stored_run(run) for run in runs.items],
        [_stored_trigger(trigger) for trigger in triggers.items],
        ledger.runs_created,
        ledger.triggers_created,
        ledger.deleted,
        ledger.answers,
        log,
    )


def _slim(obj: Object) -> Object:
    kept = {name: obj["metadata"].get(name) for name in ("name", "namespace", "uid", "annotations", "resourceVersion")}
    identity = obj["spec"].get("deliveryIdentity") or {}
    return {"metadata": kept, "spec": {"deliveryIdentity": identity}, "status": {"phase": status_of(obj).get("phase")}}


def _stored_run(run: Object) -> StoredRun:
    metadata = run["metadata"]
    key = (metadata.get("annotations") or {}).get(ANNOTATION_TRIGGER_TOKEN) or ""
    return StoredRun(metadata["name"], metadata["uid"], key, status_of(run).get("phase") or "")


def _stored_trigger(trigger: Object) -> StoredTrigger:
    return StoredTrigger(trigger["metadata"]["name"], trigger["spec"]["deliveryIdentity"].get("key") or "")


async def _counted(stand: DeliveryStand, count: int) -> int:
    """The counter of the Impulse, once it is complete; or as it is when the time for that has passed."""
    give_up_at = trio.current_time() + _COUNTED_SECONDS
    while True:
        status = status_of(await stand.client.get(IMPULSE, stand.impulse.name, NAMESPACE_NAME))
        launched = int(status.get("storiesLaunched") or 0)
        if launched == count or trio.current_time() > give_up_at:
            return launched
        await trio.sleep(_LOOK_SECONDS)


def errors_in(log: str) -> list[str]:
    """The lines of an operator's log that report an error, and those that are no record, such as a stack trace."""
    found = []
    for line in log.splitlines():
        try:
            level = orjson.loads(line)["level"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            level = "none"
        if level not in _QUIET_LEVELS:
            found.append(line[:400])
    return found
