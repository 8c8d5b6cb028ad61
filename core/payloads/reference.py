"""References in a value: to stored objects (hydrated), and to ConfigMaps and Secrets (left in place). Pure.

Source: SDK contract 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bubu_contract.references import (
    CONFIG_MAP_REFERENCE,
    SECRET_REFERENCE,
    STORAGE_KEYS,
    STORAGE_PATH,
    STORAGE_REFERENCE,
    SubPathError,
    Token,
    tokens_of,
)
from core.api import fieldpath
from core.expressions.paths import Json
from core.payloads import key as keys
from core.payloads.errors import PayloadError

_OPAQUE: Final = frozenset({CONFIG_MAP_REFERENCE, SECRET_REFERENCE})


@dataclass(frozen=True, slots=True)
class StorageReference:
    """A stored object, and the part of it that the reference selects.

    Attributes:
        key: below the root of the store; not checked.
        sub_path: as written, for errors.
        tokens: the parsed ``sub_path``; empty means the whole object.
    """

    key: str
    sub_path: str = ""
    tokens: tuple[Token, ...] = ()


def read(node: Json) -> StorageReference | None:
    """The storage reference in ``node``; ``None`` if it is an ordinary value.

    An object with a reserved key beside other keys is refused. The SDK treats it as data, but the evaluation of a
    template treats it as a reference (``core.expressions.paths``), and would wait for its value for ever.

    Raises:
        PayloadError: it is meant to be a reference, but is malformed.
    """
    if not isinstance(node, dict) or not isinstance(key := node.get(STORAGE_REFERENCE), str):
        return None
    if unknown := node.keys() - set(STORAGE_KEYS):
        raise PayloadError(
            f"a storage reference has {len(unknown)} keys that are not allowed: "
            f"keep only {', '.join(sorted(STORAGE_KEYS))}, or rename {STORAGE_REFERENCE} if it is data"
        )
    sub_path = node.get(STORAGE_PATH, "")
    if not isinstance(sub_path, str):
        raise PayloadError(f"{STORAGE_PATH} of a storage reference must be a string such as 'items[0].name'")
    try:
        return StorageReference(key, sub_path, tokens_of(sub_path))
    except SubPathError as error:
        raise PayloadError(str(error)) from None


def check_namespaces(value: Any, namespace: str, field: str) -> None:
    """Refuse a value with a reference to a stored object of another namespace, before a container follows it.

    Objects with a reserved key beside other keys are data: no reader follows them.

    Args:
        field: the root of the path in the error, such as ``with``.
    Raises:
        PayloadError: a reference leads to another namespace, or its key is unsafe; names field, key and remedy.
    """
    pending: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while pending:
        where, node = pending.pop()
        if isinstance(node, Mapping):
            key = node.get(STORAGE_REFERENCE)
            if isinstance(key, str) and node.keys() <= set(STORAGE_KEYS):
                try:
                    keys.check_namespace(key, namespace)
                except PayloadError as error:
                    below = fieldpath.render(where)
                    path = f"{field}{'.' if below and not below.startswith('[') else ''}{below}"
                    raise PayloadError(f"{path}.{STORAGE_REFERENCE}: {error}") from error
            else:
                pending += [((*where, name), child) for name, child in node.items()]
        elif isinstance(node, list):
            pending += [((*where, index), child) for index, child in enumerate(node)]


def is_opaque(node: dict[str, Json]) -> bool:
    """Whether ``node`` refers to a ConfigMap or a Secret; only the container may read those."""
    return len(node) == 1 and not _OPAQUE.isdisjoint(node)
