"""Data between clients and an API server, and operations on it: Status, watch event types, patches.

Beside it is what the processes at both ends stand on: ``parent``, ``reclaim`` and ``yaml_booleans``.

Pure: JSON values in, JSON values out; arguments are never changed, and results share no mutable parts with them. In a
merge patch, an absent field and a field that is ``null`` have the same meaning, as in Kubernetes. Not here: how it is
sent (core.kube.client). Source: Kubernetes API conventions; RFC 6901, 6902 and 7386.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, TypeAlias

Object: TypeAlias = dict[str, Any]
"""An API object in its wire form."""

MAX_COPIED_VALUES: Final = 1_000_000
"""The limit of JSON values that the ``copy`` operations of one patch may produce together; otherwise a few operations
could double a document until memory is exhausted.
"""


class StatusReason(StrEnum):
    """Why an API server refused a request; ``code`` is the HTTP status of the answer."""

    BAD_REQUEST = "BadRequest"
    UNAUTHORIZED = "Unauthorized"
    FORBIDDEN = "Forbidden"
    NOT_FOUND = "NotFound"
    METHOD_NOT_ALLOWED = "MethodNotAllowed"
    NOT_ACCEPTABLE = "NotAcceptable"
    ALREADY_EXISTS = "AlreadyExists"
    CONFLICT = "Conflict"
    GONE = "Gone"
    EXPIRED = "Expired"
    REQUEST_ENTITY_TOO_LARGE = "RequestEntityTooLarge"
    UNSUPPORTED_MEDIA_TYPE = "UnsupportedMediaType"
    INVALID = "Invalid"
    TOO_MANY_REQUESTS = "TooManyRequests"
    INTERNAL_ERROR = "InternalError"
    SERVER_TIMEOUT = "ServerTimeout"
    SERVICE_UNAVAILABLE = "ServiceUnavailable"
    TIMEOUT = "Timeout"

    @property
    def code(self) -> int:
        return _CODE_OF_REASON[self]


_CODE_OF_REASON: Final[Mapping[StatusReason, int]] = {
    StatusReason.BAD_REQUEST: 400,
    StatusReason.UNAUTHORIZED: 401,
    StatusReason.FORBIDDEN: 403,
    StatusReason.NOT_FOUND: 404,
    StatusReason.METHOD_NOT_ALLOWED: 405,
    StatusReason.NOT_ACCEPTABLE: 406,
    StatusReason.ALREADY_EXISTS: 409,
    StatusReason.CONFLICT: 409,
    StatusReason.GONE: 410,
    StatusReason.EXPIRED: 410,
    StatusReason.REQUEST_ENTITY_TOO_LARGE: 413,
    StatusReason.UNSUPPORTED_MEDIA_TYPE: 415,
    StatusReason.INVALID: 422,
    StatusReason.TOO_MANY_REQUESTS: 429,
    StatusReason.INTERNAL_ERROR: 500,
    StatusReason.SERVER_TIMEOUT: 500,
    StatusReason.SERVICE_UNAVAILABLE: 503,
    StatusReason.TIMEOUT: 504,
}

_BUSY: Final = (408, 429)
_NOT_IMPLEMENTED: Final = 501


class WatchEventType(StrEnum):
    """The ``type`` of one line of a watch."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    ERROR = "ERROR"


class PatchType(StrEnum):
    """How a patch body is interpreted; the value is its content type."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


class JSONPatchError(ValueError):
    """A list of operations cannot be applied; ``index`` is the position of the operation that failed."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(f"operation {index}: {message}")
        self.index = index


class JSONPatchMalformedError(JSONPatchError):
    """The operation itself violates RFC 6902; it cannot be applied to any document."""


class JSONPatchPathError(JSONPatchError):
    """The operation refers to a place that the document does not have."""


class JSONPatchTestError(JSONPatchError):
    """A ``test`` operation found another value."""


def status_failure(
    reason: StatusReason | str, message: str, *, code: int | None = None, details: Mapping[str, Any] | None = None
) -> Object:
    """A ``Status`` of kind Failure; ``code`` defaults to the HTTP status of ``reason``, or 500."""
    if code is None:
        code = reason.code if isinstance(reason, StatusReason) else _code_of(reason)
    status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    status["reason"] = str(reason)
    if details:
        status["details"] = copy_value(dict(details))
    status["code"] = code
    return status


