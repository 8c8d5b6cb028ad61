"""The operator's object store: which store its configuration names, and which credentials read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.api.resource import SECRET
from core.engine.errors import NoStoreError, RejectedError, StorageUnavailableError
from core.engine.payload_port import Offload, StoredAs
from core.payloads.errors import StoreUnavailableError
from core.payloads.store import S3Location
from core.policy.settings import OperatorSettings, StorageProvider, StorageSettings
from reconcilers.adapters import payload_store
from reconcilers.adapters.stored_payloads import StoredPayloads
from tests.integration.adapter_world import AdapterWorld
from tests.integration.operator_cluster import OPERATOR_NAMESPACE

REFERENCE = {"$bubuStorageRef": "outputs/team/one/output.json"}
ANSWER = {"n": 2}
S3 = StorageSettings(StorageProvider.S3, s3_bucket="data", s3_region="eu-1", s3_auth_secret_name="store-access")
KEYS = {"AWS_ACCESS_KEY_ID": "aWQ=", "AWS_SECRET_ACCESS_KEY": "c2VjcmV0", "other": "eA=="}


def put(root: Path, value: Any) -> None:
    file = root / REFERENCE["$bubuStorageRef"]
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"contentType": "json", "data": value}))


def files_at(root: Path) -> StorageSettings:
    return StorageSettings(StorageProvider.FILE, file_path=str(root), file_volume_claim_name="payloads")


class Bucket:
    """Records in ``opened`` how it was opened, and in ``written`` what was written. It does not answer while it is
    ``down``.
    """

    def __init__(self) -> None:
        self.opened: list[S3Location] = []
        self.written: dict[str, bytes] = {}
        self.down = False

    def open(self, location: S3Location, *, timeout_seconds: float) -> Bucket:
        self.opened.append(location)
        return self

    async def read(self, key: str, limit_bytes: int) -> bytes:
        if self.down:
            raise StoreUnavailableError("bucket data: access denied")
        return self.written.get(key) or json.dumps({"contentType": "json", "data": ANSWER}).encode()

    async def write(self, key: str, content: bytes) -> None:
        if self.down:
            raise StoreUnavailableError("bucket data cannot be written: access denied")
        self.written[key] = content


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    bucket = Bucket()
    monkeypatch.setattr(payload_store, "open_s3_store", bucket.open)
    return bucket


def payloads(there: AdapterWorld, storage: StorageSettings, claims: Path | None = None) -> StoredPayloads:
    there.settings = replace(there.settings, storage=storage)
    return StoredPayloads(there.wired, lambda: there.settings, OPERATOR_NAMESPACE, claims)


async def fetch(store: StoredPayloads, namespace: str = "team") -> Any:
    return await store.fetch({"x": REFERENCE}, namespace=namespace, field="steps.a.output", depth=8)


async def keep_credentials(there: AdapterWorld, data: Mapping[str, Any]) -> None:
    await there.create(SECRET, "store-access", dict(data), namespace=OPERATOR_NAMESPACE)


async def test_a_change_of_the_configuration_counts_from_the_next_read(there: AdapterWorld, tmp_path: Path) -> None:
    put(tmp_path / "old", 1)
    put(tmp_path / "new", 2)
    store = payloads(there, files_at(tmp_path / "old"))

    before = await fetch(store)
    there.settings = replace(there.settings, storage=files_at(tmp_path / "new"))

    assert (before, await fetch(store)) == ({"x": 1}, {"x": 2})
    there.settings = OperatorSettings()
    with pytest.raises(NoStoreError, match=r"controller\.storage\.provider"):
        await fetch(store)


async def test_what_may_not_be_read_or_is_not_there_is_refused(there: AdapterWorld, tmp_path: Path) -> None:
    put(tmp_path, 1)
    store = payloads(there, files_at(tmp_path))

    with pytest.raises(RejectedError, match=r"steps\.a\.output\.x"):
        await fetch(store, "other")
    (tmp_path / REFERENCE["$bubuStorageRef"]).unlink()
    with pytest.raises(RejectedError, match=r"steps\.a\.output\.x"):
        await fetch(store)


async def test_on_the_machine_of_the_volumes_each_namespace_has_its_own(there: AdapterWorld, tmp_path: Path) -> None:
    put(tmp_path / "team" / "payloads", 1)
    store = payloads(there, files_at(Path("/nowhere")), tmp_path)

    assert await fetch(store) == {"x": 1}


async def test_a_bucket_is_read_with_the_secret_beside_the_operator(there: AdapterWorld, bucket: Bucket) -> None:
    await keep_credentials(there, KEYS)
    store = payloads(there, S3)

    assert [await fetch(store), await fetch(store)] == [{"x": ANSWER}, {"x": ANSWER}]
    [location] = bucket.opened
    assert (location.bucket, location.region, location.endpoint, location.path_style) == ("data", "eu-1", "", False)
    assert location.credentials == {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}


async def test_after_a_failure_the_secret_is_read_again(there: AdapterWorld, bucket: Bucket) -> None:
    store = payloads(there, S3)
    with pytest.raises(StorageUnavailableError, match=f"Secret {OPERATOR_NAMESPACE}/store-access does not exist"):
        await fetch(store)
    await keep_credentials(there, KEYS)
    bucket.down = True
    with pytest.raises(StorageUnavailableError, match="access denied"):
        await fetch(store)
    bucket.down = False

    assert await fetch(store) == {"x": ANSWER}
    assert len(bucket.opened) == 2


async def test_a_secret_that_is_no_text_is_named_and_not_shown(there: AdapterWorld, bucket: Bucket) -> None:
    await keep_credentials(there, {"AWS_ACCESS_KEY_ID": "//79"})

    with pytest.raises(StorageUnavailableError, match="has a value that is not UTF-8 text") as caught:
        await fetch(payloads(there, S3))
    assert bucket.opened == []
    assert caught.value.__cause__ is None


async def test_without_a_secret_the_operator_has_the_credentials_of_its_environment(
    there: AdapterWorld, bucket: Bucket
) -> None:
    assert await fetch(payloads(there, replace(S3, s3_auth_secret_name=""))) == {"x": ANSWER}
    assert bucket.opened[0].credentials == {}


LARGE = {"text": "x" * 5000, "rows": [{"n": number} for number in range(2000)], "n": 1}
OFFLOAD = Offload(StoredAs.INPUTS, "team", "run-step", total_bytes=1000, inline_bytes=1000, depth=8)


async def test_large_parts_are_written_where_they_are_read(there: AdapterWorld, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    store = payloads(there, files_at(tmp_path / "root"))

    left = await store.offload(LARGE, OFFLOAD, field="with")

    assert (left["n"], sorted(left["rows"])) == (1, ["$bubuStorageContentType", "$bubuStorageRef"])
    assert left == await store.offload(LARGE, OFFLOAD, field="with")
    assert await store.fetch(left, namespace="team", field="with", depth=8) == LARGE
    with pytest.raises(RejectedError, match="does not belong to namespace 'other'"):
        await store.fetch(left, namespace="other", field="with", depth=8)


async def test_an_object_that_was_changed_is_refused(there: AdapterWorld, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    store = payloads(there, files_at(tmp_path / "root"))
    left = await store.offload({"text": "x" * 5000}, OFFLOAD, field="with")
    file = tmp_path / "root" / left["text"]["$bubuStorageRef"]
    file.write_bytes(file.read_bytes().replace(b"xx", b"xy", 1))

    with pytest.raises(RejectedError, match="its SHA-256 differs from the one in the key"):
        await store.fetch(left, namespace="team", field="with", depth=8)


async def test_the_volume_of_a_claim_is_made_for_the_first_write(there: AdapterWorld, tmp_path: Path) -> None:
    store = payloads(there, files_at(Path("/nowhere")), tmp_path / "claims")

    left = await store.offload({"text": "x" * 5000}, OFFLOAD, field="with")

    assert (tmp_path / "claims" / "team" / "payloads" / left["text"]["$bubuStorageRef"]).exists()


async def test_a_store_that_refuses_a_write_is_opened_again(there: AdapterWorld, bucket: Bucket) -> None:
    await keep_credentials(there, KEYS)
    store = payloads(there, S3)
    bucket.down = True
    with pytest.raises(StorageUnavailableError, match=r"^with is too large to stay inline, and bucket data cannot"):
        await store.offload(LARGE, OFFLOAD, field="with")
    bucket.down = False

    left = await store.offload(LARGE, OFFLOAD, field="with")

    assert {left["text"]["$bubuStorageRef"], left["rows"]["$bubuStorageRef"]} == set(bucket.written)
    assert len(bucket.opened) == 2


async def test_nothing_is_stored_without_a_store_or_for_a_value_without_json_form(
    there: AdapterWorld, tmp_path: Path
) -> None:
    with pytest.raises(NoStoreError, match=r"controller\.storage\.provider"):
        await payloads(there, StorageSettings()).offload(LARGE, OFFLOAD, field="with")
    with pytest.raises(RejectedError, match="with: n: inf cannot be written as JSON"):
        await payloads(there, files_at(tmp_path)).offload({"n": float("inf")}, OFFLOAD, field="with")
