"""The settings and credentials of a bucket in Google Cloud Storage; its requests are tested in ``tests/e2e``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import obstore.store
import pytest

from core.payloads.errors import StoreUnavailableError
from core.payloads.gcs_store import GcsLocation, gcs_store

KEY = {"private_key": "-----BEGIN hunter2", "private_key_id": "id", "client_email": "operator@project.iam"}
SECRET = {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps({**KEY, "type": "service_account"})}
LOCATION = GcsLocation("payloads", "https://gcs.storage:4443", SECRET)


def test_a_location_shows_no_credentials() -> None:
    assert "hunter2" not in repr(LOCATION)


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        (GcsLocation(""), "it has no bucket; name one"),
        (GcsLocation("gs://payloads"), "must be the name of a bucket"),
        (
            replace(LOCATION, endpoint="http://gcs.storage:4443"),
            "its endpoint must be a URL that starts with 'https://'",
        ),
        (replace(LOCATION, endpoint="https://id:hunter2@gcs"), "its endpoint must be a URL"),
        (replace(LOCATION, credentials={}), "is not a host of Google .* name a Secret with credentials for it"),
        (GcsLocation("payloads", "https://evilgoogleapis.com"), "is not a host of Google"),
    ],
)
def test_a_location_that_cannot_be_used_says_why(location: GcsLocation, problem: str) -> None:
    with pytest.raises(StoreUnavailableError, match=problem) as caught:
        gcs_store(location, 1)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "credentials",
    [
        {"GOOGLE_SERVICE_ACCOUNT_KEY": "hunter2"},
        {"GOOGLE_SERVICE_ACCOUNT_KEY": '["hunter2"]'},
        {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps({**KEY, "private_key": ""})},
        {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps({"type": "authorized_user", "client_secret": "hunter2"})},
        {"other": "hunter2"},
    ],
)
def test_a_secret_without_the_key_of_a_service_account_is_refused_unseen(credentials: Mapping[str, str]) -> None:
    with pytest.raises(StoreUnavailableError, match="must be the JSON key of a service account") as caught:
        gcs_store(replace(LOCATION, credentials=credentials), 1)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["GOOGLE_BEARER_TOKEN", "GOOGLE_SERVICE_ACCOUNT", "SERVICE_ACCOUNT"])
def test_credentials_of_the_environment_never_replace_those_of_the_secret(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "hunter2")

    with pytest.raises(StoreUnavailableError, match=f"the environment sets {name}") as caught:
        gcs_store(LOCATION, 1)
    assert "hunter2" not in str(caught.value)
    assert gcs_store(GcsLocation("payloads"), 1)


@pytest.mark.parametrize(
    ("location", "base_url", "key"),
    [
        (LOCATION, "https://gcs.storage:4443", KEY),
        (GcsLocation("payloads"), "https://storage.googleapis.com", None),
        (GcsLocation("payloads", "https://storage-x.p.googleapis.com/"), "https://storage-x.p.googleapis.com", None),
    ],
)
async def test_obstore_gets_what_signs_and_where_to_send_it_and_nothing_else_of_the_key(
    location: GcsLocation, base_url: str, key: dict[str, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, Any]] = []

    def store(bucket: str, **options: Any) -> None:
        given.append({"bucket": bucket, **options})
        raise ValueError("no requests in this test")

    monkeypatch.setattr(obstore.store, "GCSStore", store)
    whole = json.dumps({**KEY, "gcs_base_url": "https://evil.example", "disable_oauth": True})
    credentials = {"GOOGLE_SERVICE_ACCOUNT_KEY": whole} if key else {}

    with pytest.raises(StoreUnavailableError):
        await gcs_store(replace(location, credentials=credentials), 10).read("outputs/team/a.json", 1)

    [options] = given
    found = dict(options["config"])
    signing = found.pop("service_account_key", None)
    assert (json.loads(signing) if signing else None) == key
    assert found == {"base_url": base_url, "skip_signature": False}
    assert (options["bucket"], options["client_options"]["allow_http"]) == ("payloads", False)


async def test_a_key_that_cannot_sign_is_refused_at_the_first_request() -> None:
    with pytest.raises(
        StoreUnavailableError, match="its credentials do not have the form that Google issues"
    ) as caught:
        await gcs_store(LOCATION, 10).read("outputs/team/a.json", 1)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
