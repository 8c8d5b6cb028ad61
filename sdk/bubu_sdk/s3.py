"""The S3 payload store, based on ``obstore`` (extra ``bubu-sdk[storage]``), which is imported only if the provider is
``s3``.

Credentials come from ``BUBU_S3_*``, then from the ``AWS_*`` chain; access is never silently anonymous. Source: SDK
contract 6.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from importlib import import_module
from typing import IO, Any

from bubu_sdk import instant, reference
from bubu_sdk.contract import TRUE_WORDS
from bubu_sdk.errors import ContextError, Object, StorageError
from bubu_sdk.storage import MAX_OBJECT_BYTES, ObjectMissingError, Store, Writable, copy_parts

_PART_BYTES = 8 * 1024 * 1024
_PARTS_AT_ONCE = 3
_FALSE_WORDS = frozenset({"0", "false", "f", "no", "n", "off"})


class S3Store:
    """A store whose objects are in one bucket."""

    def __init__(self, obstore: Any, bucket: Any) -> None:
        self._obstore = obstore
        self._bucket = bucket

    def read(self, key: str) -> bytes:
        reference.checked_key(key)
        try:
            result = self._obstore.get(self._bucket, key)
            content = bytes(result.bytes()) if result.meta["size"] <= MAX_OBJECT_BYTES else None
        except FileNotFoundError as error:
            raise ObjectMissingError(f"stored object {key!r} not found") from error
        except Exception as error:
            raise StorageError(f"stored object {key!r} cannot be read: {error}") from error
        if content is None:
            raise StorageError(f"stored object {key!r} is larger than {MAX_OBJECT_BYTES} bytes", retryable=False)
        return content

    def write(self, key: str, content: bytes, content_type: str) -> None:
        reference.checked_key(key)
        try:
            self._obstore.put(self._bucket, key, content, attributes={"Content-Type": content_type})
        except Exception as error:
            raise StorageError(f"stored object {key!r} cannot be written: {error}") from error

    def upload(self, key: str, source: IO[bytes], size_bytes: int, content_type: str) -> None:
        reference.checked_key(key)
        try:
            self._obstore.put(
                self._bucket,
                key,
                source,
                attributes={"Content-Type": content_type},
                chunk_size=_PART_BYTES,
                max_concurrency=_PARTS_AT_ONCE,
            )
        except Exception as error:
            raise StorageError(f"stored object {key!r} cannot be written: {error}") from error

    def download(self, key: str, target: Writable, size_bytes: int) -> None:
        reference.checked_key(key)
        try:
            result = self._obstore.get(self._bucket, key)
            copy_parts(_Parts(iter(result.stream(min_chunk_size=_PART_BYTES))), target, key, size_bytes)
        except FileNotFoundError as error:
            raise ObjectMissingError(f"stored object {key!r} not found") from error
        except StorageError:
            raise
        except Exception as error:
            raise StorageError(f"stored object {key!r} cannot be read: {error}") from error


class _Parts:
    """The parts of an answer, one for each read."""

    def __init__(self, parts: Iterator[Any]) -> None:
        self._parts = parts

    def read(self, _: int, /) -> bytes:
        return bytes(next(self._parts, b""))


def open_s3_store(environ: Mapping[str, str]) -> Store:
    """The store for the bucket in ``environ``.

    Raises:
        ContextError: a setting is missing, partial or contradictory, or ``obstore`` is not installed.
    """
    config, client, retry = s3_options(environ)
    try:
        obstore, stores = import_module("obstore"), import_module("obstore.store")
    except ImportError as error:
        raise ContextError(
            "BUBU_STORAGE_PROVIDER is 's3', which needs the extra: install 'bubu-sdk[storage]'"
        ) from error
    bucket = stores.S3Store(config.pop("bucket"), config=config, client_options=client, retry_config=retry)
    return S3Store(obstore, bucket)


def s3_options(environ: Mapping[str, str]) -> tuple[Object, Object, Object]:
    """``environ`` as settings of obstore: bucket configuration, client options, retry configuration. Pure.

    Raises:
        ContextError: a setting is missing, partial or contradictory; names the variable.
    """
    bucket = environ.get("BUBU_STORAGE_S3_BUCKET", "").strip()
    if not bucket:
        raise ContextError("BUBU_STORAGE_S3_BUCKET is required when BUBU_STORAGE_PROVIDER is 's3'")
    region = environ.get("BUBU_STORAGE_S3_REGION") or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    endpoint = _endpoint(environ)
    path_style = _boolean(environ, "BUBU_S3_FORCE_PATH_STYLE", default=bool(endpoint))
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
    client: Object = {"timeout": timedelta(seconds=_seconds(environ, "BUBU_S3_TIMEOUT", 300.0))}
    if endpoint.startswith("http://"):
        client["allow_http"] = True
    backoff = {"max_backoff": timedelta(seconds=_seconds(environ, "BUBU_S3_MAX_BACKOFF", 10.0))}
    return config, client, {"max_retries": max(0, _integer(environ, "BUBU_S3_MAX_RETRIES", 3) - 1), "backoff": backoff}


def _endpoint(environ: Mapping[str, str]) -> str:
    endpoint = environ.get("BUBU_STORAGE_S3_ENDPOINT", "").strip()
    tls = _boolean(environ, "BUBU_S3_TLS", default=None)
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


def _boolean(environ: Mapping[str, str], name: str, *, default: bool | None) -> bool | None:
    if name not in environ:
        return default
    word = environ[name].strip().lower()
    if word in TRUE_WORDS:
        return True
    if word in _FALSE_WORDS:
        return False
    raise ContextError(f"{name} is {environ[name]!r}; it must be true or false")


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name, "").strip()
    try:
        return instant.parse_duration(text).total_seconds() if text else default
    except ValueError as error:
        raise ContextError(f"{name}: {error}") from error


def _integer(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip()
    try:
        return int(text) if text else default
    except ValueError as error:
        raise ContextError(f"{name} is {text!r}; it must be a whole number") from error
