"""Measures a week with 10,000 runs a day: what is left of the runs in memory, in the database and in the API server.

Time is virtual (``bench.compressed``); the settings are the built-in ones, so finished runs are kept for a day and
their StepRuns and Jobs for an hour. Of ten runs, one has a container, whose first attempt fails in every fifth of them;
one was requested by a StoryTrigger; one calls another Story; all others sleep for ten minutes. Containers take most of
the CPU, and nothing that lives longer than their run. The figures are taken at midnight; during the first day runs
accumulate, because none is a day old yet.

``python -m bench.week [DAYS [RUNS_A_DAY]]`` measures another time.
"""

from __future__ import annotations

import gc
import os
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio
from trio.testing import MockClock

from bench.census import census
from bench.compressed import TEAM, CompressedCluster, open_compressed_cluster
from bench.process import resident_bytes
from bench.report import COUNT, Row, Unit, Value, report
from bubu_contract.submission import trigger_name
from core.api.objects import Object
from core.api.resource import STORY, STORY_RUN, STORY_TRIGGER
from core.telemetry import metrics
from kubewire.reclaim import spare_what_there_is
from manager.memory import give_back_large_blocks

DAYS: Final = 7
RUNS_A_DAY: Final = 10_000
DAY_SECONDS: Final = 86_400.0
SETTLED_SECONDS: Final = 300.0
"""Longer than a start takes; and at the end of a day the ten-minute resync is not under way."""
LOAD: Final = "load"
RETRIED: Final = "load-late"
"""An Engram whose first attempt fails."""
SHOWN_KINDS: Final = ("storyruns", "stepruns", "jobs", "pods", "storytriggers", "events")
MIB: Final = 1 << 20
FLAT: Final = 1.05
"""The last day may end with so many times what the first day ended with."""
SLACK: Final = 20
"""A count may also be higher by what is under way by chance."""
_TENTHS: Final = Unit(digits=1)


@dataclass(frozen=True, slots=True)
class Count:
    """What there is at one moment."""

    created: int
    """Runs since the beginning, without those that a run started."""
    resident: float
    """MiB of the process after a full collection: operator, API server and controllers."""
    python_objects: int
    """That the garbage collector visits."""
    database: float
    """MiB of the database file, with its log copied into it; 0 in memory."""
    stored: Counter[str]
    """Objects of the API server by kind."""
    tasks: int
    runs_alive: int
    steps_at_work: int
    series: int
    held: Counter[str]
    """Entries of the operator's containers (``bench.census``)."""

    @property
    def wakeups(self) -> int:
        """Keys of controllers that wait for an instant."""
        return self.held["WorkQueue._due"]


def measure(days: int = DAYS, runs_a_day: int = RUNS_A_DAY) -> list[Row]:
    give_back_large_blocks()  # as a manager does
    with tempfile.TemporaryDirectory(prefix="bobrapet-week-") as folder:
        clock = MockClock(autojump_threshold=0)
        database = Path(folder) / "cluster.db"
        found = trio.run(partial(live_through, database, days, runs_a_day, say=_say), clock=clock)
    return rows(found, days * runs_a_day)


async def live_through(
    database: Path | None, days: int, runs_a_day: int, *, say: Callable[[int, Count], None] = lambda _, __: None
) -> list[Count]:
    """The figures at each midnight. ``say`` gets them, with the number of the day, as soon as they are known."""
    with metrics.recording():
        async with open_compressed_cluster(database, failing={RETRIED: 1}) as cluster:
            await install(cluster)
            spare_what_there_is()  # as a manager does
            await trio.sleep(SETTLED_SECONDS)
            found = []
            for day in range(days):
                await start_runs(cluster, range(day * runs_a_day, (day + 1) * runs_a_day), DAY_SECONDS)
                found.append(count(cluster, database, (day + 1) * runs_a_day))
                say(day + 1, found[-1])
            return found


async def install(cluster: CompressedCluster) -> None:
    for name in (LOAD, RETRIED):
        await cluster.engram(name)
    await cluster.impulse("mailbox", "sleeping")
    with_number: Object = {"number": "{{ inputs.number }}"}
    retry = {"execution": {"retry": {"maxRetries": 2, "delay": "30s", "backoff": "constant"}}}
    pause: Object = {"name": "pause", "type": "sleep", "with": {"duration": "10m"}}
    check: Object = {"name": "check", "type": "condition", "needs": ["pause"], "if": "{{ ge inputs.number 0 }}"}
    call: Object = {"storyRef": {"name": "sleeping"}, "with": with_number}
    stories: dict[str, list[Object]] = {
        "one-step": [{"name": "load", "ref": {"name": LOAD}, "with": with_number}],
        "retried": [{"name": "load", "ref": {"name": RETRIED}, **retry}],
        "calling": [{"name": "call", "type": "executeStory", "with": call}],
        "sleeping": [pause, check],
    }
    for name, steps in stories.items():
        await cluster.create(STORY, name, {"steps": steps})


