from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import trio

from core.api.resource import CONFIG_MAP
from core.api.unreadable import Unreadable, marked
from core.kube.client import KubeClient, open_client
from core.kube.config import ClusterConfig
from core.kube.credentials import bearer_token
from core.kube.store import Change, ChangeKind
from core.policy.settings import OperatorSettings
from core.telemetry import catalogue, metrics
from core.telemetry.logs import get_logger
from localcluster.server.cluster import open_api_server
from localcluster.transport import ASGIStreamingTransport
from manager.config_source import ConfigSource

NAME = "bobrapet-operator-config"


class Events:
    """Records Events."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, str]] = []

    def record(self, _: Any, kind: str, reason: str, message: str) -> None:
        self.recorded.append((reason, message))


@dataclass(frozen=True)
class Stand:
    client: KubeClient
    source: ConfigSource
    events: Events

    async def write(self, **data: str) -> None:
        keys = {key.replace("_", "."): value for key, value in data.items()}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": keys}
        await self.client.apply(CONFIG_MAP, body, namespace="default", field_manager="test", force=True)

    async def until(self, holds: Any) -> None:
        with trio.fail_after(5):
            while not holds():  # noqa: ASYNC110 - a watch of the server in this process wakes nobody else
                await trio.sleep(0.01)


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    async with trio.open_nursery() as nursery, open_api_server() as server:
        transport = ASGIStreamingTransport(server.app, nursery)
        config = ClusterConfig("http://cluster", bearer_token(server.admin_token))
        async with open_client(config, transport=transport) as client:
            events = Events()
            source = ConfigSource(client, "default", NAME, events)  # type: ignore[arg-type]  # only record() is used
            assert source.why_not_in_force() == "has not been read yet"
            await nursery.start(source.run)
            yield Stand(client, source, events)
            nursery.cancel_scope.cancel()


async def test_without_a_config_map_the_built_in_settings_count(stand: Stand) -> None:
    assert stand.source.current() == OperatorSettings()
    assert stand.source.why_not_in_force() == ""


async def test_a_change_is_in_force_at_once_and_its_removal_too(stand: Stand) -> None:
    await stand.write(**{"controller.max-concurrent-reconciles": "3"})
    await stand.until(lambda: stand.source.current() != OperatorSettings())
    await stand.client.delete(CONFIG_MAP, NAME, "default")
    await stand.until(lambda: stand.source.current() == OperatorSettings())


async def test_series_of_ours_stand_still_while_the_configuration_says_so(stand: Stand) -> None:
    with metrics.recording() as recorder:
        await stand.write(**{"debug.enable-metrics": "false"})
        await stand.until(lambda: not recorder.enabled)
        await stand.write(**{"debug.enable-metrics": "true"})
        await stand.until(lambda: recorder.enabled)


async def test_another_bound_on_label_sets_counts_from_the_next_one(stand: Stand) -> None:
    with metrics.recording() as recorder:
        await stand.write(**{"debug.max-label-sets": "100"})
        await stand.until(lambda: recorder.most_label_sets == 100)
        for number in range(101):
            metrics.count(catalogue.SUBSTORY_REFRESH, controller=str(number))
        assert metrics.sample("bobrapet_substory_refresh_total", controller="0") is None
        assert metrics.sample("bobrapet_substory_refresh_total", controller="100") == 1


async def test_verbose_logging_begins_and_ends_at_once(stand: Stand) -> None:
    logger = get_logger("test")
    before = logging.getLogger("bobrapet").level
    try:
        await stand.write(**{"debug.enable-verbose-logging": "true"})
        await stand.until(lambda: logger.is_enabled_for(logging.DEBUG))
        await stand.write(**{"debug.enable-verbose-logging": "false"})
        await stand.until(lambda: not logger.is_enabled_for(logging.DEBUG))
    finally:
        logging.getLogger("bobrapet").setLevel(before)


async def test_what_cannot_be_accepted_changes_nothing_and_is_told(stand: Stand) -> None:
    await stand.write(**{"controller.max-concurrent-reconciles": "3"})
    await stand.until(lambda: stand.source.current() != OperatorSettings())
    good = stand.source.current()
    await stand.write(**{"references.cross-namespace-policy": "perhaps"})
    await stand.until(lambda: stand.source.problem)

    assert stand.source.current() == good
    assert "references.cross-namespace-policy" in stand.source.why_not_in_force()
    assert [reason for reason, _ in stand.events.recorded] == ["ConfigurationRejected"]
    await stand.write()
    await stand.until(lambda: not stand.source.problem)


async def test_each_change_warns_of_keys_that_have_no_effect(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    await stand.write(**{"transport.enabled": "true", "retry.max-retries": "4"})
    await stand.until(lambda: stand.source.current().max_retries == 4)
    await stand.write(**{"transport.enabled": "true", "retry.max-retries": "5"})
    await stand.until(lambda: stand.source.current().max_retries == 5)

    warnings = [vars(record)["bobrapet_fields"] for record in caplog.records if record.levelname == "WARNING"]
    assert [warning["key"] for warning in warnings] == ["transport.enabled"] * 2
    assert all("is accepted without effect" in warning["warning"] for warning in warnings)


async def test_a_config_map_that_cannot_be_read_changes_nothing(stand: Stand) -> None:
    before = stand.source.current()
    left = {"metadata": {"name": NAME, "namespace": "default"}}
    mark = Unreadable((("data",),), "is not readable JSON")
    stand.source._changed(Change(ChangeKind.UPDATED, None, marked(left, mark)))

    assert stand.source.current() is before
    assert "cannot be read: data is left out" in stand.source.problem
    assert stand.events.recorded[-1] == ("ConfigurationRejected", stand.source.problem)
