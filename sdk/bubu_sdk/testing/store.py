"""A payload store in memory."""

from __future__ import annotations

import io
import threading
from typing import IO

from bubu_sdk import reference
from bubu_sdk.storage import ObjectMissingError, Writable, copy_parts


class InMemoryStore:
    """A ``bubu_sdk.storage.Store`` with its objects in a dict; it checks keys like all stores. Thread-safe."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.content_types: dict[str, str] = {}
        self._lock = threading.Lock()

    def read(self, key: str) -> bytes:
        with self._lock:
            try:
                return self.objects[reference.checked_key(key)]
            except KeyError:
                raise ObjectMissingError(f"stored object {key!r} not found") from None

    def upload(self, key: str, source: IO[bytes], size_bytes: int, content_type: str) -> None:
        content = io.BytesIO()
        copy_parts(source, content, key, size_bytes)
        self.write(key, content.getvalue(), content_type)

    def download(self, key: str, target: Writable, size_bytes: int) -> None:
        copy_parts(io.BytesIO(self.read(key)), target, key, size_bytes)

    def write(self, key: str, content: bytes, content_type: str) -> None:
        with self._lock:
            self.objects[reference.checked_key(key)] = content
            self.content_types[key] = content_type
