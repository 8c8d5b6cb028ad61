"""References become values, within limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bubu_sdk import hydrate
from bubu_sdk.errors import ContextError, InputError, StorageError
from bubu_sdk.hydrate import Hydrator
from bubu_sdk.reference import KubeReference
from bubu_sdk.storage import FileStore, ObjectMissingError
from bubu_sdk.stores import open_store
from bubu_sdk.testing import InMemoryStore


def stored(**objects: Any) -> InMemoryStore:
    store = InMemoryStore()
    for key, data in objects.items():
        store.objects[f"outputs/ns/{key}"] = json.dumps(
            {"contentType": "raw" if isinstance(data, str) else "json", "data": data}
        ).encode()
    return store


def hydrated(value: Any, store: InMemoryStore | None, *, max_depth: int = 10) -> Any:
    def read_kube(target: KubeReference, path: str) -> str:
        return json.dumps({"kind": target.kind, "name": target.name, "path": path})

    return Hydrator(store, read_kube, namespace="ns", max_depth=max_depth).hydrate(value, "inputs")


def test_a_reference_is_followed_through_further_references() -> None:
    store = stored(outer={"inner": {"$bubuStorageRef": "outputs/ns/inner"}, "n": 1}, inner="text")

    assert hydrated({"a": {"$bubuStorageRef": "outputs/ns/outer"}}, store) == {"a": {"inner": "text", "n": 1}}


def test_a_sub_path_selects_inside_the_stored_object() -> None:
    store = stored(o={"items": [{"id": 1}, {"id": 2}]})

    assert hydrated({"$bubuStorageRef": "outputs/ns/o", "$bubuStoragePath": "items[*].id"}, store) == [1, 2]


def test_config_map_and_secret_references_are_read_with_their_path() -> None:
    value = hydrated({"a": [{"$bubuSecretRef": "db:password"}]}, None)

    assert value == {"a": [{"kind": "Secret", "name": "db", "path": "inputs.a[0]"}]}


def test_a_reference_without_storage_is_an_error_that_names_path_and_key() -> None:
    with pytest.raises(StorageError, match=r"inputs\.a: refers to the stored object 'outputs/ns/k'"):
        hydrated({"a": {"$bubuStorageRef": "outputs/ns/k"}}, None)


def test_a_cycle_of_references_ends_at_the_depth_limit() -> None:
    with pytest.raises(InputError, match="nested deeper than 10"):
        hydrated({"$bubuStorageRef": "outputs/ns/a"}, stored(a={"again": {"$bubuStorageRef": "outputs/ns/a"}}))


def test_a_missing_object_is_not_worth_a_retry() -> None:
    with pytest.raises(ObjectMissingError, match="not found") as caught:
        hydrated({"$bubuStorageRef": "outputs/ns/gone"}, InMemoryStore())

    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not JSON"),
        (b"[]", "content type None"),
        (b'{"contentType":"yaml","data":1}', "content type 'yaml'"),
        (b'{"contentType":"raw","data":1}', "is raw, but its data is not a string"),
    ],
)
def test_an_object_that_is_not_wrapped_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(StorageError, match=message):
        hydrate.unwrap(content, "k")


def test_stored_objects_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hydrate, "MAX_TOTAL_BYTES", 100)

    with pytest.raises(StorageError, match="more than 100 bytes"):
        hydrated([{"$bubuStorageRef": "outputs/ns/a"}] * 2, stored(a="x" * 60))


def test_a_configuration_tree_is_bounded() -> None:
    with pytest.raises(InputError, match="nested deeper than 2"):
        hydrate.check_config_size({"a": {"b": {"c": {}}}}, max_depth=2)
    with pytest.raises(InputError, match="more than 3 nodes"):
        hydrate.check_config_size({"a": [1, 2, 3]}, max_nodes=3)


def test_the_file_store_reads_what_another_container_wrote(tmp_path: Path) -> None:
    FileStore(tmp_path).write("outputs/ns/sr/a.json", b"one", "application/json")
    FileStore(tmp_path).write("outputs/ns/sr/a.json", b"two", "application/json")

    assert FileStore(tmp_path).read("outputs/ns/sr/a.json") == b"two"
    assert oct((tmp_path / "outputs").stat().st_mode & 0o777) == "0o750"


def test_the_file_store_names_the_key_it_could_not_write(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file where a folder should be")

    with pytest.raises(StorageError, match="'outputs/x' cannot be written") as caught:
        FileStore(tmp_path).write("outputs/x", b"", "")

    assert caught.value.retryable


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"BUBU_STORAGE_PROVIDER": "gs"}, "must be one of 's3', 'gcs', 'azure', 'file', 'none'"),
        ({"BUBU_STORAGE_PROVIDER": "gcs"}, "BUBU_STORAGE_GCS_BUCKET is required when BUBU_STORAGE_PROVIDER is 'gcs'"),
        ({"BUBU_STORAGE_PROVIDER": "azure"}, "BUBU_STORAGE_AZURE_ACCOUNT is required when"),
        ({"BUBU_STORAGE_PROVIDER": "file"}, "BUBU_STORAGE_PATH is required"),
        ({"BUBU_STORAGE_PROVIDER": "s3"}, "BUBU_STORAGE_S3_BUCKET is required"),
    ],
)
def test_a_wrong_storage_setting_names_its_variable(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ContextError, match=message):
        open_store(environ)


@pytest.mark.parametrize("provider", ["", "none"])
def test_storage_may_be_disabled(provider: str) -> None:
    assert open_store({"BUBU_STORAGE_PROVIDER": provider}) is None


# Namespaces.


@pytest.mark.parametrize(
    "key",
    [
        "outputs/other/sr/output.json",
        "inputs/other/run/input.json",
        "other/logs/run/step/sr/1.log",
        "outputs/ns",
        "secret",
        "outputs/nsx/sr/output.json",
        "outputs/NS/sr/output.json",
        "outputs//ns/output.json",
        "outputs/./ns/output.json",
        "./outputs/ns/../other/output.json",
        "outputs/ns/../../other/output.json",
        "outputs/ns/%2e%2E/other/output.json",
        "outputs/ns/.%2e/other/output.json",
        "outputs%2Fns/other/output.json",
        "outputs\\ns\\..\\other",
        "/outputs/ns/output.json",
        "s3://bucket/ns/output.json",
        "file:///ns/output.json",
        "outputs/ns/\0",
        "outputs/_shared/../other/output.json",
        "",
    ],
)
def test_only_objects_of_the_own_namespace_are_read(key: str) -> None:
    store = InMemoryStore()
    store.objects[key] = json.dumps({"contentType": "json", "data": "theirs"}).encode()

    with pytest.raises((InputError, StorageError)) as raised:
        hydrated({"a": [{"$bubuStorageRef": key}]}, store)

    assert "theirs" not in str(raised.value)
    assert "no object" not in str(raised.value)


def test_the_error_for_an_object_of_another_namespace_names_field_key_and_remedy() -> None:
    with pytest.raises(InputError) as raised:
        hydrated({"a": [{"$bubuStorageRef": "outputs/other/sr/output.json"}]}, InMemoryStore())

    assert str(raised.value).startswith(
        "inputs.a[0]: the stored object 'outputs/other/sr/output.json' does not belong to"
    )
    assert "namespace 'ns'; refer to an object of this namespace ('outputs/ns/…'" in str(raised.value)


def test_a_stored_object_of_the_own_namespace_leads_to_no_other_namespace() -> None:
    store = stored(mine={"deep": {"$bubuStorageRef": "outputs/other/sr/output.json"}})

    with pytest.raises(InputError, match=r"inputs\.a\.deep: the stored object 'outputs/other"):
        hydrated({"a": {"$bubuStorageRef": "outputs/ns/mine"}}, store)


def test_a_reference_with_the_fields_of_a_store_is_no_reference() -> None:
    value = {"$bubuStorageRef": "outputs/other/sr/output.json", "bucket": "theirs", "provider": "s3"}

    assert hydrated(value, InMemoryStore()) == value


@pytest.mark.parametrize(
    "key",
    [
        "outputs/ns/sr/output.json",
        "inputs/ns/0f3a/items.0.body.json",
        "results/ns/sr/a%2Fb.sha256.json",
        "cache/ns/engram/x.json",
        "outputs/_shared/prompts.json",
    ],
)
def test_keys_of_all_writers_of_the_own_namespace_and_shared_ones_are_read(key: str) -> None:
    store = InMemoryStore()
    store.objects[key] = json.dumps({"contentType": "json", "data": "ours"}).encode()

    assert hydrated({"$bubuStorageRef": key}, store) == "ours"
