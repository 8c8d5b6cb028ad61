"""Managers that need not load their modules: forks of a process that has loaded them, and has done nothing else.

To load them takes most of the CPU of a manager that is soon killed. A fork goes on where ``python -m cli manager`` is
once it has loaded them, and shares nothing with another one: neither files, nor threads, nor random numbers.

``open_manager`` asks the process that forks, which is this module as a program. It ends when its standard input does,
that is with the process that started it, and its forks end with it (on Linux).
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import gc
import importlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any, Final

from tools.control_plane.processes import ServerProcess

_PR_SET_PDEATHSIG: Final = 1


@asynccontextmanager
async def open_manager(name: str, flags: Sequence[str], directory: Path) -> AsyncIterator[ServerProcess]:
    """``python -m cli manager`` with these flags during the block. Its output is in ``directory/<name>.log``.

    At the end the process is killed.
    """
    log = directory / f"{name}.log"
    process = ServerProcess(name, lambda: _Fork(_forker(), ["manager", *flags], log), log)
    process.start()
    try:
        yield process
    finally:
        await process.kill()


class _Fork:
    """The part of ``subprocess.Popen`` that a ``ServerProcess`` needs."""

    def __init__(self, forker: _Forker, arguments: Sequence[str], log: Path) -> None:
        self._forker = forker
        self._code: int | None = None
        self.pid: int = forker.ask({"arguments": [*arguments], "log": str(log)})

    def poll(self) -> int | None:
        """The exit code, negative for a signal. None while the process runs."""
        if self._code is None:
            self._code = self._forker.ask({"ended": self.pid})
        return self._code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:  # its number is not given away before it was polled
            os.kill(self.pid, number)


class _Forker:
    """The process that forks, as seen by the one that started it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tools.control_plane.forked"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def ask(self, request: dict[str, Any]) -> Any:
        """The answer to one request. It comes within milliseconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        with self._process as process:  # closes its standard input, and waits for its end
            assert process.stdin is not None


@functools.cache
def _forker() -> _Forker:
    """One for all tests."""
    forker = _Forker()
    atexit.register(forker.close)
    return forker


# What follows runs in the process that forks, and in its forks.


def serve() -> None:
    """Answer requests, until there can be no more."""
    answers = sys.stdout.buffer
    _load()
    gc.freeze()  # so that a collection in a fork does not copy what it shares
    for line in sys.stdin.buffer:
        request = json.loads(line)
        answer = _ended(request["ended"]) if "ended" in request else _fork(request["arguments"], request["log"])
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _load() -> None:
    """Import what a manager imports. Nothing is run: a fork could not use another process's threads."""
    from cli.main import main

    with redirect_stdout(io.StringIO()), suppress(SystemExit):
        main(["manager", "--help"])
    importlib.import_module("manager.run")


def _fork(arguments: list[str], log: str) -> int:
    parent = os.getpid()
    if pid := os.fork():
        return pid
    code = 1
    try:
        _leave(parent, log)
        _run(arguments)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _leave(parent: int, log: str) -> None:
    """Become a process of our own, whose output goes to the log."""
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it ended before the request to the kernel
        os._exit(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for opened, standard in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(opened, standard)
    os.close(nothing)
    os.close(output)


def _run(arguments: list[str]) -> None:
    from cli.main import main

    random.seed()
    sys.argv = ["bobrapet", *arguments]
    main(arguments)


def _ended(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


if __name__ == "__main__":
    serve()
