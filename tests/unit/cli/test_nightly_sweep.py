"""The manifest that sweeps every night: its commands work with exactly the permissions that it gives."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cli.app import app_for
from cli.options import CommonOptions
from cli.problem import CommandError
from cli.verbs.cache import clear_cache
from cli.verbs.storage import sweep_store as sweep
from core.api.objects import Object
from core.api.resource import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CONFIG_MAP,
    NAMESPACE,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE_ACCOUNT,
)
from core.engine.clock import system_now
from core.kube.client import KubeClient
from core.kube.errors import ForbiddenError
from core.payloads.errors import object_missing
from core.payloads.store import S3Location, StoredObject
from core.workloads.cache_entry import CacheSelection
from deployment.permissions.names import CONFIG_NAME, OPERATOR_NAMESPACE
from reconcilers.adapters import payload_store
from tests.unit.cli.conftest import Server, session_of

ROOT = Path(__file__).parents[3]
ACCOUNT = "system:serviceaccount:bobrapet-system:bobrapet-sweep"
DAY = timedelta(hours=24)
OLD = system_now() - timedelta(days=3)
CONFIG = {
    "controller.storage.provider": "s3",
    "controller.storage.s3.bucket": "data",
    "controller.storage.s3.auth-secret-name": "payload-store",
}
KEYS = {"AWS_ACCESS_KEY_ID": "aWQ=", "AWS_SECRET_ACCESS_KEY": "c2VjcmV0"}
RIGHTS = {
    CLUSTER_ROLE: CLUSTER_ROLE_BINDING,
    ROLE: ROLE_BINDING,
}


class NightlyBucket:
    """Contains ``objects``, all of which are old; ``opened`` are the locations that it was opened with."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.opened: list[S3Location] = []

    def open(self, location: S3Location, *, timeout_seconds: float) -> NightlyBucket:
        self.opened.append(location)
        return self

    async def page(self, folder: str, *, after: str = "", limit: int = 1000) -> Sequence[StoredObject]:
        keys = sorted(key for key in self.objects if key.startswith(f"{folder}/") and key > after)
        return [StoredObject(key, len(self.objects[key]), OLD) for key in keys[:limit]]

    async def read(self, key: str, limit_bytes: int) -> bytes:
        if key not in self.objects:
            raise object_missing(key)
        return self.objects[key]

    async def delete(self, wanted: Sequence[str]) -> None:
        for key in wanted:
            self.objects.pop(key, None)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> NightlyBucket:
    bucket = NightlyBucket()
    monkeypatch.setattr(payload_store, "open_s3_store", bucket.open)
    return bucket


def documents() -> dict[str, Object]:
    """The objects of the manifest, by kind."""
    text = (ROOT / "examples/sweep/nightly.yaml").read_text()
    return {each["kind"]: each for each in YAML(typ="safe").load_all(text)}


async def install(client: KubeClient, change: Callable[[dict[str, Object]], None] = lambda _: None) -> None:
    found = copy.deepcopy(documents())
    change(found)
    await client.create(NAMESPACE, {"metadata": {"name": OPERATOR_NAMESPACE}})
    for resource in (SERVICE_ACCOUNT, CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING):
        document = found[resource.kind]
        await client.create(resource, document, namespace=document["metadata"].get("namespace"))
    for resource, name, data in ((CONFIG_MAP, CONFIG_NAME, CONFIG), (SECRET, "payload-store", KEYS)):
        await client.create(resource, {"metadata": {"name": name}, "data": data}, namespace=OPERATOR_NAMESPACE)


async def night(server: Server) -> None:
    async with server.session_as(ACCOUNT) as account:
        session = session_of(account.client, CommonOptions(all_namespaces=True, yes=True))
        await sweep(session, delete=True, older_than=DAY)
        await clear_cache(session, CacheSelection(expired=True))


async def test_a_night_deletes_what_is_of_no_use(client: KubeClient, server: Server, bucket: NightlyBucket) -> None:
    await install(client)
    entry = f"cache/default/embed/v1/{'0' * 64}.json"
    bucket.objects = {
        "outputs/default/gone/output.json": b"{}",
        entry: b'{"createdAt":"2020-01-02T03:04:05Z","ttlSeconds":60,"output":1}',
        entry.replace("v1", "v2"): b'{"createdAt":"2020-01-02T03:04:05Z","output":1}',
    }

    await night(server)

    assert list(bucket.objects) == [entry.replace("v1", "v2")]
    assert bucket.opened[0].credentials == {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.mark.parametrize(("kind", "index"), [("ClusterRole", 0), ("ClusterRole", 1), ("Role", 0), ("Role", 1)])
async def test_each_rule_is_needed(
    client: KubeClient, server: Server, bucket: NightlyBucket, kind: str, index: int
) -> None:
    await install(client, lambda found: found[kind]["rules"].pop(index))
    bucket.objects = {"outputs/default/gone/output.json": b"{}"}

    if (kind, index) == ("Role", 1):  # without the Secret, the credentials are those of the Pod's own identity
        await night(server)
        assert bucket.opened[0].credentials == {}
        return
    with pytest.raises((ForbiddenError, CommandError), match=f"{ACCOUNT}.* cannot (get|list)"):
        await night(server)
    assert bucket.objects


def test_the_containers_run_the_commands_in_the_image_of_the_operator() -> None:
    containers: list[Any] = documents()["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    manager = YAML(typ="safe").load_all((ROOT / "manifests/manager/deployment.yaml").read_text())
    deployment = next(each for each in manager if each and each["kind"] == "Deployment")

    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    assert {each["image"] for each in containers} == {image}
    assert [each["args"][:2] for each in containers] == [["storage", "sweep"], ["cache", "clear"]]
    for each in containers:
        assert each["command"] == ["bobrapet"]
        assert app_for(each["args"])(args=[*each["args"], "--help"], prog_name="bobrapet", standalone_mode=False) == 0
