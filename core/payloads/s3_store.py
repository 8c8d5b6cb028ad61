"""Objects in a bucket, by ``obstore``, which is imported at the first request.

obstore's errors quote the answer of the server, which may contain anything: only the status and the S3 error code are
taken from them. Source: SDK contract 6.2, 7.1.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from core.payloads import key as keys
from core.payloads import threads
from core.payloads.errors import PayloadError, StoreUnavailableError, object_missing, object_too_large, shown
from core.payloads.stored_object import PAGE_OBJECTS, StoredObject

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Credential
    from obstore.store import S3Store as Bucket

_RETRIES: Final = 2
"""Retries of one request; the caller retries later anyway."""
_PART_BYTES: Final = 1024 * 1024

_MISSING_OBJECT: Final = ("NoSuchKey", "")
_REFUSED_KEY: Final = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")
"""Codes that some servers give with another status than 403."""
_TO_READ: Final = "get objects and list the bucket"
_TO_WRITE: Final = "put objects"
_TO_LIST: Final = "list the bucket"
_TO_DELETE: Final = "delete objects"
_DELETED_AT_ONCE: Final = 100
"""Objects of one deletion within the deadline."""

_STATUS: Final = re.compile(r"non-2xx status code: (\d{3})")
_S3_CODE: Final = re.compile(r"<Code>\s*(\w{1,64})\s*</Code>", re.ASCII)
_NO_CREDENTIALS: Final = "/latest/api/token"
"""In an error from the instance metadata service, the last part of the AWS chain."""
_CAUSES: Final = (
    ("kind: Timeout", "no answer in time"),
    ("ConnectionRefused", "the connection is refused"),
    ("dns error", "the name of the host is not known"),
    ("InvalidCertificate", "the certificate of the server is not trusted"),
    ("kind: Connect", "no connection can be made"),
    ("empty path segment", "it has an object whose key has an empty segment ('//'); delete that object"),
)
"""A part of obstore's text → the cause."""


@dataclass(frozen=True, slots=True)
class S3Location:
    """A bucket and its address.

    Attributes:
        region: empty: the region in the process's environment, otherwise ``us-east-1``.
        endpoint: URL of the service; ``https`` when it has no scheme. Empty: AWS.
        path_style: the bucket is in the path, not in the host name; always so with an endpoint, as in the SDK.
        credentials: with the keys of the Secret: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, perhaps AWS_SESSION_TOKEN.
            Empty: the result of the process's AWS chain. Those are the operator's own permissions, so never leave it
            empty for a bucket that a user has chosen.
    """

    bucket: str
    region: str = ""
    endpoint: str = ""
    path_style: bool = False
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)