def says_not_now(code: int) -> bool:
    """Whether a refusal with this HTTP code is about the server, not about the request, which may succeed later.

    The server is away, busy, or its disk is full (507). 501 is final: the server does not know how.
    """
    return code in _BUSY or (code >= 500 and code != _NOT_IMPLEMENTED)


def copy_value(value: Any) -> Any:
    """A JSON value that shares no mutable parts with ``value``; several times faster than ``copy.deepcopy``."""
    if isinstance(value, dict):
        return {key: copy_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_value(item) for item in value]
    return value


def values_equal(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal in JSON: ``1`` equals ``1.0``, but ``True`` does not equal ``1``."""
    if left is right:
        return True
    if isinstance(left, bool) or isinstance(right, bool):
        return False  # the two booleans are singletons, so equal ones were identical
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and len(left) == len(right)
            and all(key in right and values_equal(item, right[key]) for key, item in left.items())
        )
    if isinstance(left, list):
        return (
            isinstance(right, list)
            and len(left) == len(right)
            and all(values_equal(a, b) for a, b in zip(left, right, strict=True))
        )
    return bool(left == right)


def apply_merge_patch(target: Any, patch: Any) -> Any:
    """``target`` changed according to RFC 7386: maps are merged, ``null`` deletes, everything else replaces."""
    if not isinstance(patch, dict):
        return copy_value(patch)
    before: Mapping[str, Any] = target if isinstance(target, dict) else {}
    result: Object = {}
    for key, item in before.items():  # first, so that fields keep their position
        if key not in patch:
            result[key] = copy_value(item)
        elif patch[key] is not None:
            result[key] = apply_merge_patch(item, patch[key])
    for key, item in patch.items():
        if key not in before and item is not None:
            result[key] = apply_merge_patch(None, item)
    return result


def merge_patch_between(old: Mapping[str, Any], new: Mapping[str, Any]) -> Object:
    """The smallest merge patch that turns ``old`` into ``new``; empty when they are equal.

    A ``null`` field of ``new`` counts as absent, because no merge patch can store it. Lists are replaced as a whole.
    """
    patch: Object = {key: None for key, item in old.items() if item is not None and new.get(key) is None}
    for key, item in new.items():
        before = old.get(key)
        if item is None or item is before:
            continue
        if isinstance(item, dict) and isinstance(before, dict):
            if nested := merge_patch_between(before, item):
                patch[key] = nested
        elif not values_equal(before, item):
            patch[key] = _without_nulls(item)
    return patch


def apply_json_patch(target: Any, operations: Iterable[Any], *, replace_adds: bool = False) -> Any:
    """``target`` after all operations in order; after an error it is unchanged: a patch applies completely or not at
    all.

    Args:
        replace_adds: replacing a missing key of an object adds it. RFC 6902 calls that an error; API servers do it.
    Raises:
        JSONPatchMalformedError: an operation lacks a field, has an unknown ``op`` or a bad pointer.
        JSONPatchPathError: a path does not exist, or the copies grow past ``MAX_COPIED_VALUES``.
        JSONPatchTestError: a ``test`` found another value.
    """
    document = copy_value(target)
    copied = 0
    for index, operation in enumerate(operations):
        step = _Operation.read(index, operation)
        match step.op:
            case "add":
                document = step.add(document, copy_value(step.value))
            case "remove":
                document, _ = step.remove(document, step.path)
            case "replace":
                document = step.replace(document, copy_value(step.value), adds=replace_adds)
            case "move":
                if len(step.path) > len(step.source) and step.path[: len(step.source)] == step.source:
                    raise JSONPatchPathError(index, "a value cannot move into itself")
                document, value = step.remove(document, step.source)
                document = step.add(document, value)
            case "copy":
                value = step.find(document, step.source)
                copied += _count_values(value)
                if copied > MAX_COPIED_VALUES:
                    raise JSONPatchPathError(index, f"copies more than {MAX_COPIED_VALUES} values")
                document = step.add(document, copy_value(value))
            case _:
                if not values_equal(step.find(document, step.path), step.value):
                    raise JSONPatchTestError(index, f"test failed: {step.pointer} has another value")
    return document


class _Operation:
    """One checked operation, and its changes to a document that may be modified."""

    __slots__ = ("index", "op", "path", "pointer", "source", "value")

    def __init__(self, index: int, op: str, pointer: str, path: list[str], source: list[str], value: Any) -> None:
        self.index = index
        self.op = op
        self.pointer = pointer
        self.path = path
        self.source = source
        self.value = value

    @classmethod
    def read(cls, index: int, operation: Any) -> _Operation:
        if not isinstance(operation, Mapping):
            raise JSONPatchMalformedError(index, "must be an object")
        op = operation.get("op")
        if op not in ("add", "remove", "replace", "move", "copy", "test"):
            raise JSONPatchMalformedError(index, f"op {op!r} must be add, remove, replace, move, copy or test")
        if op in ("add", "replace", "test") and "value" not in operation:
            raise JSONPatchMalformedError(index, f"{op} needs a value")
        path = _tokens(index, "path", operation.get("path"))
        source = _tokens(index, "from", operation.get("from")) if op in ("move", "copy") else []
        return cls(index, op, operation["path"] or "the document", path, source, operation.get("value"))

    def find(self, document: Any, path: list[str]) -> Any:
        for token in path:
            document = self._child(document, token)
        return document

    def add(self, document: Any, value: Any) -> Any:
        if not self.path:
            return value
        parent, last = self.find(document, self.path[:-1]), self.path[-1]
        if isinstance(parent, list):
            parent.insert(len(parent) if last == "-" else self._position(last, len(parent)), value)
        elif isinstance(parent, dict):
            parent[last] = value
        else:
            raise self._missing(last)
        return document

    def replace(self, document: Any, value: Any, *, adds: bool) -> Any:
        if not self.path:
            return value
        parent, last = self.find(document, self.path[:-1]), self.path[-1]
        if not (adds and isinstance(parent, dict)):
            self._child(parent, last)
        parent[self._position(last, len(parent) - 1) if isinstance(parent, list) else last] = value
        return document

    def remove(self, document: Any, path: list[str]) -> tuple[Any, Any]:
        if not path:
            return None, document
        parent, last = self.find(document, path[:-1]), path[-1]
        value = self._child(parent, last)
        del parent[self._position(last, len(parent) - 1) if isinstance(parent, list) else last]
        return document, value

    def _child(self, parent: Any, token: str) -> Any:
        if isinstance(parent, dict):
            if token in parent:
                return parent[token]
        elif isinstance(parent, list):
            return parent[self._position(token, len(parent) - 1)]
        raise self._missing(token)

    def _position(self, token: str, largest: int) -> int:
        if not (token.isascii() and token.isdigit()) or (token[0] == "0" and len(token) > 1):
            raise JSONPatchPathError(self.index, f"{token!r} is not a list position (path {self.pointer})")
        # The length is compared first: converting thousands of digits to an integer is slow, and Python may refuse it.
        if len(token) > len(str(max(largest, 0))) or int(token) > largest:
            raise JSONPatchPathError(self.index, f"position {token[:20]} is beyond the list (path {self.pointer})")
        return int(token)

    def _missing(self, token: str) -> JSONPatchPathError:
        return JSONPatchPathError(self.index, f"{token!r} does not exist (path {self.pointer})")


def _tokens(index: int, field: str, pointer: Any) -> list[str]:
    """The unescaped reference tokens of an RFC 6901 pointer; none for the whole document."""
    if not isinstance(pointer, str):
        raise JSONPatchMalformedError(index, f"needs {field} as a string")
    if not pointer:
        return []
    if not pointer.startswith("/"):
        raise JSONPatchMalformedError(index, f"{field} {pointer!r} does not start with a slash")
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/")]


def _without_nulls(value: Any) -> Any:
    """``value`` after a merge patch: maps lose their nulls, lists keep theirs."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return copy_value(value)


def _count_values(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(_count_values(item) for item in value.values())
    if isinstance(value, list):
        return 1 + sum(_count_values(item) for item in value)
    return 1


def _code_of(reason: str) -> int:
    try:
        return StatusReason(reason).code
    except ValueError:
        return 500
