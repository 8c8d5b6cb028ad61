"""The result of a container without an SDK: from its Pod's status, or from its log, within bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest
import trio
from trio.testing import MockClock

from core.api import keys
from core.api.objects import Object
from core.api.phases import Reason
from core.engine.errors import DeniedError, RejectedError, ResultLostError, UnavailableError
from core.kube.client import open_client
from core.kube.config import ClusterConfig
from core.kube.retry import ONCE
from core.workloads.container_result import LOG_BYTES, ResultFormat, ResultReading, ResultSource
from kubewire import status_failure
from reconcilers.adapters.attempt_result import read_attempt, reading_of, succeeded_container
from tests.unit.reconcilers.reconciler_samples import job, pod, run, step_run

JOB = job(step_run(run()))
Answer = Callable[[httpx.Request], httpx.Response]


class LogServer(httpx.AsyncBaseTransport):
    """Answers requests for logs."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.asked: list[dict[str, str]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.path) == ("GET", "/api/v1/namespaces/team/pods/pod-1/log")
        self.asked.append(dict(request.url.params))
        return self._answer(request)


def with_reading(reading: ResultReading | None, text: str = "") -> Object:
    annotation = text or (reading.encoded() if reading is not None else "")
    return {**JOB, "metadata": {**JOB["metadata"], "annotations": {keys.ANNOTATION_RESULT: annotation}}}


def ended(message: str = "", code: int = 0) -> tuple[Object, Object]:
    end = {"exitCode": code, "message": message}
    status = {"containerStatuses": [{"name": "engram", "state": {"terminated": end}}]}
    return pod(JOB, status=status), end


async def read(
    reading: ResultReading, found: tuple[Object, Object] | None, answer: Answer | None = None
) -> tuple[Any, list[dict[str, str]]]:
    server = LogServer(answer or (lambda request: httpx.Response(500)))
    async with open_client(ClusterConfig("http://nowhere"), transport=server, retry=ONCE) as client:
        return await read_attempt(client, with_reading(reading), found), server.asked


def log(text: str) -> Answer:
    return lambda request: httpx.Response(200, content=text.encode())


def refusal(code: int, reason: str, message: str = "no") -> Answer:
    failure = status_failure(reason, message, code=code, details={"name": "pod-1", "kind": "pods"})
    return lambda request: httpx.Response(code, content=orjson.dumps(failure))


async def test_the_exit_code_needs_no_pod() -> None:
    assert await read(ResultReading(), None) == ({"exitCode": 0}, [])


@pytest.mark.parametrize("source", [ResultSource.FILE, ResultSource.TERMINATION_MESSAGE])
async def test_a_message_comes_from_the_status_of_the_pod(source: ResultSource) -> None:
    assert await read(ResultReading(source), ended('{"a": 1}')) == ({"a": 1}, [])
    with pytest.raises(ResultLostError, match="Pod has been deleted"):
        await read(ResultReading(source), None)


async def test_only_the_end_of_a_log_is_read() -> None:
    output, asked = await read(ResultReading(ResultSource.STDOUT), ended(), log('noise\n{"a": 1}\n'))

    assert output == {"a": 1}
    assert asked == [{"container": "engram", "tailLines": "1000", "limitBytes": str(LOG_BYTES)}]


async def test_of_a_log_of_long_lines_the_last_one_is_read_alone() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        only_last = request.url.params["tailLines"] == "1"
        return httpx.Response(200, content=b'{"a": 1}\n' if only_last else b"x" * LOG_BYTES)

    output, asked = await read(ResultReading(ResultSource.STDOUT), ended(), answer)

    assert (output, [each["tailLines"] for each in asked]) == ({"a": 1}, ["1000", "1"])
    with pytest.raises(RejectedError, match="larger than 1000 lines"):
        await read(ResultReading(ResultSource.STDOUT), ended(), log("x" * LOG_BYTES))


async def test_a_text_must_be_the_whole_log() -> None:
    reading = ResultReading(ResultSource.STDOUT, ResultFormat.TEXT)

    output, _ = await read(reading, ended(), log("x\n" * 999))
    assert output == {"text": "\n".join("x" * 999)}
    with pytest.raises(RejectedError, match="larger than 1000 lines"):
        await read(reading, ended(), log("x\n" * 1000))


async def test_a_result_of_another_form_is_refused() -> None:
    with pytest.raises(RejectedError, match="no line that is JSON") as refused:
        await read(ResultReading(ResultSource.STDOUT, ResultFormat.JSON), ended(), log("sunny\n"))
    assert refused.value.reason is Reason.OUTPUT_SCHEMA_FAILED


async def test_bytes_that_are_not_text_do_not_stop_the_reader() -> None:
    answer: Answer = lambda request: httpx.Response(200, content=b'\xff\xfe\n{"a": 1}\n')  # noqa: E731 - used once
    assert (await read(ResultReading(ResultSource.STDOUT), ended(), answer))[0] == {"a": 1}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(404, "NotFound"), ResultLostError),
        (refusal(400, "BadRequest"), ResultLostError),
        (refusal(500, "InternalError"), UnavailableError),
        (refusal(403, "Forbidden", 'pods "x" is forbidden: User "o" cannot get resource "pods/log"'), DeniedError),
    ],
)
async def test_a_log_that_cannot_be_read_says_whether_it_is_gone(answer: Answer, error: type[Exception]) -> None:
    with pytest.raises(error):
        await read(ResultReading(ResultSource.STDOUT), ended(), answer)


async def test_a_node_that_does_not_answer_is_not_waited_for(autojump_clock: MockClock) -> None:

    class Silent(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await trio.sleep_forever()
            raise AssertionError

    async with open_client(ClusterConfig("http://nowhere"), transport=Silent()) as client:
        with pytest.raises(UnavailableError):
            await read_attempt(client, with_reading(ResultReading(ResultSource.STDOUT)), ended())
    assert trio.current_time() <= 31


async def test_a_damaged_annotation_is_named() -> None:
    async with open_client(ClusterConfig("http://nowhere"), transport=LogServer(log(""))) as client:
        with pytest.raises(RejectedError, match=keys.ANNOTATION_RESULT):
            await read_attempt(client, with_reading(None, "{"), None)
    assert reading_of(JOB) is None


def test_the_newest_pod_that_has_succeeded_counts() -> None:
    def made(name: str, code: int, second: int) -> Object:
        found, _ = ended(code=code)
        return {**found, "metadata": {"name": name, "creationTimestamp": f"2025-01-02T03:00:0{second}Z"}}

    pods = [made("old", 0, 1), made("new", 0, 2), made("failed", 1, 3)]
    found = succeeded_container(pods)

    assert found is not None
    assert found[0]["metadata"]["name"] == "new"
    assert succeeded_container([made("failed", 1, 3), {"metadata": {}}]) is None
