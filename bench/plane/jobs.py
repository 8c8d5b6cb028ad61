"""Measures the control plane alone: Jobs created from outside, as fast as the Job controller runs them."""

from __future__ import annotations

import trio

from bench.plane.stand import PlaneStand
from bench.stand import NAMESPACE
from core.api.resource import JOB
from core.kube.informer import Change, Informer

JOBS = 400
DEADLINE_SECONDS = 300.0


async def bare_jobs_per_minute(stand: PlaneStand, count: int = JOBS) -> float:
    """Creates ``count`` Jobs at once; returns the rate at which they were seen complete, from the first request on."""
    complete: set[str] = set()
    done = trio.Event()

    def note(change: Change) -> None:
        conditions = ((change.new or {}).get("status") or {}).get("conditions") or ()
        if change.new and any(c["type"] == "Complete" and c["status"] == "True" for c in conditions):
            complete.add(change.new["metadata"]["name"])
            if len(complete) == count:
                done.set()

    informer = Informer(stand.client, JOB, namespace=NAMESPACE)
    informer.add_handler(note)
    async with trio.open_nursery() as nursery:
        await nursery.start(informer.run)
        started = trio.current_time()
        async with trio.open_nursery() as creating:
            for index in range(count):
                creating.start_soon(_create, stand, f"bare-{index}")
        with trio.fail_after(DEADLINE_SECONDS):
            await done.wait()
        seconds = trio.current_time() - started
        nursery.cancel_scope.cancel()
    return count / seconds * 60


async def _create(stand: PlaneStand, name: str) -> None:
    container = {"name": "main", "image": "bench/noop:1"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    job = {
        "apiVersion": JOB.api_version,
        "kind": JOB.kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"template": template, "backoffLimit": 0},
    }
    await stand.client.create(JOB, job, namespace=NAMESPACE)
