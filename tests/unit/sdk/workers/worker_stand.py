"""A worker as a process, an API server in memory that can be watched, and the operator's part of the protocol."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from bubu_sdk.errors import Object
from bubu_sdk.kube import RUNS_API, UnreachableError
from bubu_sdk.testing import InMemoryCluster
from bubu_sdk.testing.cluster import step_run_path
from bubu_sdk.timing import utc_now
from tests.unit.sdk.sdk_container import ROOT, LiveApi

NAMESPACE = "default"
POD = "pool-a-1"
POD_UID = "0f7c2f0e-pod"
PATIENCE_SECONDS = 60.0


class WatchableCluster(InMemoryCluster):
    """``InMemoryCluster`` with watches and label selectors."""

    def __init__(self) -> None:
        super().__init__()
        self._changes: list[tuple[int, str, Object, Object | None]] = []
        """Version, path, the object, and its state before."""
        self._news = threading.Condition(self._lock)  # one lock: tests and requests take both, in either order
        self.expired = False
        """Whether the next watch is refused, because its version is too old."""
        self.streams: list[MemoryWatch] = []
        self.watches = 0
        self.server_seconds: list[int] = []
        """How long each watch was to last."""

    def add(self, path: str, document: Object) -> None:
        with self._news:
            before = self.objects.get(path)
            super().add(path, document)
            stored = self.objects[path]
            self._changes.append((int(stored["metadata"]["resourceVersion"]), path, stored, before))
            self._news.notify_all()

    def remove(self, path: str) -> None:
        """Delete an object."""
        with self._news:
            super().add("/deleted", {})
            version = self.objects.pop("/deleted")["metadata"]["resourceVersion"]
            gone = self.objects.pop(path)
            last = {**gone, "metadata": {**gone["metadata"], "resourceVersion": version, "labels": {}}}
            self._changes.append((int(version), path, last, gone))
            self._news.notify_all()

    def watch(self, path: str, *, silence_seconds: float, timeout_seconds: float = 30.0) -> MemoryWatch:
        del timeout_seconds
        if self.before is not None:
            self.before("WATCH", path, None)
        collection, _, query = path.partition("?")
        options = dict(urllib.parse.parse_qsl(query))
        with self._news:
            self.watches += 1
            self.server_seconds.append(int(options["timeoutSeconds"]))
            expired, self.expired = self.expired, False
            stream = MemoryWatch(self, collection, options["labelSelector"], int(options["resourceVersion"]), expired)
            stream.bear_silence(silence_seconds)
            self.streams.append(stream)
        return stream

    def break_streams(self) -> None:
        """End all watches, as a load balancer does."""
        streams, self.streams = self.streams, []
        for stream in streams:
            stream.close()

    def break_streams_in_silence(self) -> None:
        """Deliver nothing more in the present watches, as a network does that drops the packets of a connection."""
        with self._news:
            for stream in self.streams:
                stream.is_silent = True

    def _list(self, path: str) -> Object:
        found = super()._list(path)
        selector = dict(urllib.parse.parse_qsl(path.partition("?")[2])).get("labelSelector")
        items = [item for item in found["items"] if selector is None or _matches(item, selector)]
        version = max((change[0] for change in self._changes), default=0)
        return {**found, "items": items, "metadata": {**found["metadata"], "resourceVersion": str(version)}}


class MemoryWatch:
    """One watch."""

    def __init__(self, cluster: WatchableCluster, collection: str, selector: str, version: int, expired: bool) -> None:
        self._cluster = cluster
        self._collection = collection
        self._selector = selector
        self._version = version
        self._expired = expired
        self._closed = False
        self._silence_seconds = 0.0
        self.is_silent = False

    def bear_silence(self, seconds: float) -> None:
        self._silence_seconds = seconds

    def __iter__(self) -> Iterator[Object]:
        if self._expired:
            yield {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}
            return
        position = 0
        while True:
            changes = self._next(position)
            position += len(changes)
            for version, path, stored, before in changes:
                if version > self._version and path.rpartition("/")[0] == self._collection:
                    was, is_ = before is not None and _matches(before, self._selector), _matches(stored, self._selector)
                    kind = {(False, True): "ADDED", (True, True): "MODIFIED", (True, False): "DELETED"}.get((was, is_))
                    if kind is not None:
                        yield {"type": kind, "object": stored}

    def _next(self, position: int) -> list[tuple[int, str, Object, Object | None]]:
        with self._cluster._news:

            def has_news() -> bool:
                return self._closed or (len(self._cluster._changes) > position and not self.is_silent)

            heard = self._cluster._news.wait_for(has_news, self._silence_seconds or None)
            if self._closed or not heard:
                raise UnreachableError("the watch is broken")
            return self._cluster._changes[position:]

    def close(self) -> None:
        with self._cluster._news:
            self._closed = True
            self._cluster._news.notify_all()


def _matches(document: Object, selector: str) -> bool:
    name, _, value = selector.partition("=")
    return bool((document["metadata"].get("labels") or {}).get(name) == value)


class WatchableApi(LiveApi):
    """``LiveApi`` that serves watches."""

    cluster: WatchableCluster

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(super()._handler()):  # type: ignore[misc]
            def do_GET(self) -> None:
                if "watch=true" not in self.path:
                    self._serve()
                    return
                stream = api.cluster.watch(self.path, silence_seconds=0)
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                try:
                    for event in stream:
                        line = json.dumps(event).encode() + b"\n"
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                        self.wfile.flush()
                    self.wfile.write(b"0\r\n\r\n")
                except (UnreachableError, OSError):
                    self.close_connection = True

        return Handler


class WorkerStand:
    """What the operator does for a worker, and what it sees of it."""

    def __init__(self, cluster: WatchableCluster) -> None:
        self.cluster = cluster

    def assign(
        self,
        name: str,
        attempt: int = 0,
        environment: Mapping[str, str] | None = None,
        seconds_left: float | None = None,
        **inputs: Any,
    ) -> Object:
        """Give an attempt of a StepRun to the worker; creates the StepRun if there is none.

        Args:
            seconds_left: until its deadline, by the clock of this machine; ``None``: it has none.
        """
        variables = {
            "BUBU_STEPRUN_NAME": name,
            "BUBU_STEP_NAME": "step",
            "BUBU_STORYRUN_ID": "run",
            "BUBU_TRIGGER_DATA": json.dumps(inputs),
            **(environment or {}),
        }
        assignment = {"attempt": attempt, "worker": POD, "workerUid": POD_UID, "environment": variables}
        if seconds_left is not None:
            assignment["deadlineAt"] = (utc_now() + timedelta(seconds=seconds_left)).isoformat()
        metadata: Object = {
            "labels": {"bubustack.io/worker": POD},
            "annotations": {"runs.bubustack.io/assignment": json.dumps(assignment)},
        }
        path = step_run_path(NAMESPACE, name)
        stored = self.cluster.objects.get(path) or {
            "apiVersion": "runs.bubustack.io/v1alpha1",
            "kind": "StepRun",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"storyRunRef": {"name": "run"}, "stepId": "step"},
        }
        status = {**(stored.get("status") or {}), "retries": attempt} if attempt else stored.get("status")
        self.cluster.add(
            path,
            {
                **stored,
                "metadata": {**stored["metadata"], **metadata},
                **({"status": status} if status is not None else {}),
            },
        )
        return self.step_run(name)

    def change(self, name: str, *, status: Object | None = None, annotations: Object | None = None) -> None:
        """Write a StepRun as the operator does."""
        stored = self.step_run(name)
        metadata = {**stored["metadata"], "annotations": {**stored["metadata"]["annotations"], **(annotations or {})}}
        document = {**stored, "metadata": metadata, "status": {**(stored.get("status") or {}), **(status or {})}}
        self.cluster.add(step_run_path(NAMESPACE, name), document)

    def step_run(self, name: str) -> Object:
        return self.cluster.objects[step_run_path(NAMESPACE, name)]

    def status(self, name: str) -> Object:
        status: Object = self.step_run(name).get("status") or {}
        return status

    def exit_code(self, name: str, attempt: int = 0) -> int | None:
        """The exit code with which the worker has released an attempt; ``None`` as long as it has not."""
        ended = self.status(name).get("workerExit") or {}
        return ended["exitCode"] if ended.get("attempt") == attempt else None

    def wait_for_exit(self, name: str, attempt: int = 0) -> int:
        eventually(lambda: self.exit_code(name, attempt) is not None)
        code = self.exit_code(name, attempt)
        assert code is not None
        return code

    def wait_until_it_serves(self, **inputs: Any) -> None:
        """Assign steps until one is executed: those are released that the operator could have started elsewhere."""
        for number in itertools.count():
            self.assign(f"serves-{number}", **inputs)
            if self.wait_for_exit(f"serves-{number}") == 0:
                return
            assert self.exit_code(f"serves-{number}") == 137

    @property
    def lease(self) -> Object:
        found: Object = self.cluster.objects[f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{POD}"]
        return found

    @property
    def state(self) -> str:
        """``ready`` or ``draining``; empty if the worker has not said it yet."""
        try:
            return str(self.lease["metadata"]["annotations"]["bubustack.io/worker-state"])
        except KeyError:
            return ""

    def finish(self, name: str, phase: str) -> None:
        """Record the end of a step."""
        self.change(name, status={"phase": phase, "conditions": [{"type": "Progressing", "status": "False"}]})


class WorkerProcess:
    """A program that serves as a worker, until the end of the block."""

    def __init__(
        self,
        stand: WorkerStand,
        api: WatchableApi,
        folder: Path,
        source: str,
        *,
        command: Sequence[str] = (),
        supervisor: str = "",
        **environ: str,
    ) -> None:
        self.stand = stand
        program = folder / "main.py"
        program.write_text(textwrap.dedent(source))
        self._log = folder / "worker.log"
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self._environ = {
            **inherited,
            "KUBECONFIG": str(api.kubeconfig),
            "PYTHONPATH": str(ROOT / "sdk"),
            "TMPDIR": str(folder),
            "BUBU_WORKER_POOL": "pool-a",
            "BUBU_POD_NAME": POD,
            "BUBU_POD_UID": POD_UID,
            "BUBU_POD_NAMESPACE": NAMESPACE,
            "BUBU_STEPRUN_NAMESPACE": NAMESPACE,
            "BUBU_STEP_TIMEOUT": "10m",
            "BUBU_SKIP_SCHEMA_VALIDATION": "true",
            "BUBU_GRPC_GRACEFUL_SHUTDOWN_TIMEOUT": "1s",
            **environ,
        }
        self._folder = folder
        self._command = [*command] or [sys.executable, str(program)]
        if supervisor:
            start = f"import sys\nfrom bubu_sdk.workers import serving\nserving.supervise_tasks({self._command!r})"
            self._command = [sys.executable, "-c", f"{textwrap.dedent(supervisor)}\n{start}"]
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command, env=self._environ, cwd=self._folder, stdout=log, stderr=subprocess.STDOUT
            )

    def restart(self) -> None:
        """Start the container again, in the same Pod."""
        self.process.wait(PATIENCE_SECONDS)
        self.process = self._started()

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)

    def wait_until_ready(self) -> None:
        eventually(lambda: self.stand.state == "ready" or self.process.poll() is not None)
        assert self.process.poll() is None, self.text

    @property
    def text(self) -> str:
        """What it has written."""
        return self._log.read_text(errors="replace")

    def lines(self, step_run: str) -> list[Object]:
        """Its lines of one StepRun, as far as they are complete."""
        parsed = [json.loads(line) for line in self.text.split("\n")[:-1] if line.startswith("{")]
        return [line for line in parsed if line.get("stepRun") == step_run]


def eventually(condition: Callable[[], object]) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.005)


def path_of(name: str) -> str:
    """The path of a StepRun in the stand."""
    return f"{RUNS_API}/namespaces/{NAMESPACE}/stepruns/{name}"
