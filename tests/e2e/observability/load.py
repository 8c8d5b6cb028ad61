"""A mixed load: runs that succeed, fail, retry, wait and stream, and objects that admission refuses."""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import trio

from core.api.resource import STORY
from core.kube.errors import ApiError, InvalidError, KubeError
from tests.e2e.admission_rig import WRONG
from tests.e2e.observability.stage import Stage

_numbers: Final[Iterator[int]] = itertools.count()

TIMETABLE: Final = (
    ("report", 2.5),
    ("crawl", 6.0),
    ("payments", 15.0),
    ("reminder", 12.0),
    ("model", 14.0),
)
"""Story, and seconds between two runs of it."""


async def start(stage: Stage, story: str) -> str:
    """Start a run; returns its name."""
    name = f"{story}-{next(_numbers)}"
    await stage.rig.run(name, story)
    return name


async def play(stage: Stage, seconds: float) -> None:
    """An ordinary day, with one incident after the other, within ``seconds``."""
    part = seconds / 8
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for story, pause in TIMETABLE:
                nursery.start_soon(_again_and_again, stage, story, pause)
            nursery.start_soon(start, stage, "sensors")
            nursery.start_soon(_at, 1.5 * part, lambda: _many(stage, "model", 12))
            nursery.start_soon(_at, 2 * part, lambda: _refused(stage, part))
            nursery.start_soon(_at, 2 * part, lambda: _slow_sink(stage, 2 * part))
            nursery.start_soon(_at, 3 * part, lambda: rotate(stage))
            nursery.start_soon(_at, 4 * part, lambda: _many(stage, "payments", 10))
            nursery.start_soon(_at, 5 * part, lambda: _lose_a_replica(stage))
            nursery.start_soon(_at, 6 * part, lambda: rotate(stage))


async def refuse_one(stage: Stage) -> None:
    """A Story that admission refuses."""
    try:
        await stage.rig.create(STORY, f"wrong-{next(_numbers)}", WRONG)
    except InvalidError:
        return
    except ApiError:  # no replica answers now
        return
    raise AssertionError("an invalid Story must be refused")


async def rotate(stage: Stage) -> None:
    """New certificates, as a person asks for them."""
    kubeconfig = f"--kubeconfig={stage.rig.plane.kubeconfig}"
    words = [sys.executable, "-m", "cli", "certs", "rotate", "--yes", "--namespace=bobrapet-system", kubeconfig]
    await trio.run_process(words, capture_stdout=True, capture_stderr=True, check=False)


async def _at(seconds: float, act: Callable[[], Awaitable[object]]) -> None:
    await trio.sleep(seconds)
    await act()


async def _again_and_again(stage: Stage, story: str, pause: float) -> None:
    while True:
        try:
            await start(stage, story)
        except KubeError:
            print(f"{story} was not accepted", file=sys.stderr)
        await trio.sleep(pause * random.uniform(0.7, 1.3))


async def _many(stage: Stage, story: str, number: int) -> None:
    for _ in range(number):
        await start(stage, story)


async def _refused(stage: Stage, seconds: float) -> None:
    with trio.move_on_after(seconds):
        while True:
            await refuse_one(stage)
            await trio.sleep(2)


async def _slow_sink(stage: Stage, seconds: float) -> None:
    (stage.folder / "slow").touch()
    await trio.sleep(seconds)
    (stage.folder / "slow").unlink()


async def _lose_a_replica(stage: Stage) -> None:
    """``kill -9``: the other replica leads when the Lease has run out. Admission is away until the first one is "
    "back."""
    await stage.replicas[0].kill()
    await trio.sleep(1)
    stage.replicas[0].start()
