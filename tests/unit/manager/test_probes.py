from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import pytest
import trio
from prometheus_client import Metric

from core.telemetry import metrics
from manager.probes import MetricsPage, Probes

Ask = Callable[..., Awaitable[tuple[int, str]]]


def probes(**reasons: str) -> Probes:
    return Probes({name: partial(str, why) for name, why in reasons.items()})


async def test_liveness_does_not_ask_the_checks_of_readiness(ask: Ask) -> None:
    assert await ask(probes(cache="empty"), "/healthz") == (200, "ok")


async def test_readiness_fails_with_every_reason(ask: Ask) -> None:
    status, body = await ask(probes(cache="empty", configuration=""), "/readyz")

    assert status == 500
    assert body == "[+]ping ok\n[-]cache failed: empty\n[+]configuration ok\nreadyz check failed\n"


async def test_a_check_can_be_excluded_or_asked_alone(ask: Ask) -> None:
    asked = probes(cache="empty", configuration="")

    assert await ask(asked, "/readyz?exclude=cache") == (200, "ok")
    assert (await ask(asked, "/readyz?exclude=cache&verbose"))[1].splitlines()[1] == "[+]cache excluded: ok"
    assert (await ask(asked, "/readyz/configuration"))[0] == 200
    assert (await ask(asked, "/readyz/cache"))[0] == 500


@pytest.mark.parametrize("path", ["/", "/metrics", "/readyz/unknown"])
async def test_other_paths_are_not_found(ask: Ask, path: str) -> None:
    assert (await ask(probes(), path))[0] == 404


async def test_metrics_are_read_only_and_only_under_their_path(ask: Ask) -> None:
    page = MetricsPage(None)

    assert (await ask(page, "/metrics"))[0] == 200
    assert (await ask(page, "/"))[0] == 404
    assert (await ask(page, "/metrics", method="POST"))[0] == 404


async def test_metrics_pass_the_authorization_header_on_and_keep_to_the_verdict(ask: Ask) -> None:
    heard: list[str] = []

    async def refuse(authorization: str) -> int:
        heard.append(authorization)
        return 403

    assert await ask(MetricsPage(refuse), "/metrics", headers={"Authorization": "Bearer t"}) == (403, "403\n")
    assert heard == ["Bearer t"]


@pytest.mark.parametrize(
    ("server", "host", "status"),
    [
        ("127.0.0.1", "localhost:8080", 200),
        ("127.0.0.1", "127.0.0.1:8080", 200),
        ("::1", "[::1]:8080", 200),
        ("127.0.0.1", "rebound.example:8080", 403),
        ("127.0.0.1", "", 403),
        ("10.0.0.7", "operator.example:8080", 200),
    ],
)
async def test_a_web_page_whose_name_leads_to_this_machine_cannot_read_metrics(
    server: str, host: str, status: int
) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("the page reads no body")

    scope = {"type": "http", "path": "/metrics", "method": "GET", "server": (server, 8080)}
    await MetricsPage(None)({**scope, "headers": [(b"host", host.encode())]}, receive, send)

    assert sent[0]["status"] == status


class SlowSeries:
    """A collector whose values are read only when the event loop has taken a turn."""

    def __init__(self) -> None:
        self.is_asked = threading.Event()
        self.loop_has_turned = threading.Event()

    def collect(self) -> Iterator[Metric]:
        self.is_asked.set()
        assert self.loop_has_turned.wait(60), "the event loop stands still while the metrics are rendered"
        yield Metric("slow", "Read late.", "gauge")


async def test_the_event_loop_goes_on_while_metrics_are_rendered(ask: Ask) -> None:
    slow = SlowSeries()
    answers: list[tuple[int, str]] = []

    async def scrape() -> None:
        answers.append(await ask(MetricsPage(None), "/metrics"))

    with metrics.recording() as recorder, trio.fail_after(120):
        recorder.registry.register(slow)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scrape)
            assert await trio.to_thread.run_sync(slow.is_asked.wait, 60)
            slow.loop_has_turned.set()
    ((status, text),) = answers
    assert status == 200
    assert "# TYPE slow gauge" in text
