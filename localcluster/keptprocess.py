"""A part of a cluster in a child process: started early, begins on a signal, and is restarted when it ends.

The child's side of the protocol is ``parent``: it loads its modules while this process prepares, begins when it
receives a line, answers with one line when it is ready, and ends with this process, in every case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from subprocess import PIPE
from typing import Final

import trio

from localcluster.log import get_logger
from process import parent

READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 5.0
"""Between SIGTERM and SIGKILL."""
PAUSE_FIRST_SECONDS: Final = 0.2
PAUSE_LIMIT_SECONDS: Final = 10.0
STEADY_SECONDS: Final = 60.0
"""Who ran this long has recovered: its next end is a first one."""

_log = get_logger("localcluster.processes")


class ProcessNotReadyError(Exception):
    """The part did not come up; the text says which, and how it ended."""


@dataclass(frozen=True, slots=True)
class KeptProcess:
    """``run()`` keeps it up; it waits for ``begin``, and what it answers goes to ``on_ready`` each time."""

    name: str
    """As people call it: ``operator``, ``node``."""
    command: Sequence[str]
    on_ready: Callable[[str], None]
    _word: list[str] = field(default_factory=list)
    _begun: trio.Event = field(default_factory=trio.Event)
    _ready: trio.Event = field(default_factory=trio.Event)

    def begin(self, word: str) -> None:
        """What it works on is there; ``word``, one line, tells it what to do, after each restart too."""
        self._word.append(word)
        self._begun.set()

    async def wait_until_ready(self) -> None:
        """Return once it has been ready for the first time."""
        await self._ready.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; started once the first process exists.

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
            told = f"the {self.name} ended and is started again"
            _log.warning(told, exit_code=process.returncode, pause_seconds=pause)
            await trio.sleep(pause)
            pause = min(2 * pause, PAUSE_LIMIT_SECONDS)

    async def _run_once(self, task_status: trio.TaskStatus[None]) -> trio.Process:
        """One process, from its start to its end."""
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
                return  # it has ended, which is noticed elsewhere
            answer = await parent.word_of(process.stdout)
            if answer is not None:
                self.on_ready(answer)
                self._ready.set()
            return
        if not self._ready.is_set():
            raise ProcessNotReadyError(f"the {self.name} did not become ready within {READY_SECONDS:.0f} s")
        process.terminate()  # a later start that hangs is ended, and tried again


async def _run_child(
    command: Sequence[str], *, task_status: trio.TaskStatus[trio.Process] = trio.TASK_STATUS_IGNORED
) -> None:
    """Until it ends by itself; when cancelled it is asked to stop, then made to."""
    await trio.run_process(
        command, stdin=PIPE, stdout=PIPE, check=False, deliver_cancel=_stop_child, task_status=task_status
    )


async def _stop_child(process: trio.Process) -> None:
    process.terminate()
    await trio.sleep(STOP_SECONDS)
    process.kill()
