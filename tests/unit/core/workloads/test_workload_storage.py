"""How a container finds the object store."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from core.workloads.pod import pod_template
from core.workloads.storage import (
    identity_labels,
    storage_environment,
    storage_secret,
    storage_volume_mounts,
    storage_volumes,
    with_storage_secret,
)
from tests.unit.core.workloads.workload_samples import workload


def literal(name: str, value: str) -> Object:
    return {"name": name, "value": value}


def secret(name: str, **more: Any) -> Object:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": "keys", "key": name, **more}}}


FULL_S3 = {
    "s3": {
        "bucket": "data",
        "region": "eu",
        "endpoint": "http://s3:8333",
        "usePathStyle": True,
        "authentication": {"secretRef": {"name": "keys"}},
    },
    "timeoutSeconds": 60,
}


def test_a_bucket_is_described_completely_and_in_order() -> None:
    assert storage_environment(FULL_S3) == [
        literal("BUBU_STORAGE_PROVIDER", "s3"),
        literal("BUBU_STORAGE_S3_BUCKET", "data"),
        literal("BUBU_STORAGE_S3_REGION", "eu"),
        literal("BUBU_STORAGE_S3_ENDPOINT", "http://s3:8333"),
        secret("AWS_ACCESS_KEY_ID"),
        secret("AWS_SECRET_ACCESS_KEY"),
        secret("AWS_SESSION_TOKEN", optional=True),
        literal("BUBU_S3_FORCE_PATH_STYLE", "true"),
        literal("BUBU_STORAGE_TIMEOUT", "60s"),
    ]
    assert storage_secret(FULL_S3) == "keys"
    assert storage_volumes(FULL_S3) == []
    assert storage_volume_mounts(FULL_S3) == []


def test_a_bucket_of_google_is_described_with_the_key_of_a_service_account() -> None:
    authentication = {"secretRef": {"name": "keys"}}
    storage = {"gcs": {"bucket": "data", "endpoint": "https://gcs", "authentication": authentication}}
    assert storage_environment({**storage, "timeoutSeconds": 60}) == [
        literal("BUBU_STORAGE_PROVIDER", "gcs"),
        literal("BUBU_STORAGE_GCS_BUCKET", "data"),
        literal("BUBU_STORAGE_GCS_ENDPOINT", "https://gcs"),
        secret("GOOGLE_SERVICE_ACCOUNT_KEY"),
        literal("BUBU_STORAGE_TIMEOUT", "60s"),
    ]
    assert storage_secret(storage) == "keys"
    assert identity_labels(storage) == {}
    assert storage_environment({"gcs": {"bucket": "data"}}) == [
        literal("BUBU_STORAGE_PROVIDER", "gcs"),
        literal("BUBU_STORAGE_GCS_BUCKET", "data"),
    ]


def test_a_container_of_azure_is_described_with_any_of_its_credentials() -> None:
    azure = {"account": "acc", "container": "con", "endpoint": "https://acc.blob.core.usgovcloudapi.net"}
    described = [
        literal("BUBU_STORAGE_PROVIDER", "azure"),
        literal("BUBU_STORAGE_AZURE_ACCOUNT", "acc"),
        literal("BUBU_STORAGE_AZURE_CONTAINER", "con"),
        literal("BUBU_STORAGE_AZURE_ENDPOINT", "https://acc.blob.core.usgovcloudapi.net"),
    ]
    with_secret = {"azure": {**azure, "authentication": {"secretRef": {"name": "keys"}}}}
    assert storage_environment(with_secret) == [
        *described,
        secret("AZURE_STORAGE_ACCOUNT_KEY", optional=True),
        secret("AZURE_STORAGE_SAS_TOKEN", optional=True),
        secret("AZURE_CLIENT_ID", optional=True),
        secret("AZURE_CLIENT_SECRET", optional=True),
        secret("AZURE_TENANT_ID", optional=True),
        secret("AZURE_AUTHORITY_HOST", optional=True),
    ]
    assert storage_environment({"azure": azure}) == described


def test_only_pods_without_a_secret_ask_azure_for_their_identity() -> None:
    azure = {"account": "acc", "container": "con"}
    label = {"azure.workload.identity/use": "true"}
    assert identity_labels({"azure": azure}) == label
    assert identity_labels({"azure": {**azure, "authentication": {"secretRef": {"name": "keys"}}}}) == {}
    assert identity_labels({"s3": {"bucket": "b"}}) == identity_labels(None) == {}
    pod = pod_template(workload(policy={"storage": {"azure": azure}}))
    assert label.items() <= pod["metadata"]["labels"].items()
    assert not label.items() & pod_template(workload())["metadata"]["labels"].items()


def test_another_secret_replaces_that_of_the_store_and_nothing_else() -> None:
    storage = {"gcs": {"bucket": "b", "authentication": {"secretRef": {"name": "keys"}}}, "timeoutSeconds": 5}
    changed = with_storage_secret(storage, "copy")
    assert changed == {"gcs": {"bucket": "b", "authentication": {"secretRef": {"name": "copy"}}}, "timeoutSeconds": 5}
    assert storage_secret(changed) == "copy"


def test_what_a_bucket_leaves_open_is_left_out() -> None:
    storage = {"s3": {"bucket": "data", "region": "", "usePathStyle": False, "authentication": {}}}
    assert storage_environment(storage) == [
        literal("BUBU_STORAGE_PROVIDER", "s3"),
        literal("BUBU_STORAGE_S3_BUCKET", "data"),
    ]
    assert storage_secret(storage) == ""


@pytest.mark.parametrize(
    ("file", "path", "volume"),
    [
        pytest.param(
            {"volumeClaimName": "claim", "path": "/data", "emptyDir": {"medium": "Memory"}},
            "/data",
            {"persistentVolumeClaim": {"claimName": "claim"}},
            id="claim",
        ),
        pytest.param(
            {"emptyDir": {"medium": "Memory"}}, "/var/run/bubu/storage", {"emptyDir": {"medium": "Memory"}}, id="memory"
        ),
        pytest.param({"path": "/scratch"}, "/scratch", {"emptyDir": {}}, id="scratch"),
    ],
)
def test_a_volume_is_mounted_where_the_container_looks(file: Object, path: str, volume: Object) -> None:
    storage = {"file": file, "timeoutSeconds": 0}
    assert storage_environment(storage) == [
        literal("BUBU_STORAGE_PROVIDER", "file"),
        literal("BUBU_STORAGE_PATH", path),
    ]
    assert storage_volumes(storage) == [{"name": "bubu-storage", **volume}]
    assert storage_volume_mounts(storage) == [{"name": "bubu-storage", "mountPath": path}]


def test_without_storage_there_is_nothing() -> None:
    assert storage_environment(None) == []
    assert storage_volumes(None) == []
    assert storage_volume_mounts(None) == []
    assert storage_secret(None) == ""