class S3Store:
    """The objects of one bucket."""

    def __init__(self, location: S3Location, timeout_seconds: float) -> None:
        """
        Raises:
            StoreUnavailableError: the location cannot be used.
        """
        self._location = location
        self._timeout_seconds = timeout_seconds
        self._endpoint = _url(location.endpoint)
        self._name = _name(location.bucket, self._endpoint)
        self._credential = _credential(self._name, location.credentials)

    async def read(self, key: str, limit_bytes: int) -> bytes:
        """See ``Store.read``."""
        keys.segments(key)
        return await threads.answer_in_time(self._name, self._timeout_seconds, self._read, key, limit_bytes)

    def _read(self, key: str, limit_bytes: int) -> bytes:
        return b"".join(self._parts(key, limit_bytes))

    def _parts(self, key: str, limit_bytes: int) -> Iterator[bytes]:
        """The content of the object, in parts; errors as of ``read``."""
        import obstore
        from obstore.exceptions import BaseError

        try:
            answer = obstore.get(self._bucket, key)
            if answer.meta["size"] > limit_bytes:
                raise object_too_large(key, limit_bytes)
            received = 0
            for part in answer.stream(min_chunk_size=_PART_BYTES):
                received += len(part)
                if received > limit_bytes:
                    raise object_too_large(key, limit_bytes)
                yield bytes(part)
        # No error is chained: their texts quote the server.
        except FileNotFoundError as error:
            if _s3_code(error) in _MISSING_OBJECT:
                raise object_missing(key) from None
            raise self._unavailable(_cause(error, _TO_READ)) from None
        except ValueError:
            raise PayloadError(f"invalid storage reference {shown(key)}: S3 has no such keys") from None
        except (BaseError, OSError) as error:
            raise self._unavailable(_cause(error, _TO_READ)) from None

    async def write(self, key: str, content: bytes) -> None:
        """See ``Store.write``. The server checks the SHA-256 that is sent with the content."""
        keys.segments(key)
        await threads.answer_in_time(self._name, self._timeout_seconds, self._write, key, content)

    def _write(self, key: str, content: bytes) -> None:
        import obstore
        from obstore.exceptions import BaseError

        try:
            obstore.put(self._bucket, key, content, attributes={"Content-Type": "application/json"})
        except ValueError:
            raise PayloadError(f"invalid storage reference {shown(key)}: S3 has no such keys") from None
        except (BaseError, OSError) as error:
            raise self._unavailable(_cause(error, _TO_WRITE), "written") from None

    async def download(self, key: str, target: Path, limit_bytes: int) -> None:
        """See ``Store.download``."""
        keys.segments(key)
        await threads.answer_in_time(self._name, self._timeout_seconds, self._download, key, target, limit_bytes)

    def _download(self, key: str, target: Path, limit_bytes: int) -> None:
        with target.open("wb") as file:
            for part in self._parts(key, limit_bytes):
                file.write(part)

    async def copy(self, source: str, target: str) -> None:
        """See ``Store.copy``: the server copies."""
        for key in (source, target):
            keys.segments(key)
        await threads.answer_in_time(self._name, self._timeout_seconds, self._copy, source, target)

    def _copy(self, source: str, target: str) -> None:
        import obstore
        from obstore.exceptions import BaseError

        try:
            obstore.copy(self._bucket, source, target)
        except FileNotFoundError as error:
            if _s3_code(error) in _MISSING_OBJECT:
                raise object_missing(source) from None
            raise self._unavailable(_cause(error, _TO_WRITE), "written") from None
        except ValueError:
            raise PayloadError(f"invalid storage reference {shown(source)}: S3 has no such keys") from None
        except (BaseError, OSError) as error:
            raise self._unavailable(_cause(error, _TO_WRITE), "written") from None

    async def page(self, folder: str, *, after: str = "", limit: int = PAGE_OBJECTS) -> Sequence[StoredObject]:
        """See ``Store.page``. The order is that of the server: by the bytes of the key, for S3."""
        keys.segments(folder)
        return await threads.answer_in_time(self._name, self._timeout_seconds, self._page, folder, after, limit)

    def _page(self, folder: str, after: str, limit: int) -> list[StoredObject]:
        import obstore
        from obstore.exceptions import BaseError

        found: list[StoredObject] = []
        try:
            for part in obstore.list(self._bucket, folder, offset=after or None, chunk_size=limit):
                # Consoles mark a folder with an empty object; obstore shows one for ``folder`` itself. And other
                # programs may have written keys that nobody here reads.
                inside = [each for each in part if each["path"].startswith(f"{folder}/") and keys.is_safe(each["path"])]
                found += [StoredObject(each["path"], each["size"], each["last_modified"]) for each in inside]
                if len(found) >= limit:
                    break
        except (BaseError, OSError, ValueError) as error:
            raise self._unavailable(_cause(error, _TO_LIST), "listed") from None
        return found[:limit]

    async def delete(self, wanted: Sequence[str]) -> None:
        """See ``Store.delete``.

        Each object has a request of its own. Servers such as Google Cloud Storage know no DeleteObjects, and obstore
        0.12 panics if an answer to it names another key.
        """
        for key in wanted:
            keys.segments(key)
        for start in range(0, len(wanted), _DELETED_AT_ONCE):
            part = wanted[start : start + _DELETED_AT_ONCE]
            await threads.answer_in_time(self._name, self._timeout_seconds, self._delete, part)

    def _delete(self, wanted: Sequence[str]) -> None:
        """Several concurrently; after an answer that an object is missing, which S3 never gives, one by one."""
        import obstore
        from obstore.exceptions import BaseError

        try:
            obstore.delete(self._bucket, wanted)
        except FileNotFoundError as error:
            if _s3_code(error) not in _MISSING_OBJECT:
                raise self._unavailable(_cause(error, _TO_DELETE), "changed") from None
            if len(wanted) > 1:
                for key in wanted:
                    self._delete((key,))
        except ValueError:
            raise PayloadError("invalid storage reference: S3 has no keys such as some of those to delete") from None
        except (BaseError, OSError) as error:
            raise self._unavailable(_cause(error, _TO_DELETE), "changed") from None

    @cached_property
    def _bucket(self) -> Bucket:
        from obstore.store import S3Store as Bucket

        location, credential = self._location, self._credential
        timeout = timedelta(seconds=self._timeout_seconds)
        config: S3Config = {
            "region": location.region or _region(),
            "virtual_hosted_style_request": not (location.path_style or self._endpoint),
            "checksum_algorithm": "SHA256",
            "disable_bulk_delete": True,
        }
        if self._endpoint:
            config["endpoint"] = self._endpoint
        return Bucket(
            location.bucket,
            config=config,
            client_options={"timeout": timeout, "allow_http": self._endpoint.startswith("http://")},
            retry_config={"max_retries": _RETRIES, "retry_timeout": timeout},
            # A provider, because obstore would add the process's own AWS_SESSION_TOKEN to a plain key.
            credential_provider=None if credential is None else lambda: credential,
        )

    def _unavailable(self, cause: str, what: str = "read") -> StoreUnavailableError:
        return StoreUnavailableError(f"{self._name} cannot be {what}: {cause}")


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def _url(endpoint: str) -> str:
    endpoint = endpoint.strip()
    return f"https://{endpoint}" if endpoint and "://" not in endpoint else endpoint


