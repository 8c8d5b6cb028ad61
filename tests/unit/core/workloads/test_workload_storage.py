"""How a container finds the object store."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from core.workloads.storage import storage_environment, storage_secret, storage_volume_mounts, storage_volumes


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
