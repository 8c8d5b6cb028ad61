"""The operator as a child process of the embedded cluster: started early, told when to begin, kept up."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE
from typing import Final

import trio

from core.telemetry.logs import get_logger
from manager.embedded.folder import EmbeddedError
from manager.embedded.process import STOP_DEADLINE_SECONDS

OPERATOR_NAMESPACE: Final = "bobrapet-system"
READY_SECONDS: Final = 30.0
RESTART_PAUSE_SECONDS: Final = 0.5
_PROBE_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.02

_log = get_logger("cluster")


@dataclass(frozen=True, slots=True)
class OperatorProcess:
    """``run()`` keeps an operator up; it waits for ``begin`` and tells when it is ``ready`` the first time."""

    metrics_port: int
    ready: trio.Event = field(default_factory=trio.Event)
    _kubeconfig: list[Path] = field(default_factory=list)
    _begun: trio.Event = field(default_factory=trio.Event)

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
            probe_port = free_port()
            async with trio.open_nursery() as nursery:
                process: trio.Process = await nursery.start(_run_child, self._command(probe_port))
                if first:
                    task_status.started()
                    first = False
                nursery.start_soon(self._bring_up, process, probe_port)
                await process.wait()
                nursery.cancel_scope.cancel()
            if not self.ready.is_set():
                raise EmbeddedError(f"the operator ended before it was ready (exit code {process.returncode})")
            _log.warning("the operator ended and is started again", exit_code=process.returncode)
            await trio.sleep(RESTART_PAUSE_SECONDS)

    def _command(self, probe_port: int) -> list[str]:
        return [
            sys.executable,
            "-m",
            "manager.cli",
            "manager",
            "--attached",
            f"--config-namespace={OPERATOR_NAMESPACE}",
            f"--health-probe-bind-address=127.0.0.1:{probe_port}",
            f"--metrics-bind-address=127.0.0.1:{self.metrics_port}",
            "--metrics-secure=false",
            "--leader-elect=false",
        ]

    async def _bring_up(self, process: trio.Process, probe_port: int) -> None:
        await self._begun.wait()
        assert process.stdin is not None, "started with a pipe"
        try:
            await process.stdin.send_all(f"{self._kubeconfig[0]}\n".encode())
        except trio.BrokenResourceError:
            return  # it has ended, which is noticed elsewhere
        with trio.move_on_after(READY_SECONDS):
            while not await _answers_ready(probe_port):  # noqa: ASYNC110 - another process has no event
                await trio.sleep(_POLL_SECONDS)
            self.ready.set()
        if not self.ready.is_set():
            raise EmbeddedError(f"the operator did not become ready within {READY_SECONDS:.0f} s")


async def _run_child(
    command: list[str], *, task_status: trio.TaskStatus[trio.Process] = trio.TASK_STATUS_IGNORED
) -> None:
    """Until it ends by itself; when cancelled it is asked to stop, then made to."""
    await trio.run_process(command, stdin=PIPE, check=False, deliver_cancel=_stop_child, task_status=task_status)


async def _stop_child(process: trio.Process) -> None:
    process.terminate()
    await trio.sleep(STOP_DEADLINE_SECONDS / 3)
    process.kill()


async def _answers_ready(port: int) -> bool:
    """Ask ``/readyz`` by hand: an HTTP client library would take longer to load than the operator to start."""
    request = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    try:
        with trio.fail_after(_PROBE_SECONDS):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            async with stream:
                await stream.send_all(request)
                return (await stream.receive_some(64)).startswith(b"HTTP/1.1 200")
    except (OSError, trio.BrokenResourceError, trio.TooSlowError):
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
