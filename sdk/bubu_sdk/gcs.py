"""The settings of a payload store in Google Cloud Storage.

The credentials are the key of a service account in ``GOOGLE_SERVICE_ACCOUNT_KEY``, else what obstore finds:
``GOOGLE_SERVICE_ACCOUNT`` or ``GOOGLE_APPLICATION_CREDENTIALS``, the file of ``gcloud auth application-default login``,
and at last the metadata service, which knows the identity of the Pod. Access is never anonymous.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from bubu_sdk.cloud import client_options, endpoint_of, open_cloud_store, required
from bubu_sdk.errors import ContextError, Object
from bubu_sdk.storage import Store

_KEY = "GOOGLE_SERVICE_ACCOUNT_KEY"
_FIELDS = ("private_key", "private_key_id", "client_email")
"""The rest is not used: ``gcs_base_url`` would send the token elsewhere, ``disable_oauth`` would send none."""
_OTHER_CREDENTIALS = (
    "GOOGLE_BEARER_TOKEN",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "SERVICE_ACCOUNT",
)
_HOSTS = (".googleapis.com",)


def open_gcs_store(environ: Mapping[str, str]) -> Store:
    """The store for the bucket in ``environ``.

    Raises:
        ContextError: a setting is missing or wrong, or ``obstore`` is not installed.
    """
    config, client, retry = gcs_options(environ)
    bucket, key = config.pop("bucket"), config.get("service_account_key")
    secrets = [json.loads(key)["private_key"]] if key else []
    return open_cloud_store("gcs", "GCSStore", bucket, (config, client, retry), secrets)


def gcs_options(environ: Mapping[str, str]) -> tuple[Object, Object, Object]:
    """``environ`` as settings of obstore: bucket configuration, client options, retry configuration. Pure.

    Raises:
        ContextError: a setting is missing or wrong; names the variable.
    """
    bucket = required(environ, "BUBU_STORAGE_GCS_BUCKET", "gcs")
    key = environ.get(_KEY, "").strip()
    endpoint = endpoint_of(
        environ, "BUBU_STORAGE_GCS_ENDPOINT", schemes=("https",), own_hosts=_HOSTS, has_credentials=bool(key)
    )
    # Whatever is not given here, obstore takes from the process's environment.
    config: Object = {
        "bucket": bucket,
        "base_url": endpoint or "https://storage.googleapis.com",
        "skip_signature": False,
    }
    if key:
        if others := [name for name in _OTHER_CREDENTIALS if environ.get(name)]:
            raise ContextError(f"{', '.join(others)} would replace the credentials in {_KEY}; unset one of them")
        config["service_account_key"] = _signing_part(key)
    return config, *client_options(environ, "BUBU_GCS", allow_http=False)


def _signing_part(key: str) -> str:
    try:
        found = json.loads(key)
        part = {name: found[name] for name in _FIELDS}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ContextError(f"{_KEY} must be the JSON key of a service account, with {', '.join(_FIELDS)}") from None
    return json.dumps(part)
