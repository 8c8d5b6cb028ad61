"""References inside payloads: to stored objects, and to keys of ConfigMaps and Secrets. Pure.

Source: SDK contract 1, 3.2, 5.2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bubu_contract.references import (
    CONFIG_MAP_REFERENCE,
    SECRET_REFERENCE,
    SHARED,
    STORAGE_KEYS,
    STORAGE_PATH,
    STORAGE_REFERENCE,
    SubPathError,
    Token,
    key_problem,
    shown,
    tokens_of,
)
from bubu_sdk.errors import InputError, PayloadPathError

_FORMATS = ("auto", "json", "raw")


@dataclass(frozen=True)
class KubeReference:
    """One key of a ConfigMap or a Secret in the engram's own namespace."""

    kind: str
    """``ConfigMap`` or ``Secret``."""
    name: str
    key: str
    format: str
    """``auto`` (JSON if it is valid JSON), ``json`` or ``raw``."""


def is_storage_reference(node: Any) -> bool:
    """Whether ``node`` is a storage reference: it has only known keys, and its reference and sub-path are strings."""
    return (
        isinstance(node, Mapping)
        and isinstance(node.get(STORAGE_REFERENCE), str)
        and node.keys() <= set(STORAGE_KEYS)
        and isinstance(node.get(STORAGE_PATH, ""), str)
    )


def checked_key(key: str) -> str:
    """``key`` itself, if it is safe to read or write under a store's root.

    Raises:
        PayloadPathError: the key is empty, absolute or too long, or has a segment that is not a plain name.
    """
    if problem := key_problem(key):
        raise PayloadPathError(f"invalid storage path {shown(key)}: it {problem}")
    return key


def own_key(key: str, namespace: str, path: str) -> str:
    """``key`` itself, if it is that of an object of ``namespace``: ``<one segment>/<namespace>/…``,
    or of one that is shared: ``<one segment>/_shared/…``.

    References come from users' data, and one bucket serves many namespaces. Without a namespace, as on the machine of a
    developer, only the form is checked.

    Raises:
        PayloadPathError: as ``checked_key``.
        InputError: it belongs to another namespace, or has an empty segment or one that is a dot; names ``path``.
    """
    parts = checked_key(key).split("/")
    if any(part.lower().replace("%2e", ".") in ("", ".", "..") for part in parts):
        raise InputError(f"{path}: invalid storage path {key!r}: each part between slashes must be a plain name")
    if namespace and (len(parts) < 3 or parts[1] not in (namespace, SHARED)):
        raise InputError(
            f"{path}: the stored object {key!r} does not belong to namespace {namespace!r}; refer to an object of this "
            f"namespace ('outputs/{namespace}/…' or 'inputs/{namespace}/…'), or copy the data into this namespace, "
            f"or, for all namespaces, below 'outputs/{SHARED}/'"
        )
    return key


def kube_reference(node: Any, path: str, own_namespace: str) -> KubeReference | None:
    """The reference in ``node``; ``None`` if ``node`` is an ordinary value.

    Raises:
        InputError: the reference is malformed or leads to another namespace; names ``path``.
    """
    if not isinstance(node, Mapping) or len(node) != 1:
        return None
    marker = next(iter(node))
    if marker not in (CONFIG_MAP_REFERENCE, SECRET_REFERENCE):
        return None
    kind = "Secret" if marker == SECRET_REFERENCE else "ConfigMap"
    namespace, name, key, format_ = _parts(node[marker], f"{path}.{marker}")
    if not name or not key:
        raise InputError(f"{path}: {marker} needs a name and a key, for example 'settings:region'")
    if format_ not in _FORMATS:
        raise InputError(f"{path}: {marker} format {format_!r} must be one of {', '.join(_FORMATS)}")
    if namespace and namespace != own_namespace:
        readable = f"namespace {own_namespace!r}" if own_namespace else "its own namespace"
        raise InputError(f"{path}: {marker} names namespace {namespace!r}; the step can only read {readable}")
    return KubeReference(kind, name, key, format_)


def interpret(text: str, format_: str, path: str) -> Any:
    """The value in the text of a ConfigMap or Secret key.

    Raises:
        InputError: the format is ``json`` and the text is not JSON. The message does not contain the text.
    """
    if format_ == "raw":
        return text
    trimmed = text.strip()
    if format_ == "auto" and not trimmed:
        return ""
    try:
        return json.loads(trimmed)
    except ValueError as error:
        if format_ == "json":
            raise InputError(f"{path}: the referenced key does not hold JSON") from error
        return text


def select(value: Any, sub_path: str) -> Any:
    """The part of a hydrated object at the path ``field.field[0][*].field``; a blank path selects the whole object.

    Raises:
        InputError: a field or index is missing, a type does not fit, or the path is malformed.
    """
    try:
        tokens = tokens_of(sub_path)
    except SubPathError as error:
        raise InputError(str(error)) from None
    return _select(value, tokens, sub_path, tolerant=False)


def _parts(spec: Any, path: str) -> tuple[str, str, str, str]:
    if isinstance(spec, str):
        target, _, key = spec.partition(":")
        namespace, slash, name = target.partition("/")
        return (
            (namespace.strip(), name.strip(), key.strip(), "auto")
            if slash
            else ("", target.strip(), key.strip(), "auto")
        )
    if isinstance(spec, Mapping):
        texts = {field: spec.get(field, "") for field in ("namespace", "name", "key")}
        unknown = sorted(set(spec) - {*texts, "format"})
        if unknown or not all(isinstance(text, str) for text in texts.values()):
            raise InputError(
                f"{path}: expected the strings name, key, namespace?, format? and no other fields, got {sorted(spec)}"
            )
        return (
            texts["namespace"].strip(),
            texts["name"].strip(),
            texts["key"].strip(),
            str(spec.get("format") or "auto").lower(),
        )
    raise InputError(f"{path}: expected 'name:key' or an object with name and key, got {type(spec).__name__}")


def _select(value: Any, tokens: tuple[Token, ...], sub_path: str, *, tolerant: bool) -> Any:
    for position, token in enumerate(tokens):
        if isinstance(token, str):
            if not isinstance(value, Mapping):
                raise InputError(
                    f"storage sub-path {sub_path!r}: {token!r} is looked up in {_kind(value)}, not in an object"
                )
            if token not in value:
                return _missing(f"field {token!r} is missing", sub_path, tolerant)
            value = value[token]
            continue
        if not isinstance(value, list):
            raise InputError(f"storage sub-path {sub_path!r}: an index is applied to {_kind(value)}, not to a list")
        if token is None:
            rest = tokens[position + 1 :]
            return [_select(item, rest, sub_path, tolerant=True) for item in value]
        if token >= len(value):
            return _missing(f"index {token} is out of range ({len(value)} items)", sub_path, tolerant)
        value = value[token]
    return value


def _missing(what: str, sub_path: str, tolerant: bool) -> None:
    if not tolerant:
        raise InputError(f"storage sub-path {sub_path!r}: {what}")


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
