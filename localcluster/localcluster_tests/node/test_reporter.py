import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from localcluster.node.client import ApiClient
from localcluster.node.reporter import PodGoneError, StatusReporter
from localcluster.transport import TransportHttp

POD = {"metadata": {"name": "p", "namespace": "n", "uid": "u"}}


def client_answering(answer: Callable[[dict[str, Any]], httpx.Response]) -> ApiClient:
    async def handle(request: httpx.Request) -> httpx.Response:
        await trio.sleep(1)
        return answer(json.loads(request.content))

    return ApiClient(TransportHttp(httpx.MockTransport(handle), "http://server"), "")


async def test_a_short_life_is_one_write(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    writes: list[Any] = []
    phase = "Pending"

    def answer(patch: dict[str, Any]) -> httpx.Response:
        writes.append(patch["status"]["phase"])
        return httpx.Response(200, json=patch)

    reporter = StatusReporter(client_answering(answer), POD, lambda _: {"phase": phase})
    nursery.start_soon(reporter.run)
    reporter.changed(0.03)
    await trio.sleep(0.01)
    phase = "Succeeded"
    reporter.finish()
    await trio.sleep(5)

    assert writes == ["Succeeded"]


async def test_an_end_during_a_write_is_written_too(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    writes: list[Any] = []
    phase = "Running"

    def answer(patch: dict[str, Any]) -> httpx.Response:
        writes.append(patch["status"]["phase"])
        return httpx.Response(200, json=patch)

    reporter = StatusReporter(client_answering(answer), POD, lambda _: {"phase": phase})
    nursery.start_soon(reporter.run)
    reporter.changed(0.03)
    await trio.sleep(0.5)  # the write takes a second
    phase = "Failed"
    reporter.finish()
    await trio.sleep(5)

    assert writes == ["Running", "Failed"]


async def test_news_waits_no_longer_than_the_most_urgent_of_it(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    written_at: list[float] = []
    began = trio.current_time()

    def answer(patch: dict[str, Any]) -> httpx.Response:
        written_at.append(trio.current_time() - began)
        return httpx.Response(200, json=patch)

    reporter = StatusReporter(client_answering(answer), POD, lambda _: {"now": trio.current_time()})
    nursery.start_soon(reporter.run)
    reporter.changed(10)
    await trio.sleep(2)
    reporter.changed(1)
    reporter.changed(5)
    await trio.sleep(20)

    assert written_at == [4]  # due after 3, and a write takes 1


async def test_writes_carry_the_uid_and_are_repeated_until_taken(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    answers = [503, 500, 507, 429, 408, 200]
    uids: list[str] = []

    def answer(patch: dict[str, Any]) -> httpx.Response:
        uids.append(patch["metadata"]["uid"])
        return httpx.Response(answers.pop(0), json=patch)

    reporter = StatusReporter(client_answering(answer), POD, lambda _: {"phase": "Failed"})
    reporter.finish()
    await reporter.run()

    assert uids == ["u"] * 6
    assert answers == []


@pytest.mark.parametrize("code", [404, 409])
async def test_a_pod_that_is_gone_or_another_ends_the_reports(
    autojump_clock: trio.testing.MockClock, code: int
) -> None:
    reporter = StatusReporter(client_answering(lambda _: httpx.Response(code, json={})), POD, lambda _: {"phase": "x"})
    reporter.changed(0.03)

    with pytest.raises(PodGoneError):
        await reporter.run()


async def test_nothing_new_is_not_written(autojump_clock: trio.testing.MockClock) -> None:
    def refuse(_: dict[str, Any]) -> httpx.Response:
        raise AssertionError("nothing changed, so nothing is to be written")

    pod = {**POD, "status": {"phase": "Failed", "other": "kept"}}
    reporter = StatusReporter(client_answering(refuse), pod, lambda _: {"phase": "Failed"})
    reporter.finish()

    await reporter.run()


async def test_what_the_server_stores_in_other_words_is_not_written_again(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    writes: list[Any] = []

    def answer(patch: dict[str, Any]) -> httpx.Response:
        writes.append(patch["status"]["phase"])
        return httpx.Response(200, json={"status": {"phase": "Succeeded", "extra": "defaulted"}})

    status = {"phase": "Succeeded", "extra": None}
    reporter = StatusReporter(client_answering(answer), POD, lambda _: status)
    nursery.start_soon(reporter.run)
    reporter.changed(0)
    await trio.sleep(5)
    reporter.finish()
    await trio.sleep(5)

    assert writes == ["Succeeded"]