def _name(bucket: str, endpoint: str) -> str:
    """
    Raises:
        StoreUnavailableError: the bucket is missing, or the endpoint is not a URL.
    """
    if not bucket:
        raise StoreUnavailableError("the object store cannot be read: it has no bucket; name one")
    if not endpoint:
        return f"bucket {bucket!r}"
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https") or parts.username is not None:
        raise StoreUnavailableError(
            f"bucket {bucket!r} cannot be read: its endpoint must be a URL such as 'https://minio.example:9000', "
            "without a user name"
        )
    return f"bucket {bucket!r} at {parts.scheme}://{host}{f':{port}' if port else ''}"


def _credential(store: str, given: Mapping[str, str]) -> S3Credential | None:
    """
    Raises:
        StoreUnavailableError: one of the two keys is missing.
    """
    identity, secret = given.get("AWS_ACCESS_KEY_ID", ""), given.get("AWS_SECRET_ACCESS_KEY", "")
    token = given.get("AWS_SESSION_TOKEN", "")
    if not given:
        return None
    if not (identity and secret):
        raise StoreUnavailableError(
            f"{store} cannot be read: its Secret needs both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return {"access_key_id": identity, "secret_access_key": secret, "token": token or None, "expires_at": None}


def _cause(error: Exception, needed: str) -> str:
    """``needed``: what the credentials must allow."""
    text = str(error)
    if _NO_CREDENTIALS in text:
        return "the operator has no AWS credentials; name a Secret that holds some"
    if status := _STATUS.search(text):
        code = _s3_code(error)
        if code == "NoSuchBucket":
            return "the bucket does not exist"
        answered = f"it answered {status[1]}{f' {code}' if code else ''}"
        if status[1] in ("401", "403") or code in _REFUSED_KEY:
            return f"{answered}; check the credentials, and that they allow to {needed}"
        return answered
    return next((cause for sign, cause in _CAUSES if sign in text), "its answer cannot be understood")


def _s3_code(error: Exception) -> str:
    code = _S3_CODE.search(str(error))
    return code[1] if code else ""
