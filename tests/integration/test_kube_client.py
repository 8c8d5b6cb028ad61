"""The client and the informer against an API server, embedded or real, that stores objects."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import trio

from core.api.resource import CONFIG_MAP, CORE_EVENT, EVENT, LEASE, Resource
from core.kube.client import KubeClient, open_client
from core.kube.credentials import bearer_token
from core.kube.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidError,
    NotFoundError,
    NotServedError,
    UnauthorizedError,
)
from core.kube.events import EventRecorder
from core.kube.informer import Change, ChangeKind, Informer
from core.kube.lease import LeaderLease
from core.kube.patch import bound_to, finalizer_addition, finalizer_removal
from core.kube.watch import WatchTiming
from kubewire import PatchType
from tests.integration.adapter_world import AdapterWorld
from tests.integration.operator_cluster import NAMESPACE_NAME

PLACE = NAMESPACE_NAME
FINALIZER = "tests.bubustack.io/hold"


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": PLACE}, "data": data}


@pytest.fixture
async def client(there: AdapterWorld) -> AsyncIterator[KubeClient]:
    async with there.access.connected() as opened:
        yield opened


class Seen:
    """A handler whose changes a test can wait for."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self._news = trio.Event()

    def __call__(self, change: Change) -> None:
        self.changes.append(change)
        self._news.set()
        self._news = trio.Event()

    async def until(self, kind: ChangeKind, name: str) -> Change:
        with trio.fail_after(30):
            while True:
                for change in self.changes:
                    if change.kind is kind and change.object["metadata"]["name"] == name:
                        return change
                await self._news.wait()


async def test_an_object_lives_through_every_verb(client: KubeClient) -> None:
    created = await client.create(CONFIG_MAP, config_map("a", x="1"))
    with pytest.raises(AlreadyExistsError):
        await client.create(CONFIG_MAP, config_map("a"))
    patched = await client.patch(CONFIG_MAP, "a", {"data": {"y": "2"}}, namespace=PLACE)
    assert patched["data"] == {"x": "1", "y": "2"}
    with pytest.raises(ConflictError):
        await client.patch(CONFIG_MAP, "a", bound_to(created, {"data": {"y": "3"}}), namespace=PLACE)
    with pytest.raises(ConflictError):
        await client.replace(CONFIG_MAP, created)
    with pytest.raises(ConflictError):
        await client.patch(
            CONFIG_MAP,
            "a",
            [{"op": "test", "path": "/data/x", "value": "9"}],
            namespace=PLACE,
            patch_type=PatchType.JSON,
        )
    with pytest.raises(ConflictError):
        await client.apply(CONFIG_MAP, config_map("a", x="theirs"), field_manager="other")
    applied = await client.apply(CONFIG_MAP, config_map("a", x="theirs"), field_manager="other", force=True)
    assert applied["data"]["x"] == "theirs"
    with pytest.raises(ConflictError):
        await client.delete(CONFIG_MAP, "a", PLACE, uid="another")
    await client.delete(CONFIG_MAP, "a", PLACE, uid=created["metadata"]["uid"])
    with pytest.raises(NotFoundError):
        await client.get(CONFIG_MAP, "a", PLACE)


async def test_refusals_say_why(client: KubeClient, there: AdapterWorld) -> None:
    with pytest.raises(InvalidError) as raised:
        await client.create(CONFIG_MAP, config_map("Not_A_Name"))
    assert [cause.field for cause in raised.value.causes] == ["metadata.name"]
    with pytest.raises(NotServedError):
        await client.list(Resource("nobody.example.com", "v1", "things", "Thing"))
    config = replace(there.access.config, credentials=bearer_token("wrong"), source="here")
    async with open_client(config, transport=there.access.open_wire()) as stranger:
        with pytest.raises(UnauthorizedError, match=r"credentials of .*\bhere\b.*; log in again"):
            await stranger.get(CONFIG_MAP, "a", PLACE)


async def test_lists_are_whole_however_small_the_pages(client: KubeClient) -> None:
    for number in range(7):
        await client.create(CONFIG_MAP, config_map(f"m{number}"))
    found = await client.list(CONFIG_MAP, PLACE, limit=2)
    names = [obj["metadata"]["name"] for obj in found.items]

    assert len(names) == len(set(names))
    assert {f"m{number}" for number in range(7)} <= set(names)
    assert {obj["kind"] for obj in found.items} == {"ConfigMap"}
    assert int(found.resource_version) > 0


async def test_discovery_and_version_answer(client: KubeClient) -> None:
    assert (await client.server_version())["gitVersion"].startswith("v1.")
    assert ("batch", "v1", "jobs") in {(kind.group, kind.version, kind.plural) for kind in await client.discover()}


