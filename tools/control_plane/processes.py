"""One server process: started, watched, paused, ended, started again. Its output goes to a file.

It runs in a separate session, so that an interrupt at the terminal reaches only our process, which ends it in order.
When our process is killed, the kernel kills the server (on Linux). The server holds only files below one directory.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

import trio

STOP_DEADLINE_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.02
_TAIL_LINES: Final = 25
_GUARD: Final = Path(__file__).with_name("guard.py")


class ServerError(Exception):
    """A process ended or did not get ready. The message has its last lines and the path of its log."""


class Running(Protocol):
    """A process that was started, as ``subprocess.Popen`` shows it."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def send_signal(self, number: int, /) -> None: ...


class ServerProcess:
    """A command that can be started any number of times, one at a time. Open it with ``open_process``."""

    def __init__(self, name: str, begin: Callable[[], Running], log: Path) -> None:
        self.name = name
        self.log = log
        self._begin = begin
        self._process: Running | None = None

    @property
    def pid(self) -> int:
        """Id of the process that runs now.

        Raises:
            ServerError: no process runs.
        """
        if self._process is None or self._process.poll() is not None:
            raise ServerError(f"{self.name} is not running\n{self.tail()}")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal. None while the process runs."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start the process; returns before it is ready. The log is continued."""
        assert not self.running, f"{self.name} runs already"
        self._process = self._begin()

    async def stop(self, *, seconds: float = STOP_DEADLINE_SECONDS) -> None:
        """Ask the process to end (SIGTERM), and kill it if it does not end within ``seconds``."""
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
            with trio.move_on_after(seconds):
                await _ended(process)
            await _kill(process)

    async def kill(self) -> None:
        """End the process at once (SIGKILL), as a crash would; returns when it is gone.

        The one that runs now: another task may start the next one as soon as it is gone.
        """
        if self._process is not None:
            await _kill(self._process)

    def pause(self) -> None:
        """SIGSTOP: the process keeps its connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    async def wait_ended(self) -> None:
        assert self._process is not None
        await _ended(self._process)

    def tail(self, lines: int = _TAIL_LINES) -> str:
        """The end of its output, for messages."""
        if not self.log.exists():
            return ""
        return f"{self.log}:\n" + "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


async def _kill(process: Running) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
        with trio.CancelScope(shield=True):  # a killed process ends soon; returning earlier would leave a zombie
            await _ended(process)


async def _ended(process: Running) -> None:
    while process.poll() is None:  # noqa: ASYNC110 - portable, and only at ends
        await trio.sleep(_POLL_SECONDS)


def _begin(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    guarded = [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), *command]
    with log.open("ab") as output:
        # In this thread, not in a thread of Trio: the kernel ends the process with the thread that started it.
        return subprocess.Popen(
            guarded if sys.platform == "linux" else [*command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
            start_new_session=True,
        )


def started_process(
    name: str, command: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None
) -> ServerProcess:
    """A started process, which the caller kills. Its output is in ``directory/<name>.log``."""
    log = directory / f"{name}.log"
    process = ServerProcess(name, lambda: _begin(command, log, environment or os.environ), log)
    process.start()
    return process


@asynccontextmanager
async def open_process(
    name: str, command: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[ServerProcess]:
    """A started process during the block. Its output is in ``directory/<name>.log``.

    At the end the process is killed, because its data is removed with its directory.
    """
    process = started_process(name, command, directory, environment)
    try:
        yield process
    finally:
        await process.kill()
