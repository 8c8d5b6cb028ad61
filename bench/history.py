"""Measures an operator beside thousands of finished runs, and the same operator without them, one after the other.

The finished runs are copies of one that was executed, written into the database of the cluster while it is stopped. As
StepRuns, Jobs and Pods are deleted an hour after the end of a run, only some of the runs still have theirs.
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio

from bench.handover import measure_handover
from bench.latency import latencies, run_at_once
from bench.observer import open_observer
from bench.process import cpu_seconds, peak_resident_bytes, resident_bytes, until_idle
from bench.report import Row, milliseconds, percentile
from bench.stand import IMAGE_MAP, Stand, install_chain, start_run
from cli.embedded.usage import open_cluster
from core.kube.client import open_client
from core.kube.config import load_config

FINISHED: Final = 20_000
RECENT: Final = 3_000
"""Finished runs that still have their StepRun, Job and Pod."""
STEPS: Final = 3
RUNS: Final = 60
CONCURRENT: Final = 10
SETTLED_SECONDS: Final = 20.0
IDLE_SECONDS: Final = 20.0
DEADLINE_SECONDS: Final = 300.0
SEED: Final = "seed"
_KEPT: Final = "storyruns"
_COPIED: Final = (_KEPT, "stepruns", "jobs", "pods")


@dataclass(frozen=True, slots=True)
class Figures:
    start: float
    """CPU seconds of the operator until it is idle."""
    peak: int
    memory: int
    """Bytes."""
    idle: float
    """CPU of the operator while nothing happens, share of a core."""
    seconds: float
    """Of all runs."""
    median: float
    worst: float
    """From a step's terminal status to the next Job, seconds; the worst of a hundred."""
    cpu: float
    """CPU seconds of the operator per step."""
    handover: float
    """Seconds from the Lease of another operator, which has read everything, to its first Job."""


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="bobrapet-bench-") as folder:
        data = Path(folder)
        story = trio.run(_one_run, data)
        without = trio.run(partial(_figures, data, story, "before"))
        _copy_finished_runs(data / "cluster.db")
        beside = trio.run(partial(_figures, data, story, "after"))
    mib = 2**20
    return [
        *_compared("CPU of the operator at its start", f"{without.start:.1f} s", f"{beside.start:.1f} s"),
        *_compared(
            "memory of the operator at rest", f"{without.memory / mib:.0f} MiB", f"{beside.memory / mib:.0f} MiB"
        ),
        *_compared("its peak before", f"{without.peak / mib:.0f} MiB", f"{beside.peak / mib:.0f} MiB"),
        *_compared(
            "an operator that has waited for the Lease gets it → first Job of a run, p50",
            milliseconds(without.handover),
            milliseconds(beside.handover),
        ),
        *_compared("CPU at rest, share of a core", f"{without.idle:.2%}", f"{beside.idle:.2%}"),
        *_compared(
            f"{RUNS} runs of {STEPS} steps, {CONCURRENT} at once", f"{without.seconds:.1f} s", f"{beside.seconds:.1f} s"
        ),
        *_compared("terminal status → next Job, p50", milliseconds(without.median), milliseconds(beside.median)),
        *_compared("terminal status → next Job, p99", milliseconds(without.worst), milliseconds(beside.worst)),
        *_compared("CPU of the operator for a step", milliseconds(without.cpu), milliseconds(beside.cpu)),
    ]


def _compared(what: str, without: str, beside: str) -> list[Row]:
    return [Row(f"{what}: no finished runs", without), Row(f"{what}: beside {FINISHED:,} finished runs", beside)]


async def _one_run(data: Path) -> str:
    images = data / "images-of-bench.yaml"
    images.write_text(IMAGE_MAP)
    async with (
        open_cluster(data, image_map=images) as cluster,
        open_client(await load_config(cluster.kubeconfig)) as client,
        open_observer(client) as observer,
    ):
        story = await install_chain(client, length=STEPS)
        with trio.fail_after(DEADLINE_SECONDS):
            await start_run(client, await install_chain(client, length=1, image="bench/nap:1"), SEED)
            await observer.wait_for_runs(1)
        await trio.sleep(SETTLED_SECONDS)
    return story


async def _figures(data: Path, story: str, prefix: str) -> Figures:
    async with open_cluster(data) as cluster, open_client(await load_config(cluster.kubeconfig)) as client:
        stand = Stand(cluster, client)
        pid = stand.operator_pid()
        await until_idle(pid)
        start, memory, peak = cpu_seconds([pid]), resident_bytes(pid), peak_resident_bytes(pid)
        await trio.sleep(IDLE_SECONDS)
        idle = (cpu_seconds([pid]) - start) / IDLE_SECONDS
        async with open_observer(client) as observer:
            before = cpu_seconds([pid])
            seconds = await run_at_once(client, observer, story, prefix, runs=RUNS, concurrent=CONCURRENT)
            used = cpu_seconds([pid]) - before
            found = latencies(observer, prefix, runs=RUNS, steps=STEPS).of_status
        median, worst = percentile(found, 50), percentile(found, 99)
        handover = await _handover(stand, story, prefix)
        return Figures(start, peak, memory, idle, seconds, median, worst, used / (RUNS * STEPS), handover)


async def _handover(stand: Stand, story: str, prefix: str) -> float:
    """The cluster's own operator is stopped meanwhile."""
    with tempfile.TemporaryDirectory(prefix="bobrapet-bench-") as folder, _stopped(stand.operator_pid()):
        kubeconfig = stand.cluster.kubeconfig
        return (await measure_handover(stand.client, kubeconfig, story, prefix, Path(folder))).seconds


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _copy_finished_runs(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        found = connection.execute("SELECT key, data FROM objects WHERE key LIKE ?", (f"%/{SEED}%",)).fetchall()
        rows = [(key, bytes(data).decode()) for key, data in found if key.split("/")[-3] in _COPIED]
        assert {key.split("/")[-3] for key, _ in rows} == {*_COPIED}, [key for key, _ in rows]
        uids = {match[1] for _, data in rows for match in re.finditer(r'"uid":"([^"]+)"', data)}
        (revision,) = connection.execute("SELECT value FROM revision").fetchone()
        for number in range(FINISHED):
            name = f"finished-{number}"
            fresh = {uid: str(uuid.uuid4()) for uid in uids}
            for key, text in rows:
                if number >= RECENT and key.split("/")[-3] != _KEPT:
                    continue
                revision += 1
                copy = re.sub(r'"resourceVersion":"\d+"', f'"resourceVersion":"{revision}"', text).replace(SEED, name)
                for uid, other in fresh.items():
                    copy = copy.replace(uid, other)
                values = (key.replace(SEED, name), revision, copy.encode())
                connection.execute("INSERT INTO objects (key, revision, data) VALUES (?, ?, ?)", values)
        connection.execute("UPDATE revision SET value = ?", (revision,))
    connection.close()
