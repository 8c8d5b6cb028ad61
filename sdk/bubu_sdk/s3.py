"""The settings of a payload store in S3, or on a server that speaks its protocol.

Credentials come from ``BUBU_S3_*``, then from the ``AWS_*`` chain; access is never silently anonymous. Source: SDK
contract 6.2.
"""

from __future__ import annotations

from collections.abc import Mapping

from bubu_sdk.cloud import boolean, client_options, open_cloud_store, required
from bubu_sdk.errors import ContextError, Object
from bubu_sdk.storage import Store


def open_s3_store(environ: Mapping[str, str]) -> Store:
    """The store for the bucket in ``environ``.

    Raises:
        ContextError: a setting is missing, partial or contradictory, or ``obstore`` is not installed.
    """
    config, client, retry = s3_options(environ)
    secrets = [str(config[name]) for name in ("secret_access_key", "session_token") if name in config]
    return open_cloud_store("s3", "S3Store", config.pop("bucket"), (config, client, retry), secrets)


def s3_options(environ: Mapping[str, str]) -> tuple[Object, Object, Object]:
    """``environ`` as settings of obstore: bucket configuration, client options, retry configuration. Pure.

    Raises:
        ContextError: a setting is missing, partial or contradictory; names the variable.
    """
    bucket = required(environ, "BUBU_STORAGE_S3_BUCKET", "s3")
    region = environ.get("BUBU_STORAGE_S3_REGION") or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    endpoint = _endpoint(environ)
    path_style = boolean(environ, "BUBU_S3_FORCE_PATH_STYLE", default=bool(endpoint))
    config: Object = {
        "bucket": bucket,
        "region": region or "us-east-1",
        "virtual_hosted_style_request": not path_style,
        "checksum_algorithm": "SHA256",
        **_credentials(environ),
        **_encryption(environ),
    }
    if endpoint:
        config["endpoint"] = endpoint
    return config, *client_options(environ, "BUBU_S3", allow_http=endpoint.startswith("http://"))


def _endpoint(environ: Mapping[str, str]) -> str:
    endpoint = environ.get("BUBU_STORAGE_S3_ENDPOINT", "").strip()
    tls = boolean(environ, "BUBU_S3_TLS", default=None)
    if not endpoint:
        return ""
    if "://" not in endpoint:
        return f"{'http' if tls is False else 'https'}://{endpoint}"
    if tls is not None and endpoint.startswith("https://") != tls:
        raise ContextError(f"BUBU_STORAGE_S3_ENDPOINT {endpoint!r} contradicts BUBU_S3_TLS={environ['BUBU_S3_TLS']!r}")
    return endpoint


def _credentials(environ: Mapping[str, str]) -> Object:
    for prefix in ("BUBU_S3_", "AWS_"):
        key, secret = environ.get(f"{prefix}ACCESS_KEY_ID", ""), environ.get(f"{prefix}SECRET_ACCESS_KEY", "")
        token = environ.get(f"{prefix}SESSION_TOKEN", "")
        if not (key or secret or token):
            continue
        if not (key and secret):
            raise ContextError(f"{prefix}ACCESS_KEY_ID and {prefix}SECRET_ACCESS_KEY must be set together")
        found: Object = {"access_key_id": key, "secret_access_key": secret}
        return {**found, "session_token": token} if token else found
    return {}


def _encryption(environ: Mapping[str, str]) -> Object:
    mode = environ.get("BUBU_S3_SSE", "").strip().lower()
    if not mode:
        return {}
    if mode in ("s3", "sse-s3", "aes256"):
        return {"server_side_encryption": "AES256"}
    if mode in ("kms", "aws:kms"):
        key = environ.get("BUBU_S3_SSE_KMS_KEY", "")
        return {"server_side_encryption": "aws:kms", **({"sse_kms_key_id": key} if key else {})}
    raise ContextError(f"BUBU_S3_SSE {mode!r} must be one of 's3', 'sse-s3', 'aes256', 'kms', 'aws:kms'")
