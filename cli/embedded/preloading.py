"""A process that loads what an embedded cluster needs while the command that will want one still checks its input.

It touches nothing before it is told to serve, and ends without a trace if that does not happen: when the command is
done, or gone in any way, which closes the pipe between both.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Final

import trio

from bobrapet.launch import module_command
from cli.embedded import folder

_POLL_SECONDS: Final = 0.02


class LoadingProcess:
    """The command's side: the process for ``data``, which serves on demand after ``begin``."""

    def __init__(self, data: Path) -> None:
        command = [*module_command("cli.embedded"), "--data", str(data), "--on-demand", "--waiting"]
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            command, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
        )
        self.pid: Final = self._process.pid
        self.has_begun = False

    def begin(self) -> bool:
        """Let it serve. Returns whether it does; otherwise it has ended."""
        assert self._process.stdin is not None, "started with a pipe"
        try:
            self._process.stdin.write(b"\n")
            self._process.stdin.close()
        except BrokenPipeError:
            return False
        self.has_begun = True
        return True

    def poll(self) -> int | None:
        return self._process.poll()

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    async def wait(self) -> None:
        """Return when it has ended."""
        while self.poll() is None:  # noqa: ASYNC110 - a process that was started outside Trio has no event
            await trio.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """End it if it has not begun."""
        if not self.has_begun:
            self._process.kill()
            self._process.communicate()


@contextmanager
def loading(data: Path) -> Iterator[LoadingProcess | None]:
    """A loading process for the block, unless ``data`` is served already, or no process can be started."""
    try:
        process = None if folder.is_served(data) else LoadingProcess(data)
    except OSError:
        process = None  # the attempt to start a cluster will say why
    try:
        yield process
    finally:
        if process is not None:
            process.close()


def wait_until_wanted(data: Path) -> bool:
    """The process's side, with everything loaded: whether to serve ``data``. If so, it writes its log from now on."""
    if not sys.stdin.readline():
        return False
    log = os.open(data / folder.LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return True
