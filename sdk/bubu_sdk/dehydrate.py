"""Moves large parts of an output, or of the inputs of a request, to the store and puts references in their places.

It plans all writes first and writes last, so each stored object has a reference in the output. Sizes are those of the
canonical encoding. Source: SDK contract 2, 3.1, 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bubu_contract import canonical, references
from bubu_sdk import reference
from bubu_sdk.artifact import ARTIFACT
from bubu_sdk.errors import Object, StorageError
from bubu_sdk.storage import Store

MAX_MIXED_BYTES: Final = 262_144
"""The size limit of a node with references inside; a larger node is offloaded as a whole."""
OUTPUT_PREFIX: Final = "outputs"
INPUT_PREFIX: Final = "inputs"
_MAX_SEGMENT_BYTES = 150
_REFERENCE_MARKS = (references.STORAGE_REFERENCE.encode(), ARTIFACT.encode())


@dataclass(frozen=True)
class Placement:
    """The place of the objects of one output or request, and the content of their references."""

    prefix: str
    """``BUBU_STORAGE_OUTPUT_PREFIX``, default ``outputs``; ``BUBU_STORAGE_INPUT_PREFIX``, default ``inputs``."""
    namespace: str
    step_run: str
    """The folder: the name of the StepRun; for inputs ``submission.storage_id``."""
    schema: str = ""
    schema_version: str = ""
    with_digest: bool = False
    """Whether the SHA-256 of an object is part of its key. Then attempts never overwrite the objects of each other, and
    readers check what they read. Not for requests: clients of all languages must refer to equal inputs alike.
    """

    def key(self, path: Sequence[str | int], body: bytes) -> str:
        """``outputs/<namespace>/<step run>/items.0.body.sha256-<digest>.json``; ``output.…`` for the root.

        With references inside, it is ``….refs.sha256-…``: others need not be read to know what they refer to.

        What would change the meaning of the path in a map key (``/``, ``.``, ``..``) is percent-encoded, and so are
        control characters.

        Raises:
            StorageError: the container does not know its own StepRun, so other containers could use the same key.
        """
        if not self.namespace.strip() or not self.step_run.strip():
            raise StorageError(
                "cannot offload output: BUBU_STEPRUN_NAMESPACE and BUBU_STEPRUN_NAME must be set", retryable=False
            )
        file = _bounded(".".join(references.key_segment(part) for part in path)) or "output"
        if self.with_digest:
            refers = ".refs" if any(mark in body for mark in _REFERENCE_MARKS) else ""
            file = f"{file}{refers}{references.DIGEST_MARK}{references.digest_of(body)}"
        return reference.checked_key(f"{self.prefix}/{self.namespace}/{self.step_run}/{file}.json")

    def reference(self, key: str, content_type: str) -> Object:
        """The reference to an object stored at ``key``."""
        node: Object = {references.STORAGE_REFERENCE: key, references.STORAGE_CONTENT_TYPE: content_type}
        if self.schema:
            node[references.STORAGE_SCHEMA] = self.schema
        if self.schema and self.schema_version:
            node[references.STORAGE_SCHEMA_VERSION] = self.schema_version
        return node


@dataclass(frozen=True)
class PlannedWrite:
    """One object to store."""

    key: str
    body: bytes


@dataclass(frozen=True)
class _Node:
    result: Any
    original_bytes: int
    result_bytes: int
    writes: tuple[PlannedWrite, ...]
    has_reference: bool


def plan(data: Any, place: Placement, *, inline_bytes: int, max_depth: int) -> tuple[Any, tuple[PlannedWrite, ...]]:
    """The part that stays in the status, and the objects that must be stored before that part is published. Pure.

    Raises:
        StorageError: something must be offloaded, but the container does not know its StepRun.
    """
    node = _Planner(place, inline_bytes, max_depth).walk(data, (), 0)
    return node.result, node.writes


def dehydrate(data: Any, store: Store | None, place: Placement, *, inline_bytes: int, max_depth: int) -> Any:
    """``data`` with every part above ``inline_bytes`` replaced by a reference to a stored object.

    Raises:
        StorageError: the store failed, or it is disabled and ``data`` is too large to stay inline.
    """
    if store is None:
        return _inline(data, inline_bytes, "the output has", "return")
    result, writes = plan(data, place, inline_bytes=inline_bytes, max_depth=max_depth)
    for write in writes:
        store.write(write.key, write.body, "application/json")
    return result


def _inline(data: Any, inline_bytes: int, what: str, do: str) -> Any:
    """``data`` if it may stay inline, where there is no store."""
    size = len(canonical.encode(data))
    if size > inline_bytes:
        raise StorageError(
            f"{what} {size} bytes, more than the inline limit of {inline_bytes} (BUBU_MAX_INLINE_SIZE), "
            f"and no storage is configured; give the Story a storage policy or {do} less",
            retryable=False,
        )
    return data


def dehydrate_inputs(data: Any, store: Store | None, place: Placement, *, inline_bytes: int, max_depth: int) -> Any:
    """``dehydrate`` for the inputs of a request: if what remains is still too large, it becomes one reference.

    Raises:
        StorageError: the store failed, or it is disabled and ``data`` is too large to stay inline.
    """
    if store is None:
        return _inline(data, inline_bytes, "the inputs have", "submit")
    result, writes = plan(data, place, inline_bytes=inline_bytes, max_depth=max_depth)
    if len(canonical.encode(result)) > inline_bytes and not reference.is_storage_reference(result):
        key = reference.checked_key(f"{place.prefix}/{place.namespace}/{place.step_run}/input.json")
        writes = (*writes, PlannedWrite(key, wrapped(result, "json")))
        result = place.reference(key, "application/json")
    for write in writes:
        store.write(write.key, write.body, "application/json")
    return result


def wrapped(data: Any, content_type: str) -> bytes:
    """The bytes of a stored object: ``{"contentType":"json","data":…}``."""
    return b'{"contentType":"%s","data":%s}' % (content_type.encode(), canonical.encode(data))


class _Planner:
    def __init__(self, place: Placement, inline_bytes: int, max_depth: int) -> None:
        self._place = place
        self._inline_bytes = inline_bytes
        self._max_depth = max_depth

    def walk(self, node: Any, path: tuple[str | int, ...], depth: int) -> _Node:
        if isinstance(node, str):
            size = len(canonical.encode_string(node).encode())
            if len(node.encode(errors="replace")) > self._inline_bytes:
                return self._offload(node, path, "raw", size)
            return _Node(node, size, size, (), False)
        if isinstance(node, Mapping) and not reference.is_storage_reference(node):
            return self._container(node, [(key, node[key]) for key in sorted(node)], path, depth)
        if isinstance(node, list):
            return self._container(node, list(enumerate(node)), path, depth)
        size = len(canonical.encode(node))
        if size > self._inline_bytes and not isinstance(node, Mapping):
            return self._offload(node, path, "json", size)
        return _Node(node, size, size, (), isinstance(node, Mapping))

    def _container(
        self, node: Any, items: Sequence[tuple[str | int, Any]], path: tuple[str | int, ...], depth: int
    ) -> _Node:
        if depth >= self._max_depth and items:
            # one object for the container at the limit, instead of one object for each of its children
            return self._offload(node, path, "json", len(canonical.encode(node)))
        children = [(key, self.walk(item, (*path, key), depth + 1)) for key, item in items]
        frame = 2 + max(0, len(children) - 1)
        if isinstance(node, Mapping):
            frame += sum(len(canonical.encode_string(str(key)).encode()) + 1 for key, _ in children)
        original = frame + sum(child.original_bytes for _, child in children)
        if not any(child.has_reference for _, child in children):
            if original > self._inline_bytes:
                return self._offload(node, path, "json", original)
            return _Node(node, original, original, (), False)
        remaining = frame + sum(child.result_bytes for _, child in children)
        if remaining > MAX_MIXED_BYTES:
            return self._offload(node, path, "json", original)
        result = (
            {key: child.result for key, child in children}
            if isinstance(node, Mapping)
            else [c.result for _, c in children]
        )
        writes = tuple(write for _, child in children for write in child.writes)
        return _Node(result, original, remaining, writes, True)

    def _offload(self, node: Any, path: tuple[str | int, ...], content_type: str, original_bytes: int) -> _Node:
        body = wrapped(node, content_type)
        key = self._place.key(path, body)
        link = self._place.reference(key, "text/plain" if content_type == "raw" else "application/json")
        write = PlannedWrite(key, body)
        return _Node(link, original_bytes, len(canonical.encode(link)), (write,), True)


def _bounded(name: str) -> str:
    """``name``, shortened with a digest if a file system would refuse its length."""
    encoded = name.encode()
    if len(encoded) <= _MAX_SEGMENT_BYTES:
        return name
    import hashlib  # imported here, because most steps never need it and it costs milliseconds

    return f"{encoded[:_MAX_SEGMENT_BYTES].decode(errors='ignore')}-{hashlib.sha256(encoded).hexdigest()[:16]}"
