"""Kills the operator with ``kill -9`` at random instants under load: all runs must succeed, no step may run twice."""

from __future__ import annotations

import os
import random
import signal

import trio

from bench.observer import open_observer
from bench.report import Row, exactly
from bench.stand import NAMESPACE, Stand, install_chain, open_stand, start_run
from core.api.resource import JOB, STEP_RUN

RUNS = 50
STEPS = 3
KILLS = 20
DEADLINE_SECONDS = 400.0


def measure() -> list[Row]:
    return trio.run(_measure)


async def _measure() -> list[Row]:
    chance = random.Random(20)
    async with open_stand() as stand:
        story = await install_chain(stand.client, length=STEPS, image="bench/nap:1")
        async with open_observer(stand.client) as observer:
            kills = 0
            with trio.fail_after(DEADLINE_SECONDS):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_load, stand, story)
                    while kills < KILLS:
                        await trio.sleep(chance.uniform(0.2, 1.5))
                        try:
                            os.kill(stand.operator_pid(), signal.SIGKILL)
                            kills += 1
                        except (LookupError, ProcessLookupError):
                            continue
                await observer.wait_for_runs(RUNS)
            await trio.sleep(3)
            twice = [name for name, count in observer.pod_succeeded.items() if count > 1]
            succeeded = list(observer.run_phase.values()).count("Succeeded")
        jobs = (await stand.client.list(JOB, NAMESPACE)).items
        steps = {step["metadata"]["uid"] for step in (await stand.client.list(STEP_RUN, NAMESPACE)).items}
        orphans = [
            job for job in jobs if not any(o["uid"] in steps for o in job["metadata"].get("ownerReferences", ()))
        ]
    return [
        Row("kills of the operator", exactly(kills, KILLS)),
        Row("runs that ended Succeeded", exactly(succeeded, RUNS)),
        Row("StepRuns", exactly(len(steps), RUNS * STEPS)),
        Row("steps that ran again after they had succeeded", exactly(len(twice), 0)),
        Row("Jobs without a StepRun", exactly(len(orphans), 0)),
    ]


async def _load(stand: Stand, story: str) -> None:
    """Starts runs continuously, so that each kill meets runs at all stages."""
    for index in range(RUNS):
        await start_run(stand.client, story, f"killed-{index}")
        await trio.sleep(0.3)
