"""Objects in a bucket or container of a cloud provider, by ``obstore``, which is imported at the first request.

``s3_store``, ``gcs_store`` and ``azure_store`` say how it is reached. Source: SDK contract 6.2, 7.1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final

from bubu_contract.references import shown
from core.payloads import key as keys
from core.payloads.cloud_answers import MISSING_OBJECT, CloudProvider, cause_of, code_of
from core.payloads.errors import PayloadError, StoreUnavailableError, object_missing, object_too_large
from core.payloads.stored_object import StoredObject
from core.payloads.threaded_store import ThreadedStore

if TYPE_CHECKING:
    from obstore.store import ObjectStore, RetryConfig

_RETRIES: Final = 2
"""Retries of one request; the caller retries later anyway."""
_PART_BYTES: Final = 1024 * 1024
_BETWEEN_LOOKS_SECONDS: Final = 0.2
"""At a copy that is not complete yet."""

_TO_READ: Final = "get objects and list the {place}"
_TO_WRITE: Final = "put objects"
_TO_LIST: Final = "list the {place}"
_TO_DELETE: Final = "delete objects"


def retry_config(timeout_seconds: float) -> RetryConfig:
    """A few retries, with jitter, within the deadline."""
    return {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=timeout_seconds)}


class CloudStore(ThreadedStore):
    """The objects of one bucket or container."""

    _deleted_at_once = 100

    def __init__(
        self, name: str, timeout_seconds: float, provider: CloudProvider, connect: Callable[[], ObjectStore]
    ) -> None:
        """``connect`` sends nothing; it is called at the first request, in a thread."""
        super().__init__(name, timeout_seconds)
        self._provider = provider
        self._connect = connect

    def _read(self, key: str, limit_bytes: int) -> bytes:
        return b"".join(self._parts(key, limit_bytes))

    def _parts(self, key: str, limit_bytes: int) -> Iterator[bytes]:
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
            if code_of(error) in MISSING_OBJECT:
                raise object_missing(key) from None
            raise self._unavailable(error, "read", _TO_READ) from None
        except ValueError:
            raise self._no_such_key(key) from None
        except (BaseError, OSError) as error:
            raise self._unavailable(error, "read", _TO_READ) from None

    def _write(self, key: str, content: bytes) -> None:
        """S3 checks the SHA-256 that is sent with the content."""
        import obstore
        from obstore.exceptions import BaseError

        try:
            obstore.put(self._bucket, key, content, attributes={"Content-Type": "application/json"})
        except ValueError:
            raise self._no_such_key(key) from None
        except (BaseError, OSError) as error:
            raise self._unavailable(error, "written", _TO_WRITE) from None

    def _copy(self, source: str, target: str) -> None:
        """The server copies."""
        import obstore
        from obstore.exceptions import BaseError

        try:
            obstore.copy(self._bucket, source, target)
            if self._provider.copies_later:
                self._until_copied(source, target)
        except FileNotFoundError as error:
            if code_of(error) in MISSING_OBJECT:
                raise object_missing(source) from None
            raise self._unavailable(error, "written", _TO_WRITE) from None
        except ValueError:
            raise self._no_such_key(source) from None
        except (BaseError, OSError) as error:
            raise self._unavailable(error, "written", _TO_WRITE) from None

    def _until_copied(self, source: str, target: str) -> None:
        """A copy that is not complete has no bytes at all."""
        import obstore

        until = time.monotonic() + self._timeout_seconds
        size_bytes = obstore.head(self._bucket, source)["size"]
        while obstore.head(self._bucket, target)["size"] != size_bytes:
            if time.monotonic() > until:
                raise StoreUnavailableError(f"{self._name} cannot be written: a copy did not end in time")
            time.sleep(_BETWEEN_LOOKS_SECONDS)

    def _page(self, folder: str, after: str, limit: int) -> list[StoredObject]:
        """The order is that of the server: by the bytes of the key, for all providers."""
        import obstore
        from obstore.exceptions import BaseError

        found: list[StoredObject] = []
        try:
            for part in obstore.list(self._bucket, folder, offset=after or None, chunk_size=limit):
                # Consoles mark a folder with an empty object; obstore shows one for ``folder`` itself. Other programs
                # may have written keys that no code here reads. Some servers do not start at the requested key.
                inside = [
                    each
                    for each in part
                    if each["path"].startswith(f"{folder}/") and each["path"] > after and keys.is_safe(each["path"])
                ]
                found += [StoredObject(each["path"], each["size"], each["last_modified"]) for each in inside]
                if len(found) >= limit:
                    break
        except (BaseError, OSError, ValueError) as error:
            raise self._unavailable(error, "listed", _TO_LIST) from None
        return found[:limit]

    def _delete(self, wanted: Sequence[str]) -> None:
        """Several concurrently; after an answer that an object is missing, which S3 never gives, one by one."""
        import obstore
        from obstore.exceptions import BaseError

        if not wanted:
            return
        try:
            obstore.delete(self._bucket, wanted)
        except FileNotFoundError as error:
            if code_of(error) not in MISSING_OBJECT:
                raise self._unavailable(error, "changed", _TO_DELETE) from None
            if len(wanted) > 1:
                for key in wanted:
                    self._delete((key,))
        except ValueError:
            service = self._provider.service
            raise PayloadError(
                f"invalid storage reference: {service} has no keys such as some of those to delete"
            ) from None
        except (BaseError, OSError) as error:
            raise self._unavailable(error, "changed", _TO_DELETE) from None

    @cached_property
    def _bucket(self) -> ObjectStore:
        from obstore.exceptions import BaseError

        try:
            return self._connect()
        except (BaseError, ValueError, OSError):
            vendor = self._provider.vendor
            raise StoreUnavailableError(
                f"{self._name} cannot be used: its credentials do not have the form that {vendor} issues; check them"
            ) from None

    def _unavailable(self, error: Exception, what: str, needed: str) -> StoreUnavailableError:
        cause = cause_of(error, self._provider, needed)
        return StoreUnavailableError(f"{self._name} cannot be {what}: {cause}")

    def _no_such_key(self, key: str) -> PayloadError:
        return PayloadError(f"invalid storage reference {shown(key)}: {self._provider.service} has no such keys")
