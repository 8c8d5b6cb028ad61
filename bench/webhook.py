"""Measures the way from a webhook delivery to its run, without kills: how soon its first step starts, and how many a
second the runs keep up with; on a real control plane.

The first step starts when its Job is seen created, as in the other measurements. One without a container has started
when its run is seen ended, if not before. Client, Impulse, API server, operator, node and containers share the machine.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from bench.observer import Observer, open_observer
from bench.report import A_SECOND, Row, Value, percentiles_row
from bench.stand import IMAGE_MAP, install_engram
from bench.sustained import RateSearch, keeps_up
from bubu_contract.submission import story_run_name
from core.api.objects import Object
from core.kube.client import KubeClient
from tests.e2e.deliveries.sender import Receipt, key_of, send_all
from tests.e2e.deliveries.stand import AT_ONCE, open_operated_plane
from tests.e2e.deliveries.webhook import IMAGES, WebhookImpulse, install_webhook
from tests.integration.operator_cluster import NAMESPACE_NAME

PER_SECOND: Final = 20.0
"""The rate of the target."""
PART: Final = 0.8
"""Of the highest rate: where latencies are measured, if the rate of the target is beyond that."""
SECONDS: Final = 30
"""How long each rate is kept up."""
WARM_UP: Final = 60
"""Deliveries before the measurement."""
MOST_SECONDS: Final = 0.5
"""From the request to the first step, for 99 of 100 deliveries."""
OUTSTANDING: Final = 40
"""Deliveries without a finished run, while the highest rate is estimated."""
ESTIMATE_SECONDS: Final = 20.0
DRAIN_SECONDS: Final = 300.0
CONTAINER: Final[Object] = {"name": "s0", "ref": {"name": "noop"}}


@dataclass
class Course:
    """A webhook Impulse under load, and what was seen of its deliveries."""

    impulse: WebhookImpulse
    observer: Observer
    sent: int = 0
    """The number of the next delivery."""
    known: int = 0
    """Runs of others that the observer saw ended."""
    receipts: dict[str, Receipt] = field(default_factory=dict)
    """By the name of the run."""

    @property
    def ended(self) -> int:
        """The number of runs that have ended."""
        return len(self.observer.run_ended) - self.known

    async def send(self, count: int, per_second: float) -> list[str]:
        """Sends deliveries; returns the names of their runs, in order, when all were accepted.

        Raises:
            RuntimeError: the webhook refused one.
        """
        first, self.sent = self.sent, self.sent + count
        names = {key_of(number): self.run_of(number) for number in range(first, first + count)}

        def accepted(receipt: Receipt) -> None:
            if not receipt.trigger:
                raise RuntimeError(f"{receipt.key} was not accepted: {receipt.problem}")
            self.receipts[names[receipt.key]] = receipt

        await send_all(self.impulse.order("bench", count, per_second, first=first), accepted)
        return list(names.values())

    def run_of(self, number: int) -> str:
        return story_run_name(self.impulse.namespace, self.impulse.name, key_of(number))

    async def until_all_ended(self) -> None:
        with trio.fail_after(DRAIN_SECONDS):
            await self.observer.wait_for_runs(self.known + self.sent)


def measure() -> list[Row]:
    return trio.run(_measured)


async def _measured() -> list[Row]:
    rows = []
    async with _open_cluster() as (client, namespace):
        await install_engram(client, "noop", "bench/noop:1", namespace)
        for name, what, step in (("contained", "one container", CONTAINER), ("bare", "no container", AT_ONCE)):
            impulse = await install_webhook(client, name, namespace, [step])
            async with open_observer(client, namespace) as observer:
                course = Course(impulse, observer, known=len(observer.run_ended))
                await course.send(WARM_UP, PER_SECOND)
                await course.until_all_ended()
                search = await _highest(course)
                rows.append(_highest_row(search, what))
                rate = min(PER_SECOND, math.floor(search.per_second * PART))
                rows += await _latencies(course, rate, what, contained=step is CONTAINER)
    return rows


async def _latencies(course: Course, per_second: float, what: str, *, contained: bool) -> list[Row]:
    """At a rate that the runs keep up with: beyond it, latencies only say how long the measurement has lasted."""
    names = await course.send(round(per_second * SECONDS), per_second)
    await course.until_all_ended()
    seen, shift = course.observer, time.monotonic() - trio.current_time()
    starts = [seen.job_created[f"{name}-s0"][0] if contained else seen.run_ended[name] for name in names]
    asked = [course.receipts[name].asked_at for name in names]
    answered = [course.receipts[name].seconds for name in names]
    until = "first step's Job created" if contained else "run ended"
    rate = f"{per_second:.0f} deliveries/s for {SECONDS} s, Story with {what}"
    return [
        Row(f"deliveries a second meanwhile, Story with {what}", Value(per_second, A_SECOND, at_least=PER_SECOND)),
        percentiles_row(f"{rate}: request → 202", answered),
        percentiles_row(
            f"{rate}: request → {until}",
            [start + shift - at for start, at in zip(starts, asked, strict=True)],
            p99_at_most=MOST_SECONDS,
        ),
    ]


async def _highest(course: Course) -> RateSearch:
    """Finds the highest rate at which the number of unfinished runs does not grow for ``SECONDS``."""
    search = RateSearch(await _throughput(course))
    while not search.is_over:
        search.note(await _keeps_up_with(course, search.per_second))
        await course.until_all_ended()
    return search


def _highest_row(search: RateSearch, what: str) -> Row:
    tried = ", ".join(f"{rate:.0f}" for rate in search.too_high)
    return Row(
        f"highest rate at which runs keep up for {SECONDS} s, Story with {what}",
        Value(search.per_second, A_SECOND, at_least=PER_SECOND, note=f" (not {tried})" if tried else ""),
    )


async def _throughput(course: Course) -> float:
    """How many runs a second end while there are always ``OUTSTANDING`` unfinished deliveries."""
    ended_before, began_at = course.ended, trio.current_time()
    async with trio.open_nursery() as nursery:
        while trio.current_time() < began_at + ESTIMATE_SECONDS:
            missing = OUTSTANDING - (course.sent - course.ended)
            if missing > 0:
                nursery.start_soon(course.send, missing, 1e6)
            await course.observer.changed.wait()
        ended = course.ended - ended_before
        seconds = trio.current_time() - began_at
    await course.until_all_ended()
    return ended / seconds


async def _keeps_up_with(course: Course, per_second: float) -> bool:
    """Whether the runs keep up with this rate."""
    first, backlog = course.sent, list[int]()
    ended_before, began_at = course.ended, trio.current_time()

    async def watch() -> None:
        for second in range(SECONDS):
            await trio.sleep_until(began_at + second + 1)
            due = min((trio.current_time() - began_at) * per_second, course.sent - first)
            backlog.append(round(due) - (course.ended - ended_before))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await course.send(round(per_second * SECONDS), per_second)
    return keeps_up(backlog, per_second)


@asynccontextmanager
async def _open_cluster() -> AsyncIterator[tuple[KubeClient, str]]:
    with tempfile.TemporaryDirectory(prefix="bobrapet-bench-", ignore_cleanup_errors=True) as folder:
        images = Path(folder) / "images.yaml"
        images.write_text(_images())
        async with open_operated_plane(Path(folder), images) as there:
            yield there.client, NAMESPACE_NAME


def _images() -> str:
    """The image map of the measurements, and that of the Impulses."""
    return IMAGE_MAP + IMAGES.read_text().partition("images:\n")[2]