async def start_runs(cluster: CompressedCluster, numbers: Sequence[int], seconds: float) -> None:
    """Start runs at equal distances; returns after ``seconds``."""
    began = trio.current_time()
    for position, number in enumerate(numbers):
        await trio.sleep_until(began + seconds * position / len(numbers))
        await _start(cluster, number)
    await trio.sleep_until(began + seconds)


async def _start(cluster: CompressedCluster, number: int) -> None:
    kind, round_ = number % 10, number // 10
    inputs = {"number": number}
    if kind == 0:
        story = "retried" if round_ % 5 == 0 else "one-step"
    else:
        story = "calling" if kind == 1 else "sleeping"
    if kind == 2:
        identity = f"mail-{number}"
        spec: dict[str, Any] = {
            "storyRef": {"name": story},
            "inputs": inputs,
            "impulseRef": {"name": "mailbox"},
            "deliveryIdentity": {"mode": "none", "submissionId": identity},
        }
        await cluster.create(STORY_TRIGGER, trigger_name(TEAM, story, identity), spec)
    else:
        await cluster.create(STORY_RUN, f"run-{number}", {"storyRef": {"name": story}, "inputs": inputs})


def count(cluster: CompressedCluster, database: Path | None, created: int) -> Count:
    gc.collect()
    statistics = cluster.operator.supervisor.statistics()
    text = metrics.exposition()[0]()
    return Count(
        created=created,
        resident=resident_bytes(os.getpid()) / MIB,
        python_objects=len(gc.get_objects()),
        database=0.0 if database is None else _size_of(database) / MIB,
        stored=Counter({each.name.rpartition("/")[2]: len(each) for each in cluster.server.store.collections()}),
        tasks=trio.lowlevel.current_statistics().tasks_living,
        runs_alive=statistics.runs_alive,
        steps_at_work=statistics.steps_at_work,
        series=sum(not line.startswith(b"#") for line in text.splitlines()),
        held=census([cluster.operator, cluster.world, cluster.recorder]),
    )


def _size_of(database: Path) -> int:
    """The log waits for a quiet moment, which there is not in virtual time: copy it now."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return database.stat().st_size


def rows(found: Sequence[Count], runs: int) -> list[Row]:
    """One figure a row, with its value at the end of each day."""

    def row(what: str, value: Callable[[Count], float], unit: Unit = COUNT, slack: int = SLACK) -> Row:
        *before, last = [value(each) for each in found]
        bound = FLAT * value(found[0]) + slack
        return Row(
            what,
            (*(Value(each, unit) for each in before), Value(last, unit, at_most=bound, name="last day")),
            between=", ",
        )

    return [
        Row(f"runs in {len(found)} days of virtual time, each figure at the end of a day", f"{runs:,}"),
        row("memory of operator and API server in one process, MiB", lambda each: each.resident, _TENTHS, 0),
        row("… objects that Python's collector visits", lambda each: each.python_objects),
        row("database of the embedded cluster, MiB", lambda each: each.database, _TENTHS, 0),
        *(row(f"objects in the API server: {kind}", partial(_stored, kind)) for kind in SHOWN_KINDS),
        row("… all other kinds", lambda each: each.stored.total() - sum(each.stored[kind] for kind in SHOWN_KINDS)),
        row("runs that the operator supervises", lambda each: each.runs_alive),
        row("tasks of the process", lambda each: each.tasks),
        row("series of metrics", lambda each: each.series),
        row("keys that wait for an instant", lambda each: each.wakeups),
        row("entries of all containers of the operator", lambda each: each.held.total()),
    ]


def _stored(kind: str, each: Count) -> float:
    return each.stored[kind]


def _say(day: int, found: Count) -> None:
    """Days take minutes: say what is known."""
    sys.stderr.write(f"day {day}: {[(row.what, row.text) for row in rows([found], found.created)[1:]]}\n")
    sys.stderr.write(f"  largest containers: {found.held.most_common(25)}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(report([("week", measure(*map(int, sys.argv[1:3])))]))
