"""Fixtures: an API server that can be watched, the operator's part, and workers as processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.unit.sdk.workers.worker_stand import WatchableApi, WatchableCluster, WorkerProcess, WorkerStand


class StartWorker(Protocol):
    """Starts a program as a worker, and waits until it is ready.

    ``command`` is how it is started, in its folder; its file is ``main.py``. ``supervisor`` is executed in the
    supervisor of tasks, which nothing of the program reaches.
    """

    def __call__(
        self, source: str, *, command: Sequence[str] = (), supervisor: str = "", **environ: str
    ) -> WorkerProcess: ...


@pytest.fixture
def cluster() -> WatchableCluster:
    return WatchableCluster()


@pytest.fixture
def stand(cluster: WatchableCluster) -> WorkerStand:
    return WorkerStand(cluster)


@pytest.fixture
def start_worker(stand: WorkerStand, cluster: WatchableCluster, tmp_path: Path) -> Iterator[StartWorker]:
    with ExitStack() as stack:
        api = WatchableApi(cluster, tmp_path / "kubeconfig.json")
        stack.callback(api.close)
        stack.callback(cluster.break_streams)

        def start(source: str, *, command: Sequence[str] = (), supervisor: str = "", **environ: str) -> WorkerProcess:
            process = WorkerProcess(stand, api, tmp_path, source, command=command, supervisor=supervisor, **environ)
            worker = stack.enter_context(process)
            worker.wait_until_ready()
            return worker

        yield start
