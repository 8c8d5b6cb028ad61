"""Keeps a part of a cluster running in a child process: starts it early, lets it begin on a signal, and restarts it.

``process.parent`` is the child's side of the protocol. The child loads its modules while this process prepares. It
begins when it receives a line, and answers with one line when it is ready. It always ends together with this process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from subprocess import PIPE
from typing import Final

import trio

from kubewire import parent
from localcluster.log import get_logger

READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 5.0
"""The time between SIGTERM and SIGKILL."""
PAUSE_FIRST_SECONDS: Final = 0.2
PAUSE_LIMIT_SECONDS: Final = 10.0
STEADY_SECONDS: Final = 60.0
"""A process that ran this long has recovered: when it ends, the pause starts again at the shortest one."""

_log = get_logger("localcluster.processes")


class ProcessNotReadyError(Exception):
    """The part did not become ready; the text says which one, and how it ended."""


@dataclass(frozen=True, slots=True)
class KeptProcess:
    """One child process. ``run()`` keeps it running. It waits for ``begin``; ``on_ready`` gets each of its answers."""

    name: str
    """The name in messages: ``operator``, ``node``."""
    command: Sequence[str]
    on_ready: Callable[[str], None]
    _word: list[str] = field(default_factory=list)
    _begun: trio.Event = field(default_factory=trio.Event)
    _ready: trio.Event = field(default_factory=trio.Event)

    def begin(self, word: str) -> None:
        """Let the child begin. ``word`` is one line that tells it what to do; it is sent after each restart, too."""
        self._word.append(word)
        self._begun.set()

    async def wait_until_ready(self) -> None:
        """Return when it has been ready for the first time."""
        await self._ready.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the process running until cancelled; started once the first process exists.

        Raises:
            ProcessNotReadyError: it did not become ready the first time.
        """
        pause = PAUSE_FIRST_SECONDS
        while True:
            began_at = trio.current_time()
            process = await self._run_once(task_status)
            task_status = trio.TASK_STATUS_IGNORED
            if not self._ready.is_set():
                raise ProcessNotReadyError(
                    f"the {self.name} ended before it was ready (exit code {process.returncode})"
                )
            if trio.current_time() - began_at >= STEADY_SECONDS:
                pause = PAUSE_FIRST_SECONDS
            message = f"the {self.name} ended and is started again"
            _log.warning(message, exit_code=process.returncode, pause_seconds=pause)
            await trio.sleep(pause)
            pause = min(2 * pause, PAUSE_LIMIT_SECONDS)

    async def _run_once(self, task_status: trio.TaskStatus[None]) -> trio.Process:
        """Run one process, from its start to its end."""
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(_run_child, self.command)
            task_status.started()
            nursery.start_soon(self._bring_up, process)
            await process.wait()
            nursery.cancel_scope.cancel()
        return process

    async def _bring_up(self, process: trio.Process) -> None:
        await self._begun.wait()
        assert process.stdin is not None, "started with pipes"
        assert process.stdout is not None, "started with pipes"
        with trio.move_on_after(READY_SECONDS):
            try:
                await process.stdin.send_all(f"{self._word[0]}\n".encode())
            except trio.BrokenResourceError:
                return  # it has ended; ``_run_once`` notices that
            answer = await parent.word_of(process.stdout)
            if answer is not None:
                self.on_ready(answer)
                self._ready.set()
            return
        if not self._ready.is_set():
            raise ProcessNotReadyError(f"the {self.name} did not become ready within {READY_SECONDS:.0f} s")
        process.terminate()  # a restarted process that does not become ready is ended, and started again


async def _run_child(
    command: Sequence[str], *, task_status: trio.TaskStatus[trio.Process] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run until the process ends by itself; when cancelled, send SIGTERM, and SIGKILL after ``STOP_SECONDS``."""
    await trio.run_process(
        command, stdin=PIPE, stdout=PIPE, check=False, deliver_cancel=_stop_child, task_status=task_status
    )


async def _stop_child(process: trio.Process) -> None:
    process.terminate()
    await trio.sleep(STOP_SECONDS)
    process.kill()