async def test_an_informer_is_ahead_of_its_echoes_and_hears_of_everybody(
    client: KubeClient, nursery: trio.Nursery
) -> None:
    await client.create(CONFIG_MAP, config_map("old"))
    informer, seen = Informer(client, CONFIG_MAP, namespace=PLACE), Seen()
    informer.add_handler(seen)
    await nursery.start(informer.run)
    assert informer.get(PLACE, "old") is not None

    created = await client.create(CONFIG_MAP, config_map("a", n="0"))
    informer.remember(created)
    for number in range(1, 20):
        informer.remember(await client.patch(CONFIG_MAP, "a", {"data": {"n": str(number)}}, namespace=PLACE))
        assert (informer.get(PLACE, "a") or {})["data"] == {"n": str(number)}
    await client.create(CONFIG_MAP, config_map("theirs"))
    await seen.until(ChangeKind.ADDED, "theirs")
    versions = [
        int(change.object["metadata"]["resourceVersion"])
        for change in seen.changes
        if change.object["metadata"]["name"] == "a"
    ]
    assert versions == sorted(set(versions))
    assert len(versions) == 20

    await client.delete(CONFIG_MAP, "a", PLACE)
    informer.forget(PLACE, "a", created["metadata"]["uid"])
    again = await client.create(CONFIG_MAP, config_map("a"))
    informer.remember(again)
    await client.create(CONFIG_MAP, config_map("last"))
    await seen.until(ChangeKind.ADDED, "last")
    assert (informer.get(PLACE, "a") or {})["metadata"]["uid"] == again["metadata"]["uid"]
    nursery.cancel_scope.cancel()


async def test_an_object_held_by_a_finalizer_stays_visible_until_it_is_gone(
    client: KubeClient, nursery: trio.Nursery
) -> None:
    informer, seen = Informer(client, CONFIG_MAP, namespace=PLACE), Seen()
    informer.add_handler(seen)
    await nursery.start(informer.run)
    held = await client.create(CONFIG_MAP, config_map("held"))
    held = await client.patch(
        CONFIG_MAP, "held", finalizer_addition(held, FINALIZER) or [], namespace=PLACE, patch_type=PatchType.JSON
    )
    informer.remember(held)
    await client.delete(CONFIG_MAP, "held", PLACE, uid=held["metadata"]["uid"])
    informer.forget(PLACE, "held", held["metadata"]["uid"])
    await client.create(CONFIG_MAP, config_map("later"))
    await seen.until(ChangeKind.ADDED, "later")

    ending = informer.get(PLACE, "held")
    assert ending is not None
    assert ending["metadata"]["deletionTimestamp"]
    await client.patch(
        CONFIG_MAP, "held", finalizer_removal(ending, FINALIZER) or [], namespace=PLACE, patch_type=PatchType.JSON
    )
    await client.create(CONFIG_MAP, config_map("last"))
    await seen.until(ChangeKind.ADDED, "last")  # one watch reports in order: what came before it has been seen
    assert informer.get(PLACE, "held") is None
    nursery.cancel_scope.cancel()


async def test_a_silent_kind_is_probed_and_not_listed_again(client: KubeClient, nursery: trio.Nursery) -> None:
    await client.create(CONFIG_MAP, config_map("a"))
    informer = Informer(client, LEASE, timing=WatchTiming(silence_seconds=0.05, backoff_seconds=(0.01, 0.01)))
    await nursery.start(informer.run)
    await client.create(CONFIG_MAP, config_map("b"))
    await trio.sleep(0.4)

    for _ in range(100):  # rare contact on a busy machine proves nothing; no contact at all would
        if informer.seconds_since_contact < 0.2:
            break
        await trio.sleep(0.05)
    assert informer.seconds_since_contact < 0.4
    assert informer.last_error is None
    nursery.cancel_scope.cancel()


async def test_events_and_a_lease_are_accepted_as_written(client: KubeClient, nursery: trio.Nursery) -> None:
    subject = await client.create(CONFIG_MAP, config_map("a"))
    recorder = EventRecorder(client, now=lambda: datetime(2026, 1, 1, tzinfo=UTC), instance="test")
    lease = LeaderLease(client, name="l", namespace=PLACE, identity="me", now=lambda: datetime(2026, 1, 1, tzinfo=UTC))

    async def body() -> None:
        async with trio.open_nursery() as inner:
            await inner.start(recorder.run)
            recorder.record(subject, "Normal", "Tested", "it works")
            recorder.record_labelled(subject, "Warning", "Labelled", "it works", labels={"a": "b"})
            inner.cancel_scope.cancel()

    await lease.run(body)
    modern = await client.list(EVENT, PLACE)
    assert "Tested" in {event["reason"] for event in modern.items}
    labelled = await client.list(CORE_EVENT, PLACE, label_selector="a=b")
    assert [event["reason"] for event in labelled.items] == ["Labelled"]
    assert (await client.get(LEASE, "l", PLACE))["spec"]["holderIdentity"] == ""
