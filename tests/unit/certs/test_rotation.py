"""At every instant, every client that got a CA bundle trusts what every replica shows."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
import trio
import trio.testing

from certs.authority import Lifetimes, within_time
from certs.policy import CertRules
from tests.unit.certs.certs_world import HOST, LIFETIMES, START, ModelWorld, Process, open_model_world


@pytest.fixture
async def world() -> AsyncIterator[ModelWorld]:
    async with open_model_world() as opened:
        yield opened


BRISK = CertRules((HOST,), Lifetimes(authority=timedelta(days=24), overlap=timedelta(days=13)))
"""The next authority is created on day 11 and signs from day 16. The old authority is removed on day 23."""
DAYS_OF_A_LIFE = 400
"""Longer than the life of an authority: one hand-over of authorities and dozens of leaves."""


async def live(world: ModelWorld, *processes: Process, days: float, step_hours: float = 24) -> None:
    """Let time pass. One process after the other looks, and after each look every shown certificate must be trusted."""
    end = world.now.timestamp() + days * 86400
    while world.now.timestamp() < end:
        world.turn(hours=step_hours)
        for process in processes:
            await process.keeper.look()
            world.assert_trusted(*processes)


async def test_a_year_passes_without_an_instant_of_distrust(world: ModelWorld) -> None:
    one, two = world.process(), world.process()
    for process in (one, two):
        await process.keeper.look()
    first = one.keeper.held

    await live(world, one, two, days=DAYS_OF_A_LIFE, step_hours=48)

    held = one.keeper.held
    assert first is not None
    assert held is not None
    assert held.active.certificate != first.active.certificate
    assert held.retired == (), "the old authority is forgotten once its last leaf is over"
    assert held.generation > 65


async def test_the_old_authority_is_trusted_for_longer_than_any_leaf_lives(world: ModelWorld) -> None:
    process = world.process()
    await process.keeper.look()
    first = process.keeper.held
    assert first is not None
    old = first.active.certificate
    last_leaf_of_old, forgotten_at = None, None

    while forgotten_at is None:
        await live(world, process, days=0.5, step_hours=12)
        held = process.keeper.held
        assert held is not None
        if held.active.certificate == old:
            last_leaf_of_old = held.leaf.certificate
        elif old not in held.trusted:
            forgotten_at = world.now

    assert last_leaf_of_old is not None
    assert forgotten_at > last_leaf_of_old.not_valid_after_utc


async def test_a_new_authority_signs_nothing_before_everybody_trusts_it(world: ModelWorld) -> None:
    process = world.process()
    await process.keeper.look()
    old = process.keeper.held
    assert old is not None
    world.now = old.active.certificate.not_valid_after_utc - LIFETIMES.overlap
    refused: set[str] = {"PATCH v"}

    async def refuse(label: str) -> None:
        await trio.lowlevel.checkpoint()
        if label in refused:
            raise httpx.ConnectError("refused")

    world.api.before = refuse
    for _ in range(20):
        assert await process.keeper.look() is None
        world.turn(days=1)
    assert process.keeper.held is not None
    assert process.keeper.held.active.certificate == old.active.certificate
    assert process.shown is not None
    assert within_time(process.shown, world.now), "its leaf was renewed all the same"
    assert "could not be published" in process.keeper.readiness.word

    refused.clear()
    await live(world, process, days=7)

    assert process.keeper.held.active.certificate != old.active.certificate


class KilledError(BaseException):
    """The process is gone. None of its own handlers may see this."""


@pytest.mark.parametrize("committed", [False, True], ids=["before", "committed-but-unanswered"])
async def test_a_crash_at_any_request_leaves_what_others_can_go_on_from(world: ModelWorld, committed: bool) -> None:
    """Killed at request k of founding, renewing and handing over, for each k. A new process and an old one continue."""
    deaths = 0
    for scene_days in (0, 5, 11, 16, 23):
        k = 0
        while True:
            k += 1
            async with open_model_world() as there:
                survivor = there.process(BRISK)
                if scene_days:
                    await survivor.keeper.look()
                    await live(there, survivor, days=scene_days - 1)
                    there.turn(days=1)
                if not await _killed(there, k, committed=committed):
                    break
                deaths += 1
                successor = there.process(BRISK)
                await successor.keeper.look()
                there.assert_trusted(survivor, successor)
                await survivor.keeper.look()
                there.assert_trusted(survivor, successor)
                assert successor.keeper.readiness.ready

    assert deaths >= 25


async def _killed(world: ModelWorld, k: int, *, committed: bool) -> bool:
    """Let a process look, and end it at its ``k``-th request. Returns False when it needed fewer requests."""
    count = 0

    async def die(_: str) -> None:
        nonlocal count
        await trio.lowlevel.checkpoint()
        count += 1
        if count == k:
            raise KilledError

    before, after = world.api.before, world.api.after
    if committed:
        world.api.after = die
    else:
        world.api.before = die
    try:
        await world.process(BRISK).keeper.look()
    except KilledError:
        return True
    finally:
        world.api.before, world.api.after = before, after
    return False


@pytest.mark.parametrize("seed", range(4))
async def test_any_interleaving_of_three_replicas_keeps_the_chain_trusted(world: ModelWorld, seed: int) -> None:
    chance = random.Random(seed)
    processes = [world.process(BRISK) for _ in range(3)]
    waiting: list[trio.Event] = []

    async def take_turns(_: str) -> None:
        turn = trio.Event()
        waiting.append(turn)
        await turn.wait()
        world.assert_trusted(*processes)

    async def all_look() -> None:
        async with trio.open_nursery() as nursery:
            for process in processes:
                nursery.start_soon(process.keeper.look)
            while True:
                await trio.testing.wait_all_tasks_blocked()
                if not waiting:
                    return
                waiting.pop(chance.randrange(len(waiting))).set()

    world.api.before = world.api.after = take_turns
    for _ in range(14):
        if chance.random() < 0.3:
            world.api.objects.pop("pair", None)
        await all_look()
        world.turn(days=chance.uniform(1, 2))

    for _ in range(2):  # a process that read before another wrote is woken by that write
        await all_look()
    world.assert_trusted(*processes)
    assert all(process.keeper.readiness.ready for process in processes)
    assert len({process.shown for process in processes}) == 1


async def test_a_new_name_gets_a_new_authority_and_the_old_one_stays_trusted(world: ModelWorld) -> None:
    old = world.process()
    await old.keeper.look()
    new = world.process(CertRules(("other.system.svc", HOST), LIFETIMES))

    await new.keeper.look()

    world.assert_trusted(old, new)
    await old.keeper.look()
    world.assert_trusted(old, new)
    assert old.shown == new.shown


async def test_the_next_look_is_due_at_two_thirds_of_a_leafs_life(world: ModelWorld) -> None:
    assert await world.process().keeper.look() == START + LIFETIMES.leaf * 2 / 3
