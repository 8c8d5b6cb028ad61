"""What is shown of warm workers whose containers are started again. (cli/worker_following.py)"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

import httpx
import orjson
import trio

from cli.options import CommonOptions
from cli.worker_logs import ReadLines, TimedLine, WorkerFollower
from core.api import keys
from core.api.objects import Object
from core.kube.client import open_client
from core.kube.config import ClusterConfig
from tests.unit.cli.conftest import session_of

RUN: Object = {
    "metadata": {"name": "run", "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"},
}
STEP_RUN: Object = {
    "metadata": {"name": "run-a", "labels": {keys.LABEL_WORKER_POOL: "pool"}},
    "spec": {"stepId": "a"},
}


def line(second: int, attempt: int, message: str) -> str:
    record = {"storyRun": "run", "stepRun": "run-a", "attempt": attempt, "msg": message}
    return f"2026-01-01T00:00:{second:02d}.5Z {json.dumps(record)}\n"


FIRST = [line(1, 1, "begins"), line(2, 1, "works")]
SECOND = [line(20, 2, "begins"), line(21, 2, "ends")]
ALL = [(1, "begins"), (1, "works"), (2, "begins"), (2, "ends")]


@dataclass
class Worker(httpx.AsyncBaseTransport):
    """An API server with one Pod, which may show a restart later than its node has begun the next log."""

    logs: list[list[str]]
    """One for each run of the container."""
    restarts: int = 0
    """What the Pod shows."""
    asked: list[httpx.QueryParams] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/log"):
            status = {"name": "engram", "restartCount": self.restarts, "state": {"running": {}}}
            pod = {
                "metadata": {"name": "worker-1", "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"},
                "status": {"containerStatuses": [status]},
            }
            return httpx.Response(200, content=orjson.dumps({"metadata": {"resourceVersion": "1"}, "items": [pod]}))
        self.asked.append(request.url.params)
        return httpx.Response(200, content="".join(self.logs[-2 if "previous" in request.url.params else -1]))


class Reader:
    """Someone who follows the run."""

    def __init__(self, follower: WorkerFollower, shown: list[tuple[int, str]]) -> None:
        self._follower, self.shown = follower, shown

    async def look(self) -> None:
        """Look once, and read all that is written."""
        async with trio.open_nursery() as nursery:
            await self._follower.look(nursery, [STEP_RUN])

    async def read_rest(self) -> None:
        await self._follower.read_rest([STEP_RUN])


@asynccontextmanager
async def reader_of(worker: Worker, since_seconds: int | None = None) -> AsyncIterator[Reader]:
    shown: list[tuple[int, str]] = []

    def show(step: str, attempt: int, at: datetime | None, text: str) -> None:
        assert (step, at is None) == ("a", False)
        shown.append((attempt, json.loads(text)["msg"]))

    async with open_client(ClusterConfig("http://cluster"), transport=worker) as client:
        session = session_of(client, CommonOptions())
        yield Reader(WorkerFollower(session, RUN, show, since_seconds=since_seconds), shown)


async def test_a_container_that_is_started_again_is_followed_and_no_line_is_shown_twice() -> None:
    worker = Worker([FIRST])
    async with reader_of(worker) as reader:
        await reader.look()
        assert reader.shown == ALL[:2]
        worker.logs, worker.restarts = [FIRST, SECOND], 1
        await reader.look()
        await reader.look()

    assert reader.shown == ALL


async def test_lines_before_a_restart_that_the_pod_did_not_show_yet_are_shown() -> None:
    worker = Worker([FIRST, SECOND[:1]])
    async with reader_of(worker) as reader:
        await reader.look()
        assert reader.shown == [(2, "begins")], "the Pod shows no restart, so this is the only log to ask for"
        worker.logs, worker.restarts = [FIRST, SECOND], 1
        await reader.look()

    assert reader.shown == [(2, "begins"), *ALL[:2], (2, "ends")]


async def test_both_containers_of_a_pod_that_was_started_again_before_are_read() -> None:
    worker = Worker([FIRST, SECOND], restarts=1)
    async with reader_of(worker) as reader:
        await reader.look()

    assert reader.shown == ALL
    assert [dict(each) for each in worker.asked] == [
        {"container": "engram", "timestamps": "true", "sinceTime": "2026-01-01T00:00:00Z", "previous": "true"},
        {"container": "engram", "timestamps": "true", "sinceTime": "2026-01-01T00:00:00Z", "follow": "true"},
    ]


async def test_no_later_reading_begins_later_than_the_first(autojump_clock: trio.testing.MockClock) -> None:
    worker = Worker([FIRST])
    async with reader_of(worker, since_seconds=30) as reader:
        await reader.look()
        await trio.sleep(4.2)
        worker.logs, worker.restarts = [FIRST, SECOND], 1
        await reader.look()

    assert [each["sinceSeconds"] for each in worker.asked] == ["30", "35", "35"]
    assert reader.shown == ALL


async def test_at_the_end_only_lines_that_nobody_has_read_are_shown() -> None:
    worker = Worker([FIRST[:1]])
    async with reader_of(worker) as reader:
        await reader.look()
        worker.logs = [FIRST]
        await reader.read_rest()
        worker.logs, worker.restarts = [FIRST, SECOND], 1
        await reader.read_rest()
        await reader.read_rest()

    assert reader.shown == ALL


async def test_at_the_end_workers_that_were_never_followed_are_read() -> None:
    async with reader_of(Worker([FIRST])) as reader:
        await reader.read_rest()

    assert reader.shown == ALL[:2]


NO_TIME: list[TimedLine] = [(None, text) for text in "abcd"]


def test_two_readings_of_one_log_give_each_line_once() -> None:
    lines = ReadLines()
    first, second = lines.reader(), lines.reader()
    a, b, c, d = NO_TIME

    assert [first.is_new(a), second.is_new(a)] == [True, False]
    assert [second.is_new(b), first.is_new(b)] == [True, False]
    assert lines.new_of([a, b, c, c]) == [c, c]
    assert lines.new_of([d, c]) == [d, c], "another log"


def test_a_reading_that_begins_earlier_is_known_by_the_first_line_of_the_later_one() -> None:
    lines, (a, b, c, d) = ReadLines(), NO_TIME

    assert lines.new_of([b, c]) == [b, c]
    assert lines.new_of([a, b, c, d]) == [d], "a is older than what the user asks for"
