"""A payload store in the cloud, based on ``obstore`` (extra ``bubu-sdk[storage]``), which is imported only if such a
store is configured.

``s3``, ``gcs`` and ``azure`` read the settings of their provider. Source: SDK contract 6.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

from bubu_contract import durations
from bubu_sdk import reference
from bubu_sdk.contract import TRUE_WORDS
from bubu_sdk.errors import ContextError, Object, StorageError
from bubu_sdk.storage import MAX_OBJECT_BYTES, ObjectMissingError, Store, Writable, copy_parts

if TYPE_CHECKING:
    from concurrent.futures import Executor

_PART_BYTES = 8 * 1024 * 1024
_FETCHED_PART_BYTES = 4 * 1024 * 1024
_PARTS_AT_ONCE = 3
_FALSE_WORDS = frozenset({"0", "false", "f", "no", "n", "off"})


class CloudStore:
    """A store whose objects are in one bucket or container."""

    def __init__(self, obstore: Any, bucket: Any, secrets: Iterable[str] = ()) -> None:
        """``secrets``: texts that no message may have."""
        self._obstore = obstore
        self._bucket = bucket
        self._secrets = tuple({form for text in secrets if text for form in _forms(text)})

    def read(self, key: str) -> bytes:
        with self._asked(key, "read"):
            result = self._obstore.get(self._bucket, key)
            if result.meta["size"] > MAX_OBJECT_BYTES:
                raise StorageError(f"stored object {key!r} is larger than {MAX_OBJECT_BYTES} bytes", retryable=False)
            return bytes(result.bytes())

    def write(self, key: str, content: bytes, content_type: str) -> None:
        with self._asked(key, "written"):
            self._obstore.put(self._bucket, key, content, attributes={"Content-Type": content_type})

    def upload(self, key: str, source: IO[bytes], size_bytes: int, content_type: str) -> None:
        with self._asked(key, "written"):
            self._obstore.put(
                self._bucket,
                key,
                source,
                attributes={"Content-Type": content_type},
                chunk_size=_PART_BYTES,
                max_concurrency=_PARTS_AT_ONCE,
            )

    def download(self, key: str, target: Writable, size_bytes: int) -> None:
        from concurrent.futures import ThreadPoolExecutor  # imported here, because most steps fetch no files

        with self._asked(key, "read"), ThreadPoolExecutor(1, "bubu-download") as ahead:
            result = self._obstore.get(self._bucket, key)
            parts = _PartsAhead(iter(result.stream(min_chunk_size=_FETCHED_PART_BYTES)), ahead)
            copy_parts(parts, target, key, size_bytes)

    @contextmanager
    def _asked(self, key: str, what: str) -> Iterator[None]:
        """Errors of obstore as errors of ``Store``. They are not chained: their texts may have the address, which for
        Azure may have a signature.
        """
        reference.checked_key(key)
        try:
            yield
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever obstore raises becomes an error of the step
            if what == "read" and isinstance(error, FileNotFoundError):
                raise ObjectMissingError(f"stored object {key!r} not found") from None
            text = str(error)
            for secret in self._secrets:
                text = text.replace(secret, "[REDACTED]")
            raise StorageError(f"stored object {key!r} cannot be {what}: {text}") from None


class _PartsAhead:
    """The parts of an answer, one for each read; the next one arrives while the caller hashes and writes the last."""

    def __init__(self, parts: Iterator[Any], ahead: Executor) -> None:
        self._parts = parts
        self._ahead = ahead
        self._next = ahead.submit(next, parts, b"")

    def read(self, _: int, /) -> bytes:
        part = bytes(self._next.result())
        if part:
            self._next = self._ahead.submit(next, self._parts, b"")
        return part


def open_cloud_store(
    provider: str, store: str, bucket: str, options: tuple[Object, Object, Object], secrets: Iterable[str] = ()
) -> Store:
    """The store of a class of obstore.

    Args:
        store: name of the class.
        options: settings of the bucket, of the client, and of its retries.
    Raises:
        ContextError: ``obstore`` is not installed, or cannot use the credentials.
    """
    try:
        obstore, stores = import_module("obstore"), import_module("obstore.store")
    except ImportError as error:
        raise ContextError(
            f"BUBU_STORAGE_PROVIDER is {provider!r}, which needs the extra: install 'bubu-sdk[storage]'"
        ) from error
    config, client, retry = options
    try:
        opened = getattr(stores, store)(bucket, config=config, client_options=client, retry_config=retry)
    except Exception:  # noqa: BLE001 - its text may have the credentials
        raise ContextError(
            f"BUBU_STORAGE_PROVIDER is {provider!r}, and its credentials cannot be used; check them"
        ) from None
    return CloudStore(obstore, opened, secrets)


def client_options(environ: Mapping[str, str], prefix: str, *, allow_http: bool) -> tuple[Object, Object]:
    """Options of the client and of its retries, from the variables ``<prefix>_TIMEOUT``, ``…_MAX_BACKOFF`` and
    ``…_MAX_RETRIES``.

    Raises:
        ContextError: a value is not of its kind; names the variable.
    """
    client: Object = {"timeout": timedelta(seconds=_seconds(environ, f"{prefix}_TIMEOUT", 300.0))}
    if allow_http:
        client["allow_http"] = True
    backoff = {"max_backoff": timedelta(seconds=_seconds(environ, f"{prefix}_MAX_BACKOFF", 10.0))}
    return client, {"max_retries": max(0, _integer(environ, f"{prefix}_MAX_RETRIES", 3) - 1), "backoff": backoff}


def required(environ: Mapping[str, str], name: str, provider: str) -> str:
    """
    Raises:
        ContextError: the variable is missing or blank.
    """
    value = environ.get(name, "").strip()
    if not value:
        raise ContextError(f"{name} is required when BUBU_STORAGE_PROVIDER is {provider!r}")
    return value


def endpoint_of(
    environ: Mapping[str, str],
    name: str,
    *,
    schemes: tuple[str, ...],
    own_hosts: tuple[str, ...],
    has_credentials: bool,
) -> str:
    """The endpoint in the variable ``name``; empty if there is none.

    Anyone who gets a token can use it until it expires. So one of the container's own identity only goes to hosts of
    the provider.

    Raises:
        ContextError: it is no URL of one of the ``schemes``, or not of the provider although there are no credentials
            for it.
    """
    endpoint = environ.get(name, "").strip().rstrip("/")
    if not endpoint:
        return ""
    try:
        parts = urlsplit(endpoint)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = None, None
    fits = parts is not None and parts.scheme in schemes and parts.username is None
    if parts is None or not host or not fits or parts.query or parts.fragment:
        wanted = " or ".join(f"'{scheme}://'" for scheme in schemes)
        raise ContextError(f"{name} must be a URL that starts with {wanted}, without user name and query")
    if not has_credentials and not host.endswith(own_hosts):
        raise ContextError(
            f"{name} is {endpoint!r}, which is not a host of the provider, so it does not get a token of this "
            "container; set credentials for it"
        )
    return endpoint


def boolean(environ: Mapping[str, str], name: str, *, default: bool | None) -> bool | None:
    """
    Raises:
        ContextError: the value is neither a word for true nor one for false.
    """
    if name not in environ:
        return default
    word = environ[name].strip().lower()
    if word in TRUE_WORDS:
        return True
    if word in _FALSE_WORDS:
        return False
    raise ContextError(f"{name} is {environ[name]!r}; it must be true or false")


def _forms(secret: str) -> tuple[str, ...]:
    """A secret as it may stand in a text: as it is, or inside an address."""
    return (secret, unquote(secret), quote(secret), quote(secret, safe=""), quote_plus(secret))


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name, "").strip()
    try:
        return durations.parse_duration(text).total_seconds() if text else default
    except ValueError as error:
        raise ContextError(f"{name}: {error}") from error


def _integer(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip()
    try:
        return int(text) if text else default
    except ValueError as error:
        raise ContextError(f"{name} is {text!r}; it must be a whole number") from error
