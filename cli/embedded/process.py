"""Starts and stops the process that serves an embedded cluster."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL
from typing import Final

import trio

from bobrapet.launch import module_command
from cli.embedded import folder
from cli.embedded.filelock import open_lock
from cli.embedded.folder import EmbeddedCluster, EmbeddedError
from cli.embedded.preloading import LoadingProcess

START_DEADLINE_SECONDS: Final = 60.0
STOP_DEADLINE_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Starting:
    """A process that is starting."""

    data: Path
    process: trio.Process | LoadingProcess
    log_offset: int
    """The offset in the log at which its own lines begin."""

    def why_not(self) -> str:
        """Its last lines, and the path of the log."""
        log = self.data / folder.LOG_FILE
        return f"{folder.last_words(self.data, since=self.log_offset)} (log: {log})"

    async def end(self) -> None:
        """Ask it to stop, then kill it; returns when it has ended."""
        if self.process.poll() is None:
            self.process.terminate()
            with trio.move_on_after(STOP_DEADLINE_SECONDS):
                await self.process.wait()
            if self.process.poll() is None:
                self.process.kill()
        await self.process.wait()


async def start(
    data: Path,
    *,
    port: int = 0,
    image_map: Path | None = None,
    on_demand: bool = False,
    loading: LoadingProcess | None = None,
) -> Starting:
    """Start the serving process; it writes its log to ``cluster.log`` in the folder.

    Args:
        port: 0 means the port of the folder's last run, or a free one.
        on_demand: the cluster ends when no command uses it any more (``usage``).
        loading: a process for ``data`` to take, with the default port and on demand.
    Raises:
        EmbeddedError: the folder is taken or cannot be written, or its disk is full.
    """
    folder.make_folder(data)
    folder.refuse_if_served(data)
    folder.refuse_full_disk(data)
    command = [*module_command("cli.embedded"), "--data", str(data), "--port", str(port)]
    if image_map is not None:
        command += ["--image-map", str(image_map)]
    if on_demand:
        command.append("--on-demand")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        with os.fdopen(os.open(data / folder.LOG_FILE, flags, 0o600), "ab") as log:
            offset = log.tell()
            if loading is not None and on_demand and not port and image_map is None and loading.begin():
                return Starting(data, loading, offset)
            # In a session of its own: Ctrl-C in the terminal only reaches the command, which then ends the process
            # cleanly.
            process = await trio.lowlevel.open_process(
                command, stdin=DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
    except OSError as error:
        raise folder.cannot_write(data, error) from None
    return Starting(data, process, offset)


async def wait_until_ready(starting: Starting) -> EmbeddedCluster:
    """Return when the process has published its cluster.

    Raises:
        EmbeddedError: it ended, or took longer than ``START_DEADLINE_SECONDS``; with the last lines of its log.
    """
    with trio.move_on_after(START_DEADLINE_SECONDS):
        while starting.process.poll() is None:
            cluster = folder.running(starting.data)
            if cluster is not None and cluster.pid == starting.process.pid:
                return cluster
            await trio.sleep(_POLL_SECONDS)
    raise EmbeddedError(f"the embedded cluster did not start: {starting.why_not()}")


async def stop(data: Path) -> bool:
    """End the process that serves ``data``, ready or not; waits until the folder is free. Returns whether there was
    one.

    Raises:
        EmbeddedError: it did not stop.
    """
    pid = folder.server_of(data)
    if pid is None:
        return False
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return True
    except PermissionError:
        raise EmbeddedError(f"process {pid}, which serves {data}, belongs to another user") from None
    await wait_until_free(data)
    return True


async def wait_until_free(data: Path) -> None:
    """Return when nothing serves ``data``.

    Raises:
        EmbeddedError: a process still serves it after ``STOP_DEADLINE_SECONDS``.
    """
    with trio.move_on_after(STOP_DEADLINE_SECONDS):
        while folder.is_served(data):  # noqa: ASYNC110 - the lock of another process has no event
            await trio.sleep(_POLL_SECONDS)
        return
    raise EmbeddedError(
        f"process {folder.server_of(data)} did not stop within {STOP_DEADLINE_SECONDS:.0f} s; "
        f"see {data / folder.LOG_FILE}"
    )


@contextmanager
def serving(data: Path) -> Iterator[None]:
    """This process serves ``data`` while the block runs.

    Raises:
        EmbeddedError: another process serves it, or the folder cannot be written.
    """
    folder.make_folder(data)
    with open_lock(data / folder.SERVING_LOCK) as lock:
        if not lock.try_exclusive():
            raise folder.taken(data)
        lock.write(f"{os.getpid()}\n")
        folder.withdraw(data)
        try:
            yield
        finally:
            folder.withdraw(data)
