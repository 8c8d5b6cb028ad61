"""``python -m localcluster``: a cluster in the foreground, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

import trio

from localcluster.keptprocess import ProcessNotReadyError
from localcluster.launch import DEFAULT_PORT, ClusterInfo, serve
from localcluster.lock import DataDirectoryInUseError
from localcluster.log import LogForm, log_to_stderr
from localcluster.privatefile import PRIVATE_UMASK, OpenFolderError
from localcluster.server.storage import StorageError
from localcluster.serving import PortTakenError


def main() -> int:
    """The exit code: 0 after a clean stop, 1 when the cluster could not start."""
    arguments = _parser().parse_args()
    os.umask(PRIVATE_UMASK)
    log_to_stderr(LogForm.TEXT)
    data_dir = None if arguments.ephemeral else arguments.data_dir or _default_data_dir()
    failed = False
    try:
        trio.run(_run, data_dir, arguments.port, arguments.image_map)
    except* (
        DataDirectoryInUseError,
        OpenFolderError,
        PortTakenError,
        ProcessNotReadyError,
        StorageError,
        OSError,
    ) as group:
        for error in _leaves(group):
            print(f"error: {error}", file=sys.stderr)
        failed = True
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m localcluster", description=__doc__)
    parser.add_argument("--data-dir", type=Path, help=f"folder for all data (default: {_default_data_dir()})")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="port on 127.0.0.1; 0: any free port")
    parser.add_argument("--ephemeral", action="store_true", help="delete all data at the end")
    parser.add_argument("--image-map", type=Path, help="file that maps image names to programs")
    return parser


async def _run(data_dir: Path | None, port: int, image_map: Path | None) -> None:
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:

            async def cluster(*, task_status: trio.TaskStatus[ClusterInfo]) -> None:
                await serve(data_dir, port, image_map=image_map, task_status=task_status)

            info: ClusterInfo = await nursery.start(cluster)
            print(f"export KUBECONFIG={info.kubeconfig_path}", flush=True)
            await signals.__anext__()
        nursery.cancel_scope.cancel()


def _default_data_dir() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "bobrapet" / "localcluster"


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return leaves


if __name__ == "__main__":
    sys.exit(main())
