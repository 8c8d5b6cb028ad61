"""The settings of the store in Google Cloud Storage."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from bubu_sdk import gcs
from bubu_sdk.errors import ContextError

BUCKET = {"BUBU_STORAGE_GCS_BUCKET": "b"}
SIGNING = {"private_key": "-----BEGIN hunter2", "private_key_id": "id", "client_email": "run@project.iam"}
KEY = {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(SIGNING)}


def test_without_a_key_obstore_looks_for_credentials_itself_and_never_goes_without() -> None:
    config, client, retry = gcs.gcs_options(BUCKET)

    assert config == {"bucket": "b", "base_url": "https://storage.googleapis.com", "skip_signature": False}
    assert client == {"timeout": timedelta(minutes=5)}
    assert retry == {"max_retries": 2, "backoff": {"max_backoff": timedelta(seconds=10)}}


def test_of_the_key_only_what_signs_is_used() -> None:
    whole = SIGNING | {"type": "service_account", "gcs_base_url": "https://evil.example", "disable_oauth": True}
    environ = BUCKET | {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(whole)}

    config, _, _ = gcs.gcs_options(environ | {"BUBU_STORAGE_GCS_ENDPOINT": "https://gcs:4443/"})

    assert json.loads(config["service_account_key"]) == SIGNING
    assert config["base_url"] == "https://gcs:4443"


def test_limits_of_requests_have_variables_of_their_own() -> None:
    limits = {
        "BUBU_GCS_TIMEOUT": "7s",
        "BUBU_GCS_MAX_RETRIES": "1",
        "BUBU_GCS_MAX_BACKOFF": "2s",
        "BUBU_S3_TIMEOUT": "1s",
    }

    _, client, retry = gcs.gcs_options(BUCKET | limits)

    assert client == {"timeout": timedelta(seconds=7)}
    assert retry == {"max_retries": 0, "backoff": {"max_backoff": timedelta(seconds=2)}}


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"BUBU_STORAGE_GCS_BUCKET": " "}, "BUBU_STORAGE_GCS_BUCKET is required when BUBU_STORAGE_PROVIDER is 'gcs'"),
        ({"GOOGLE_SERVICE_ACCOUNT_KEY": "hunter2"}, "must be the JSON key of a service account"),
        ({"GOOGLE_SERVICE_ACCOUNT_KEY": '{"type": "authorized_user"}'}, "must be the JSON key of a service account"),
        (KEY | {"GOOGLE_SERVICE_ACCOUNT": "/key.json"}, "GOOGLE_SERVICE_ACCOUNT would replace the credentials in"),
        (KEY | {"BUBU_STORAGE_GCS_ENDPOINT": "http://gcs:4443"}, "must be a URL that starts with 'https://'"),
        (KEY | {"BUBU_STORAGE_GCS_ENDPOINT": "https://gcs/#a"}, "must be a URL that starts with 'https://'"),
        (KEY | {"BUBU_STORAGE_GCS_ENDPOINT": "https://["}, "must be a URL that starts with 'https://'"),
        (KEY | {"BUBU_STORAGE_GCS_ENDPOINT": "https://id:hunter2@gcs"}, "must be a URL that starts with 'https://'"),
        (KEY | {"BUBU_STORAGE_GCS_ENDPOINT": "gcs:4443"}, "must be a URL that starts with 'https://'"),
        ({"BUBU_STORAGE_GCS_ENDPOINT": "https://gcs:4443"}, "does not get a token of this container"),
        ({"BUBU_STORAGE_GCS_ENDPOINT": "https://evilgoogleapis.com"}, "does not get a token of this container"),
        ({"BUBU_GCS_MAX_RETRIES": "few"}, "BUBU_GCS_MAX_RETRIES"),
    ],
)
def test_a_wrong_setting_names_its_variable(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ContextError, match=message) as caught:
        gcs.gcs_options(BUCKET | environ)
    assert "hunter2" not in str(caught.value)


def test_a_private_endpoint_of_google_gets_the_identity_of_the_container() -> None:
    config, _, _ = gcs.gcs_options(BUCKET | {"BUBU_STORAGE_GCS_ENDPOINT": "https://storage-x.p.googleapis.com"})

    assert config["base_url"] == "https://storage-x.p.googleapis.com"


def test_a_key_that_cannot_sign_is_refused_without_showing_it() -> None:
    pytest.importorskip("obstore", reason="needs the extra bubu-sdk[storage]")
    with pytest.raises(ContextError, match="its credentials cannot be used") as caught:
        gcs.open_gcs_store(BUCKET | KEY)
    assert "hunter2" not in str(caught.value)
