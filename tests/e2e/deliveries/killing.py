"""Ends programs with ``kill -9`` at random instants, spread over the whole of the work."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import trio

from tests.e2e.deliveries.stand import DeliveryStand

_WITHIN_SECONDS: Final = 0.3


class Victim(StrEnum):
    OPERATOR = "operator"
    WEBHOOK = "webhook"
    API_SERVER = "API server"


@dataclass(frozen=True, slots=True)
class KillRecord:
    """A program that was killed."""

    victim: Victim
    at: float
    """By ``trio.current_time()``."""
    over_at: float
    """When it was started again; for the API server, when it served again."""


def instants(chance: random.Random, kills: int) -> list[float]:
    """Shares of the work, from 0 to 1: one at random in each of ``kills`` equal parts, so that no part is spared."""
    return [(number + chance.random()) / kills for number in range(kills)]


async def kill_in_between(
    stand: DeliveryStand,
    kills: Mapping[Victim, int],
    seed: int,
    progress: Callable[[], tuple[float, float]],
    wait: Callable[[Callable[[], bool]], Awaitable[None]],
    killed: Callable[[KillRecord], None],
) -> None:
    """Kill each victim as often as ``kills`` says; returns when all are done and serve again.

    Args:
        progress: the share of the deliveries that were accepted, and of the runs that have ended.
        wait: returns once a condition about the progress is true.
        killed: gets each kill.
    """
    kill = {
        Victim.OPERATOR: stand.kill_operator,
        Victim.WEBHOOK: stand.kill_webhook,
        Victim.API_SERVER: stand.kill_api_server,
    }

    def done(victim: Victim) -> float:
        accepted, ended = progress()
        return accepted if victim is Victim.WEBHOOK else (accepted + ended) / 2

    async def again_and_again(victim: Victim) -> None:
        chance = random.Random(f"{victim} {seed}")
        for share in instants(chance, kills[victim]):
            await wait(lambda share=share: done(victim) >= share)  # type: ignore[misc]  # a default binds the value
            await trio.sleep(chance.uniform(0.0, _WITHIN_SECONDS))
            at = trio.current_time()
            await kill[victim]()
            killed(KillRecord(victim, at, trio.current_time()))

    async with trio.open_nursery() as nursery:
        for victim in kills:
            nursery.start_soon(again_and_again, victim)
