"""Impulses on the command line: the table, how one is found, and what is read of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cli.impulses import find_impulse, list_impulses, listener_facts
from cli.options import CommonOptions, TimeStyle
from cli.problem import CommandError
from cli.session import Session
from cli.verbs.impulses import table_of_impulses
from core.api.objects import Object
from core.api.resource import IMPULSE, POD
from core.kube.client import KubeClient
from views.impulses import view_impulse

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
SPEC = {"templateRef": {"name": "webhook"}, "storyRef": {"name": "report"}}


def impulse(name: str, **status: object) -> Object:
    metadata = {"name": name, "namespace": "team", "generation": 1}
    return {"metadata": metadata, "spec": SPEC, "status": status}


def test_the_table_has_a_line_for_each_impulse() -> None:
    ready = {"type": "Ready", "status": "True", "reason": "DeploymentReady", "message": "active and listening"}
    up = impulse(
        "hook",
        phase="Running",
        conditions=[ready],
        triggersReceived=12,
        storiesLaunched=10,
        failedTriggers=2,
        throttledTriggers=3,
        lastTrigger="2026-01-02T11:59:30Z",
    )
    views = [view_impulse(up), view_impulse(impulse("new"))]
    headers, *rows = table_of_impulses(views, CommonOptions(), NOW).splitlines()
    assert headers.split()[:6] == ["NAME", "TEMPLATE", "STORY", "MODE", "READY", "PHASE"]
    assert headers.split()[6:] == ["RECEIVED", "LAUNCHED", "FAILED", "THROTTLED", "LAST-TRIGGER"]
    assert rows == [
        "hook   webhook    report   deployment   yes     Running   12         10         2        3           30s",
        "new    webhook    report   deployment   no                0          0          0        0           never",
    ]
    wide = CommonOptions(output="wide", all_namespaces=True, time_style=TimeStyle.ISO, no_headers=True)
    [first, _] = table_of_impulses(views, wide, NOW).splitlines()
    assert first.startswith("team   hook")
    assert first.endswith("2026-01-02T11:59:30Z   active and listening")


async def created(client: KubeClient, name: str) -> Object:
    kind = {"apiVersion": IMPULSE.api_version, "kind": IMPULSE.kind}
    return await client.create(IMPULSE, {**kind, "metadata": {"name": name, "namespace": "default"}, "spec": SPEC})


async def test_impulses_are_listed_by_name_and_found_by_name(client: KubeClient, session: Session) -> None:
    for name in ("hook", "cron"):
        await created(client, name)
    assert [found["metadata"]["name"] for found in await list_impulses(session)] == ["cron", "hook"]
    assert (await find_impulse(session, "hook"))["metadata"]["name"] == "hook"
    with pytest.raises(CommandError) as caught:
        await find_impulse(session, "hok")
    assert "did you mean 'hook'" in caught.value.remedy
    with pytest.raises(CommandError):
        await find_impulse(session, "")


async def test_of_an_impulse_its_own_pods_are_read(client: KubeClient, session: Session) -> None:
    hook = await created(client, "hook")
    for name, instance in (("mine", "hook"), ("others", "cron")):
        labels = {
            "app.kubernetes.io/name": "bobrapet-impulse",
            "app.kubernetes.io/managed-by": "bobrapet-operator",
            "app.kubernetes.io/instance": instance,
        }
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "labels": labels},
            "spec": {"containers": [{"name": "impulse", "image": "img"}]},
        }
        await client.create(POD, pod)
    facts = await listener_facts(session, hook)
    assert [pod["metadata"]["name"] for pod in facts.pods] == ["mine"]
    assert facts.unseen == ()
