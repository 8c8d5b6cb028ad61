"""Kills a process before a given step of its tasks, and gives up an execution that never ends."""

from __future__ import annotations

from typing import Final

import trio

from fuzz.engine.process import Process
from fuzz.engine.world import World, current_process

MOST_TASK_STEPS: Final = 30_000
"""The limit for one execution; the longest ones of the bounded profile need a tenth of it."""


class KillAt(trio.abc.Instrument):
    """Kills the process of ``world`` before its ``number``-th task step, counted over all its tasks; 0 only counts.

    A dead process leaves nothing behind except what it has stored. So deaths between which neither the server has
    changed nor time has passed lead to the same execution, apart from the order of tasks that are ready together:
    ``moments`` has the first step of each such group. The server has changed when something was stored, when it went
    down or came back, when it lost its history, and when a key was given to another process.
    """

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.steps = 0
        self.total = 0
        self.moments: list[int] = []
        self.world: World | None = None
        self.process: Process | None = None
        self.fired = trio.Event()
        self._seen: tuple[object, ...] | None = None

    def begin(self, number: int) -> None:
        """Count the steps of another process; the caller sets ``process``."""
        self.number, self.steps, self.moments, self._seen = number, 0, [], None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.total += 1
        if self.total > MOST_TASK_STEPS and self.world is not None:
            self.world.give_up()
        process = task.context.get(current_process)
        if process is None or process is not self.process or self.world is None:
            return
        self.steps += 1
        cluster = self.world.cluster
        seen = cluster.newest, trio.current_time(), cluster.down, cluster.forgotten, len(self.world.shards.changes)
        if seen != self._seen:
            self.moments.append(self.steps)
            self._seen = seen
        if self.steps == self.number:
            self.world.kill_nowait()
            self.fired.set()
