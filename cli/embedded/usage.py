"""A cluster for the duration of a block, shared by all commands that need one at the same time.

Every user of a cluster holds its usage lock, shared. A cluster that was started on demand ends when it gets that lock
exclusively: when its last user is gone, even a killed one, because the kernel releases its lock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import trio

from cli.embedded import folder, process
from cli.embedded.filelock import FileLock, open_lock
from cli.embedded.folder import EmbeddedCluster, EmbeddedError
from cli.embedded.preloading import LoadingProcess
from cli.embedded.process import Starting

USAGE_LOCK: Final = "users.lock"
_POLL_SECONDS: Final = 0.02
_WATCH_SECONDS: Final = 0.2


@asynccontextmanager
async def open_cluster(
    data: Path, *, port: int = 0, image_map: Path | None = None, loading: LoadingProcess | None = None
) -> AsyncIterator[EmbeddedCluster]:
    """The cluster of ``data``: one that already runs, or a new one that ends with its last user.

    ``loading``: a process for ``data`` that a new one may use.

    Raises:
        EmbeddedError: it did not start, or it ended while the block used it.
    """
    folder.make_folder(data)
    started: list[Starting] = []
    with _usage_lock(data) as lock:
        await _take_shared(lock, data)
        try:
            if image_map is not None:
                _bring(data, image_map)
            cluster = await _running_or_started(data, port, started, loading)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_raise_when_it_ends, data)
                yield cluster
                nursery.cancel_scope.cancel()
        except Exception as error:
            if folder.is_served(data) or isinstance(error, EmbeddedError):
                raise
            raise _ended(data) from error  # the end of the cluster caused the error
        finally:
            with trio.CancelScope(shield=True):
                await _leave(lock, data, started)


async def join(data: Path, *, port: int = 0, image_map: Path | None = None) -> EmbeddedCluster | None:
    """The cluster that serves ``data``, which now stays up without users; None if none does.

    Waits for one that is starting. ``image_map`` is merged into its maps.

    Raises:
        EmbeddedError: it serves another port than ``port``, is not ready in time, or the folder cannot be written.
    """
    folder.make_folder(data)
    with _usage_lock(data) as lock:  # while a user is there, no cluster ends
        await _take_shared(lock, data)
        with trio.move_on_after(process.START_DEADLINE_SECONDS):
            while folder.is_served(data):
                cluster = folder.running(data)
                if cluster is None:
                    await trio.sleep(_POLL_SECONDS)
                    continue
                if port and urlsplit(cluster.url).port != port:
                    raise folder.taken(data)
                if image_map is not None:
                    _bring(data, image_map)
                folder.let_stay(data)
                return replace(cluster, on_demand=False)
            return None
    raise _never_ready(data)


def in_use(data: Path) -> bool:
    """Whether any command uses the cluster now."""
    with _usage_lock(data) as lock:
        return not lock.try_exclusive()


async def wait_until_unused(data: Path) -> FileLock:
    """Return when no command uses the cluster of ``data`` any more; until the lock is closed, none can start to."""
    lock = _usage_lock(data)
    while not lock.try_exclusive():  # noqa: ASYNC110 - the locks of other processes have no event
        await trio.sleep(_WATCH_SECONDS)
    return lock


async def _take_shared(lock: FileLock, data: Path) -> None:
    """Waits for a cluster that is just ending."""
    with trio.move_on_after(process.STOP_DEADLINE_SECONDS):
        while not lock.try_shared():  # noqa: ASYNC110 - the locks of other processes have no event
            await trio.sleep(_POLL_SECONDS)
        return
    raise EmbeddedError(f"the embedded cluster in {data} has been stopping for too long; see {folder.LOG_FILE} there")


async def _running_or_started(
    data: Path, port: int, started: list[Starting], loading: LoadingProcess | None
) -> EmbeddedCluster:
    """Waits for a cluster that another command has just begun to start."""
    with trio.move_on_after(process.START_DEADLINE_SECONDS):
        while True:
            if cluster := folder.running(data):
                return cluster
            if folder.is_served(data):
                await trio.sleep(_POLL_SECONDS)
                continue
            starting = await process.start(data, port=port, on_demand=True, loading=loading)
            started.append(starting)
            try:
                return await process.wait_until_ready(starting)
            except EmbeddedError:
                if starting.process.poll() is None or not folder.is_served(data):
                    raise
    raise _never_ready(data)


def _never_ready(data: Path) -> EmbeddedError:
    return EmbeddedError(f"the process that serves {data} does not become ready; see {folder.LOG_FILE} there")


def _bring(data: Path, image_map: Path) -> None:
    from cli.embedded.images import use_image_map
    from localcluster.node.images import ImageMapError

    try:
        use_image_map(data, image_map.absolute())
    except ImageMapError as error:
        raise EmbeddedError(str(error)) from None
    except OSError as error:
        raise folder.cannot_write(data, error) from None


async def _raise_when_it_ends(data: Path) -> None:
    while folder.is_served(data):  # noqa: ASYNC110 - the lock of another process has no event
        await trio.sleep(_WATCH_SECONDS)
    raise _ended(data)


async def _leave(lock: FileLock, data: Path, started: list[Starting]) -> None:
    """The last user ends a cluster that was started on demand, and returns only after it is gone."""
    lock.release()
    if not lock.try_exclusive():
        return
    for starting in started:
        await starting.end()
    cluster = folder.running(data)
    if cluster is not None and cluster.on_demand:
        await process.stop(data)


def _ended(data: Path) -> EmbeddedError:
    return EmbeddedError(
        f"the embedded cluster in {data} ended unexpectedly: {folder.last_words(data)} (log: {data / folder.LOG_FILE})"
    )


def _usage_lock(data: Path) -> FileLock:
    try:
        return open_lock(data / USAGE_LOCK)
    except OSError as error:
        raise folder.cannot_write(data, error) from None
