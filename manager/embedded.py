"""The embedded cluster as the command line sees it: where its data lives, whether it runs, how to start and stop it.

One folder is one cluster. A lock that the serving process holds says whether it runs; it is gone with the process,
however that ended. What it serves stands in ``cluster.json``, written only once everything answers.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import DEVNULL
from typing import BinaryIO, Final

import trio

STATE_FILE: Final = "cluster.json"
LOCK_FILE: Final = "embedded.lock"
LOG_FILE: Final = "cluster.log"
START_DEADLINE_SECONDS: Final = 60.0
STOP_DEADLINE_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.05


class EmbeddedError(Exception):
    """The embedded cluster could not be started or stopped; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class EmbeddedCluster:
    """A running embedded cluster."""

    data: Path
    url: str
    kubeconfig: Path
    pid: int
    metrics_url: str
    """Where the operator's metrics are served, on the loopback interface."""


def data_folder(chosen: Path | None) -> Path:
    """``chosen``, else ``$BOBRAPET_DATA``, else the user's data folder."""
    if chosen is not None:
        return chosen.expanduser().resolve()
    if configured := os.environ.get("BOBRAPET_DATA"):
        return Path(configured).expanduser().resolve()
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser().resolve() / "bobrapet"


def running(data: Path) -> EmbeddedCluster | None:
    """The cluster that serves ``data`` and is ready, or None."""
    if not is_locked(data):
        return None
    try:
        state = json.loads((data / STATE_FILE).read_text(encoding="utf-8"))
        return EmbeddedCluster(data, state["url"], Path(state["kubeconfig"]), state["pid"], state["metrics_url"])
    except (OSError, ValueError, KeyError):
        return None


def is_locked(data: Path) -> bool:
    """Whether a process serves ``data``, ready or not."""
    try:
        with (data / LOCK_FILE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def refuse_if_locked(data: Path) -> None:
    """Raises:
    EmbeddedError: a process serves ``data``.
    """
    if is_locked(data):
        raise EmbeddedError(
            f"an embedded cluster serves {data} already; use it, stop it with `bobrapet down --data {data}`, "
            "or choose another folder with --data"
        )


def lock(data: Path) -> int:
    """Take the folder for this process; the descriptor holds the lock until it is closed.

    Raises:
        EmbeddedError: another process has it, or the folder cannot be written.
    """
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(data / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EmbeddedError(
            f"cannot write {error.filename or data}: {error.strerror}; choose another folder with --data"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise EmbeddedError(
            f"an embedded cluster serves {data} already; use it, stop it with `bobrapet down --data {data}`, "
            "or choose another folder with --data"
        ) from None
    return descriptor


def publish(cluster: EmbeddedCluster) -> None:
    """Tell others that the cluster is ready; whole or not at all."""
    state = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(cluster).items()}
    temporary = cluster.data / f"{STATE_FILE}.new"
    temporary.write_text(json.dumps(state), encoding="utf-8")
    temporary.replace(cluster.data / STATE_FILE)


def withdraw(data: Path) -> None:
    (data / STATE_FILE).unlink(missing_ok=True)


@asynccontextmanager
async def open_cluster(data: Path, *, port: int = 0, image_map: Path | None = None) -> AsyncIterator[EmbeddedCluster]:
    """A cluster for the length of the block: the one that runs already, or one that ends with the block.

    Raises:
        EmbeddedError: it did not come up.
    """
    cluster = running(data)
    if cluster is not None:
        yield cluster
        return
    process = await start(data, port=port, image_map=image_map, detached=False)
    try:
        yield await wait_until_ready(data, process)
    finally:
        with trio.CancelScope(shield=True):
            await _terminate(process)


async def start(data: Path, *, port: int = 0, image_map: Path | None = None, detached: bool = True) -> trio.Process:
    """Start the serving process; it writes its log to ``cluster.log`` in the folder.

    Args:
        port: 0 takes the port of the folder's last run, else a free one.
        detached: it survives this process; otherwise it ends with it.
    """
    refuse_if_locked(data)
    log = _open_log(data)
    withdraw(data)
    command = [sys.executable, "-m", "manager.cluster", "--data", str(data), "--port", str(port)]
    if image_map is not None:
        command += ["--image-map", str(image_map)]
    if not detached:
        command += ["--parent", str(os.getpid())]
    with log:
        return await trio.lowlevel.open_process(command, stdin=DEVNULL, stdout=log, stderr=log, start_new_session=True)


async def wait_until_ready(data: Path, process: trio.Process) -> EmbeddedCluster:
    """Return when the process has published its cluster.

    Raises:
        EmbeddedError: it ended, or took longer than ``START_DEADLINE_SECONDS``; with the last words of its log.
    """
    with trio.move_on_after(START_DEADLINE_SECONDS):
        while process.poll() is None:
            cluster = running(data)
            if cluster is not None and cluster.pid == process.pid:
                return cluster
            await trio.sleep(_POLL_SECONDS)
    last_words = _tail(data / LOG_FILE)
    await _terminate(process)
    raise EmbeddedError(f"the embedded cluster did not come up: {last_words} (log: {data / LOG_FILE})")


async def stop(cluster: EmbeddedCluster) -> None:
    """End a running cluster; returns when its folder is free.

    Raises:
        EmbeddedError: it did not stop.
    """
    try:
        os.kill(cluster.pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    with trio.move_on_after(STOP_DEADLINE_SECONDS):
        while is_locked(cluster.data):  # noqa: ASYNC110 - the lock of another process has no event
            await trio.sleep(_POLL_SECONDS)
        return
    raise EmbeddedError(f"process {cluster.pid} did not stop within {STOP_DEADLINE_SECONDS:.0f} s; see {LOG_FILE}")


async def _terminate(process: trio.Process) -> None:
    if process.poll() is None:
        process.terminate()
        with trio.move_on_after(STOP_DEADLINE_SECONDS):
            await process.wait()
        if process.poll() is None:
            process.kill()
    await process.wait()


def _open_log(data: Path) -> BinaryIO:
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        return (data / LOG_FILE).open("ab")
    except OSError as error:
        raise EmbeddedError(
            f"cannot write {error.filename or data}: {error.strerror}; choose another folder with --data"
        ) from None


def _tail(log: Path) -> str:
    """The last line that a process said before it ended."""
    try:
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    except OSError:
        return "it left no log"
    return lines[-1].removeprefix("error: ") if lines else "it said nothing"
