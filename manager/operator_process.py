"""The operator as a child process of the embedded cluster: started early, told when to begin, kept up."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE
from typing import Final

import trio

from core.telemetry.logs import get_logger
from manager import parent
from manager.embedded.folder import EmbeddedError
from manager.embedded.process import STOP_DEADLINE_SECONDS

OPERATOR_NAMESPACE: Final = "bobrapet-system"
READY_SECONDS: Final = 30.0
RESTART_PAUSE_SECONDS: Final = 0.5

# It chooses the port of its metrics itself and says which: one chosen for it could be taken meanwhile.
_COMMAND: Final = (
    sys.executable,
    "-m",
    "manager.cli",
    "manager",
    "--attached",
    f"--config-namespace={OPERATOR_NAMESPACE}",
    "--health-probe-bind-address=0",
    "--metrics-bind-address=127.0.0.1:0",
    "--metrics-secure=false",
    "--leader-elect=false",
)

_log = get_logger("cluster")


@dataclass(frozen=True, slots=True)
class OperatorProcess:
    """``run()`` keeps an operator up; it waits for ``begin``, and tells ``on_ready`` its metrics URL each time."""

    on_ready: Callable[[str], None]
    _kubeconfig: list[Path] = field(default_factory=list)
    _begun: trio.Event = field(default_factory=trio.Event)
    _ready: trio.Event = field(default_factory=trio.Event)

    def begin(self, kubeconfig: Path) -> None:
        """The cluster answers: work on it."""
        self._kubeconfig.append(kubeconfig)
        self._begun.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; started once the first process exists.

        Raises:
            EmbeddedError: it did not become ready the first time.
        """
        first = True
        while True:
            async with trio.open_nursery() as nursery:
                process: trio.Process = await nursery.start(_run_child)
                if first:
                    task_status.started()
                    first = False
                nursery.start_soon(self._bring_up, process)
                await process.wait()
                nursery.cancel_scope.cancel()
            if not self._ready.is_set():
                raise EmbeddedError(f"the operator ended before it was ready (exit code {process.returncode})")
            _log.warning("the operator ended and is started again", exit_code=process.returncode)
            await trio.sleep(RESTART_PAUSE_SECONDS)

    async def _bring_up(self, process: trio.Process) -> None:
        await self._begun.wait()
        assert process.stdin is not None, "started with pipes"
        assert process.stdout is not None, "started with pipes"
        with trio.move_on_after(READY_SECONDS):
            try:
                await process.stdin.send_all(f"{self._kubeconfig[0]}\n".encode())
            except trio.BrokenResourceError:
                return  # it has ended, which is noticed elsewhere
            metrics_url = await parent.word_of(process.stdout)
            if metrics_url is not None:
                self.on_ready(metrics_url)
                self._ready.set()
            return
        if not self._ready.is_set():
            raise EmbeddedError(f"the operator did not become ready within {READY_SECONDS:.0f} s")
        process.kill()  # and so it is started again


async def _run_child(*, task_status: trio.TaskStatus[trio.Process] = trio.TASK_STATUS_IGNORED) -> None:
    """Until it ends by itself; when cancelled it is asked to stop, then made to."""
    await trio.run_process(
        _COMMAND, stdin=PIPE, stdout=PIPE, check=False, deliver_cancel=_stop_child, task_status=task_status
    )


async def _stop_child(process: trio.Process) -> None:
    process.terminate()
    await trio.sleep(STOP_DEADLINE_SECONDS / 3)
    process.kill()
