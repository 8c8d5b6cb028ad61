"""Outputs in object storage, read for a user: the store, the credentials, and the message when reading fails."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli.embedded.folder import EmbeddedCluster, claims_folder
from cli.embedded.operator_process import OPERATOR_NAMESPACE
from cli.problem import CommandError
from cli.session import Session
from cli.verbs.outputs import read_stored
from core.api.resource import CLUSTER_ROLE, CONFIG_MAP, NAMESPACE, ROLE_BINDING, SECRET
from core.payloads.errors import StoreUnavailableError, object_missing
from core.payloads.store import S3Location
from deployment.permissions.table import CONFIG_NAME
from reconcilers.adapters import payload_store

KEY = "outputs/team/one/output.json"
REFERENCE = {"$bubuStorageRef": KEY}
OUTPUTS = {"output": {"rows": REFERENCE, "count": 2}, "note": "short"}
WHOLE = {"output": {"rows": [1, 2], "count": 2}, "note": "short"}
STORED = json.dumps({"contentType": "json", "data": [1, 2]})
S3 = {
    "controller.storage.provider": "s3",
    "controller.storage.s3.bucket": "data",
    "controller.storage.s3.auth-secret-name": "store-access",
}
FILE = {
    "controller.storage.provider": "file",
    "controller.storage.file.path": "/nowhere",
    "controller.storage.file.volume-claim-name": "payloads",
}
KEYS = {"AWS_ACCESS_KEY_ID": "aWQ=", "AWS_SECRET_ACCESS_KEY": "c2VjcmV0"}


class Bucket:
    """Contains the objects in ``objects``, and records in ``opened`` how it was opened."""

    def __init__(self) -> None:
        self.opened: list[S3Location] = []
        self.objects = {KEY: STORED}
        self.problem = ""

    def open(self, location: S3Location, *, timeout_seconds: float) -> Bucket:
        self.opened.append(location)
        return self

    async def read(self, key: str, limit_bytes: int) -> bytes:
        if self.problem:
            raise StoreUnavailableError(self.problem)
        if key not in self.objects:
            raise object_missing(key)
        return self.objects[key].encode()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    bucket = Bucket()
    monkeypatch.setattr(payload_store, "open_s3_store", bucket.open)
    return bucket


async def configure(session: Session, data: Mapping[str, str], secret: Mapping[str, str] | None = None) -> None:
    await session.client.create(NAMESPACE, {"metadata": {"name": OPERATOR_NAMESPACE}})
    config = {"metadata": {"name": CONFIG_NAME}, "data": dict(data)}
    await session.client.create(CONFIG_MAP, config, namespace=OPERATOR_NAMESPACE)
    if secret is not None:
        kept = {"metadata": {"name": "store-access"}, "data": dict(secret)}
        await session.client.create(SECRET, kept, namespace=OPERATOR_NAMESPACE)


async def read(session: Session, outputs: Mapping[str, Any] = OUTPUTS) -> dict[str, Any]:
    return await read_stored(session, outputs, "team")


async def refusal(session: Session, outputs: Mapping[str, Any] = OUTPUTS) -> str:
    with pytest.raises(CommandError) as caught:
        await read(session, outputs)
    assert "--references" in caught.value.remedy
    return str(caught.value)


async def allow(session: Session, user: str, resource: str) -> None:
    rbac = "rbac.authorization.k8s.io"
    rules = [{"apiGroups": [""], "resources": [resource], "verbs": ["get"]}]
    await session.client.create(CLUSTER_ROLE, {"metadata": {"name": user}, "rules": rules})
    binding = {
        "metadata": {"name": user},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": user},
        "subjects": [{"apiGroup": rbac, "kind": "User", "name": user}],
    }
    await session.client.create(ROLE_BINDING, binding, namespace=OPERATOR_NAMESPACE)


async def test_a_bucket_is_read_with_the_operators_secret(session: Session, bucket: Bucket) -> None:
    await configure(session, S3, KEYS)

    assert await read(session) == WHOLE
    [location] = bucket.opened
    assert location.credentials == {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}


async def test_what_holds_no_reference_asks_nobody(session: Session, bucket: Bucket) -> None:
    assert await read(session, {"output": {"a": 1}, "b": None}) == {"output": {"a": 1}, "b": None}
    assert bucket.opened == []


async def test_who_may_not_see_the_secret_reads_with_credentials_of_their_own(
    session: Session, server: Any, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    await configure(session, S3, KEYS)
    await allow(session, "jane", "configmaps")

    async with server.session_as("jane") as jane:
        assert await read(jane) == WHOLE

    assert bucket.opened[0].credentials == {}
    assert f"you may not read Secret {OPERATOR_NAMESPACE}/store-access" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("provider", "place", "opened", "vendor"),
    [
        ("gcs", {"bucket": "data"}, "open_gcs_store", "Google"),
        ("azure", {"account": "payloads", "container": "data"}, "open_azure_store", "Azure"),
    ],
)
async def test_a_bucket_of_another_cloud_is_read_in_the_same_way(
    provider: str,
    place: dict[str, str],
    opened: str,
    vendor: str,
    session: Session,
    server: Any,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(payload_store, opened, bucket.open)
    keys = {"AZURE_STORAGE_ACCOUNT_KEY": "aWQ=", "GOOGLE_SERVICE_ACCOUNT_KEY": "aWQ="}
    own = {
        f"controller.storage.{provider}.{key}": value
        for key, value in {**place, "auth-secret-name": "store-access"}.items()
    }
    await configure(session, {"controller.storage.provider": provider, **own}, keys)
    await allow(session, "jane", "configmaps")

    assert await read(session) == WHOLE
    async with server.session_as("jane") as jane:
        assert await read(jane) == WHOLE

    assert [set(location.credentials.values()) for location in bucket.opened] == [{"id"}, set()]
    assert f"your own {vendor} credentials are used" in capsys.readouterr().err


async def test_who_may_not_see_the_configuration_is_told_which_right_is_lacking(session: Session, server: Any) -> None:
    await configure(session, S3, KEYS)

    async with server.session_as("jane") as jane:
        said = await refusal(jane)

    assert said.startswith(
        f"ConfigMap {OPERATOR_NAMESPACE}/{CONFIG_NAME}, which names the object store, cannot be read"
    )
    assert 'User "jane" cannot get resource "configmaps"' in said


async def test_every_object_that_cannot_be_read_is_named(session: Session, bucket: Bucket) -> None:
    await configure(session, S3, KEYS)
    foreign = {"$bubuStorageRef": "outputs/other/one/output.json"}
    gone = {"$bubuStorageRef": "outputs/team/two/output.json"}

    said = await refusal(session, {"output": REFERENCE, "fetch": {"rows": foreign}, "join": gone})

    first, second = said.splitlines()
    assert first.startswith("steps.fetch.output.rows: ")
    assert "does not belong to namespace 'team'" in first
    assert second.startswith("steps.join.output: the stored object 'outputs/team/two/output.json' does not exist")


async def test_a_store_that_does_not_answer_is_named(session: Session, bucket: Bucket) -> None:
    await configure(session, S3, KEYS)
    bucket.problem = "bucket 'data' cannot be read: no answer in time"

    assert await refusal(session) == bucket.problem


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({}, "the operator has no object store; name one with controller.storage.provider"),
        (FILE, "stored data is on the volume of claim 'payloads', which only Pods can read"),
        (S3, f"storage Secret {OPERATOR_NAMESPACE}/store-access does not exist"),
        ({"controller.storage.provider": "tape"}, f"ConfigMap {OPERATOR_NAMESPACE}/{CONFIG_NAME} is invalid"),
    ],
)
async def test_a_store_that_cannot_be_opened_is_told(session: Session, data: Mapping[str, str], told: str) -> None:
    await configure(session, data)

    assert told in await refusal(session)


async def test_without_any_configuration_the_operator_has_no_store(session: Session) -> None:
    assert "the operator has no object store" in await refusal(session)


async def test_on_the_embedded_cluster_the_volume_of_the_namespace_is_read(session: Session, tmp_path: Path) -> None:
    await configure(session, FILE)
    file = claims_folder(tmp_path) / "team" / "payloads" / KEY
    file.parent.mkdir(parents=True)
    file.write_text(STORED)
    cluster = EmbeddedCluster(tmp_path, "http://cluster", tmp_path / "kubeconfig", 1, "http://metrics")

    assert await read(replace(session, embedded=cluster)) == WHOLE
