"""What all stores in the cloud have in common."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest

from bubu_sdk import cloud
from bubu_sdk.cloud import CloudStore, open_cloud_store
from bubu_sdk.errors import ContextError, StorageError
from bubu_sdk.stores import open_store

SECRET = "a+b/c=="
ANSWER = f"error for https://host/key?sig=a%2Bb%2Fc%3D%3D&x=1 and {SECRET}"


def failing(*_: Any, **__: Any) -> Any:
    raise RuntimeError(ANSWER)


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.read("k"),
        lambda store: store.write("k", b"", "text/plain"),
        lambda store: store.upload("k", io.BytesIO(b""), 0, "text/plain"),
        lambda store: store.download("k", io.BytesIO(), 1),
    ],
)
def test_no_message_has_a_secret_in_any_form(call: Any) -> None:
    store = CloudStore(SimpleNamespace(get=failing, put=failing), object(), [SECRET])

    with pytest.raises(StorageError, match="stored object 'k' cannot be") as caught:
        call(store)

    assert "a+b" not in str(caught.value)
    assert "a%2Bb" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "environ",
    [
        {"BUBU_STORAGE_PROVIDER": "s3", "BUBU_STORAGE_S3_BUCKET": "b"},
        {"BUBU_STORAGE_PROVIDER": "gcs", "BUBU_STORAGE_GCS_BUCKET": "b"},
        {
            "BUBU_STORAGE_PROVIDER": "azure",
            "BUBU_STORAGE_AZURE_ACCOUNT": "acc",
            "BUBU_STORAGE_AZURE_CONTAINER": "con",
        },
    ],
)
def test_without_the_extra_the_error_says_what_to_install(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(cloud, "import_module", missing)
    with pytest.raises(ContextError, match=r"which needs the extra: install 'bubu-sdk\[storage\]'"):
        open_store(environ)


def test_credentials_that_obstore_refuses_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud, "import_module", lambda _: SimpleNamespace(GCSStore=failing))
    with pytest.raises(ContextError, match="its credentials cannot be used") as caught:
        open_cloud_store("gcs", "GCSStore", "b", ({}, {}, {}))
    assert SECRET not in str(caught.value)
