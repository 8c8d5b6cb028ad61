"""Starts container processes and reports how they end: the node's side of the launcher's socket.

``open_launcher`` starts the launcher. When the block ends, it ends the launcher with every process it started. Where
the system allows it (``Launcher.isolated``), each container has a mount namespace, so volumes are at the Pod's own
paths.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import trio

from localcluster.node.launcher.order import LaunchOrder
from localcluster.node.launcher.zygote import HEADER_BYTES

_HELLO_SECONDS = 10.0
_FAREWELL_SECONDS = 2.0
_ROOT: Final = Path(__file__).resolve().parents[2]
_PROGRAM = "import sys; sys.path.insert(0, {root!r}); from localcluster.node.launcher.zygote import main; main()"


class LaunchError(Exception):
    """The program could not be started; the text says which one and why."""


class LauncherLostError(Exception):
    """The launcher process ended unexpectedly, and every container of this node ended with it."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a program ended."""

    code: int
    """Its exit code; if a signal ended it, 128 plus the signal's number, as in shells and container runtimes."""
    signal: int | None = None
    cpu_seconds: float = 0.0
    """How much of the processor it has used, with the children that it waited for; 0 if that is not known."""


@dataclass(slots=True)
class RunningProcess:
    """One started program."""

    order_id: int
    stdout: trio.lowlevel.FdStream
    stderr: trio.lowlevel.FdStream
    _launcher: Launcher
    pid: int = 0
    """The number in the launcher's PID namespace: for messages, not for signals."""
    _started: trio.Event = field(default_factory=trio.Event)
    _ended: trio.Event = field(default_factory=trio.Event)
    _refusal: str | None = None
    _exit: Exit | None = None

    async def wait(self) -> Exit:
        """Wait until it and all its descendants have ended; returns how it ended."""
        await self._ended.wait()
        assert self._exit is not None
        return self._exit

    async def send_signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to the program, or with ``group`` to its process group. Does nothing when it has ended."""
        if not self._ended.is_set():
            await self._launcher.signal(self.order_id, number, group=group)

    async def _discard(self) -> None:
        await self.send_signal(signal.SIGKILL, group=True)
        await self.stdout.aclose()
        await self.stderr.aclose()


class Launcher:
    """Starts all containers. Created by ``open_launcher``."""

    def __init__(self, control: trio.SocketStream) -> None:
        self.isolated = False
        self._control = control
        self._sending = trio.Lock()
        self._processes: dict[int, RunningProcess] = {}
        self._next_id = 1
        self._ready = trio.Event()
        self._closing = False
        # A cancelled task still has to learn that its process is gone, so the listener ends after all other tasks.
        self._listening = trio.CancelScope(shield=True)

    async def start(self, order: LaunchOrder) -> RunningProcess:
        """Start the program; returns once it runs. ``order.order_id`` is set here.

        Raises:
            LaunchError: the program or the directory does not exist, or a volume cannot be mounted.
        """
        order = replace(order, order_id=self._next_id)
        self._next_id += 1
        stdout, stdout_write = os.pipe()
        stderr, stderr_write = os.pipe()
        process = RunningProcess(order.order_id, trio.lowlevel.FdStream(stdout), trio.lowlevel.FdStream(stderr), self)
        self._processes[order.order_id] = process
        try:
            await self._send({"launch": order.to_wire()}, (stdout_write, stderr_write))
        finally:
            os.close(stdout_write)
            os.close(stderr_write)
        # The order is sent; if this task left before the answer, it could leave a program that no task ends.
        with trio.CancelScope(shield=True):
            await process._started.wait()
            if process._refusal is not None:
                await process._discard()
        if process._refusal is not None:
            raise LaunchError(process._refusal)
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await process._discard()
            raise
        return process

    async def signal(self, order_id: int, number: int, *, group: bool) -> None:
        await self._send({"signal": int(number), "order_id": order_id, "group": group}, ())

    async def _send(self, message: dict[str, Any], descriptors: tuple[int, ...]) -> None:
        body = json.dumps(message).encode()
        header = len(body).to_bytes(HEADER_BYTES, "big")
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, b"".join(d.to_bytes(4, sys.byteorder) for d in descriptors))]
        # The launcher would wait for the rest of a half frame, so the frame is sent whole from here on.
        with trio.CancelScope(shield=True), suppress(trio.BrokenResourceError, OSError):
            async with self._sending:
                sent = await self._control.socket.sendmsg([header], rights if descriptors else [])
                await self._control.send_all(header[sent:] + body)

    async def listen(self) -> None:
        """Pass on the launcher's messages until ``close``.

        Raises:
            LauncherLostError: the launcher ended unexpectedly.
        """
        pending = bytearray()
        with self._listening, suppress(trio.BrokenResourceError):
            while chunk := await self._control.receive_some():
                pending += chunk
                *lines, rest = pending.split(b"\n")
                pending = bytearray(rest)
                for line in lines:
                    self._hear(json.loads(line))
        for process in list(self._processes.values()):
            self._settle(process, Exit(128 + signal.SIGKILL, signal.SIGKILL))
        if not self._closing:
            raise LauncherLostError(
                "the process launcher ended unexpectedly; every container of this node ended with it"
            )

    async def wait_ready(self) -> None:
        await self._ready.wait()

    def close(self) -> None:
        """Ask the launcher to end; ``listen`` returns when it has ended, or soon after."""
        self._closing = True
        self._listening.deadline = trio.current_time() + _FAREWELL_SECONDS
        with suppress(OSError):
            self._control.socket.shutdown(socket.SHUT_WR)

    def _hear(self, message: dict[str, Any]) -> None:
        if message.get("ready"):
            self.isolated = message["isolated"]
            self._ready.set()
            return
        process = self._processes.get(message["order_id"])
        if process is None:
            return
        if "started" in message:
            process.pid = message["started"]
            process._started.set()
        elif "refused" in message:
            process._refusal = message["refused"]
            self._settle(process, Exit(128))
        else:
            number = message["signal"]
            code = message["exited"] if number is None else 128 + number
            self._settle(process, Exit(code, number, message["cpu_seconds"]))

    def _settle(self, process: RunningProcess, outcome: Exit) -> None:
        self._processes.pop(process.order_id, None)
        process._exit = outcome
        process._started.set()
        process._ended.set()


@asynccontextmanager
async def open_launcher(staging: Path, *, isolate: bool = True, niceness: int = 0) -> AsyncIterator[Launcher]:
    """A launcher, until the block ends; then every process that it started has ended.

    Args:
        staging: a directory that only this node uses; created when missing, stays empty.
        isolate: use namespaces where the system allows them. False: plain processes, as on other systems.
        niceness: how much lower the priority of containers is than that of the node.
    """
    staging.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - once, before anything else runs
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM.format(root=str(_ROOT))]
    arguments = [str(theirs.fileno()), str(staging), "isolated" if isolate else "plain", str(niceness)]
    # Not trio.lowlevel.open_process: it forks from a worker thread. When that idle thread ends, the kernel treats it as
    # the death of the parent and kills the launcher. This thread lives as long as the node does.
    with theirs:
        process = subprocess.Popen(  # noqa: S603, ASYNC220 - our own interpreter; takes about a millisecond, once
            command + arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            process_group=0,  # Ctrl-C at a terminal is for the cluster, which ends its containers in the right order
        )
    launcher = Launcher(trio.SocketStream(trio.socket.from_stdlib_socket(ours)))
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(launcher.listen)
            try:
                with trio.fail_after(_HELLO_SECONDS):
                    await launcher.wait_ready()
                yield launcher
            finally:
                launcher.close()
    finally:
        ours.close()
        process.kill()
        process.wait()
