"""Payloads of any kind: their size, and the references to storage, Secrets and ConfigMaps in them.

Source: admission contract 2 and 3.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from bubu_contract.canonical import NotJsonError
from bubu_contract.references import (
    CONFIG_MAP_REFERENCE,
    SECRET_REFERENCE,
    SHARED,
    STORAGE_KEYS,
    STORAGE_REFERENCE,
    is_of_namespace,
)
from core.api import canonical, fieldpath
from core.api.resource import CONFIG_MAP, SECRET, STEP_RUN, Resource
from webhooks.cluster_view import ClusterView
from webhooks.finding import Finding, Rule
from webhooks.validate import reference

_MOST_GROWTH: Final = 6
"""Bytes of one byte in the form that counts: ``<`` becomes ``\\u003c``, ``1e20`` is written out."""
_OBJECT_KEYS: Final = ("name", "key", "namespace", "format")
_FORMATS: Final = ("auto", "json", "raw")
_TARGETS: Final[Mapping[str, Resource]] = {CONFIG_MAP_REFERENCE: CONFIG_MAP, SECRET_REFERENCE: SECRET}
_REFERENCE_KEYS: Final = (STORAGE_REFERENCE, *_TARGETS)

_Part = tuple[tuple[int | str, ...], Any]


def size_bytes(value: Any) -> int | None:
    """Size of the compact JSON that the API server delivers; ``None`` if JSON cannot represent the value."""
    try:
        return len(canonical.encode(value).encode())
    except NotJsonError:
        return None


def is_surely_within(value: Any, limit_bytes: int) -> bool:
    """Whether ``size_bytes(value)`` is so far below the limit that it need not be computed; most payloads are small."""
    try:
        text = orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return len(text) * _MOST_GROWTH <= limit_bytes and b"null" not in text  # null may be a number outside JSON


def check_size(rule: Rule, value: Any, path: str, limit_bytes: int) -> Iterator[Finding]:
    """A finding if ``value`` is larger than ``limit_bytes``, or not JSON; an absent value is valid."""
    if value is None:
        return
    if is_surely_within(value, limit_bytes):
        return
    size = size_bytes(value)
    if size is None:
        yield rule.at(path, "has a value that JSON cannot represent", "use finite numbers and valid Unicode")
    elif size > limit_bytes:
        remedy = "keep large data in storage and give a reference to it"
        yield rule.at(path, f"has {size} bytes, the maximum is {limit_bytes}", remedy)


def holds_storage_reference(value: Any) -> bool:
    """Whether a part of ``value`` is in storage."""
    return _may_hold(value, (STORAGE_REFERENCE,)) and any(
        isinstance(part, Mapping) and STORAGE_REFERENCE in part for _, part in _parts(value)
    )


def check_references(
    malformed: Rule, denied: Rule, value: Any, path: str, source: Resource, namespace: str, world: ClusterView
) -> Iterator[Finding]:
    """Checks every reference map in ``value``: its form, and whether it may refer to another namespace.

    Args:
        malformed: broken by a map of the wrong form.
        denied: broken by a namespace to which it may not refer; a stored object must be in ``namespace``.
        source: kind of the object, which is in ``namespace``.
    """
    for where, part in _parts(value) if _may_hold(value, _REFERENCE_KEYS) else ():
        if not isinstance(part, Mapping):
            continue
        field = _join(path, where)
        if STORAGE_REFERENCE in part:
            problems = list(_storage(malformed, part, field))
            yield from problems or (() if source is STEP_RUN else _storage_namespace(denied, part, field, namespace))
            continue
        key = next((key for key in _TARGETS if key in part), None)
        if key is None:
            continue
        yield from (
            malformed.at(f"{field}.{other}", f"may not be used together with {key}") for other in part if other != key
        )
        target = part[key]
        yield from _object(malformed, target, f"{field}.{key}")
        place = _namespace_in(target)
        if place:
            wanted = reference.link(source, namespace, _TARGETS[key], {"namespace": place, "name": _name_in(target)})
            yield from reference.denial(denied, wanted, world, f"{field}.{key}")


def _storage(rule: Rule, part: Mapping[str, Any], path: str) -> Iterator[Finding]:
    for key, value in part.items():
        if key not in STORAGE_KEYS:
            yield rule.at(
                f"{path}.{key}", f"may not be used together with {STORAGE_REFERENCE}", f"use {', '.join(STORAGE_KEYS)}"
            )
        elif not isinstance(value, str) or (key == STORAGE_REFERENCE and not value.strip()):
            yield rule.at(f"{path}.{key}", "must be a string that is not blank", "give the key of the stored object")


def _storage_namespace(rule: Rule, part: Mapping[str, Any], path: str, namespace: str) -> Iterator[Finding]:
    """Not for StepRuns, which the operator and the container write: the operator checks what it gives to a container.

    A key with a template is not known yet.
    """
    key = part[STORAGE_REFERENCE]
    if "{{" not in key and not is_of_namespace(key, namespace):
        problem = f"is not the key of a stored object of namespace {namespace}, and no other is read"
        remedy = f"copy the data to outputs/{namespace}/, or, for all namespaces, to outputs/{SHARED}/"
        yield rule.at(f"{path}.{STORAGE_REFERENCE}", problem, remedy)


def _object(rule: Rule, target: Any, path: str) -> Iterator[Finding]:
    if isinstance(target, str):
        if not target.strip():
            yield rule.at(path, "must not be blank", "write name:key or namespace/name:key")
        return
    if not isinstance(target, Mapping):
        yield rule.at(path, "must be a string or an object", "write name:key, or an object with name and key")
        return
    yield from (
        rule.at(f"{path}.{key}", "unknown field", f"use {', '.join(_OBJECT_KEYS)}")
        for key in target
        if key not in _OBJECT_KEYS
    )
    for key in _OBJECT_KEYS:
        value = target.get(key)
        if key in ("name", "key") and not (isinstance(value, str) and value.strip()):
            yield rule.at(f"{path}.{key}", "is required and must be a string", f"add {key}")
        elif key == "namespace" and key in target and not (isinstance(value, str) and value.strip()):
            yield rule.at(f"{path}.{key}", "must be a string that is not blank", "name a namespace or leave it out")
        elif key == "format" and key in target and not _is_format(value):
            yield rule.at(f"{path}.{key}", f"must be one of {', '.join(_FORMATS)}", "use one of these values")


def _is_format(value: Any) -> bool:
    return isinstance(value, str) and (not value.strip() or value.strip().lower() in _FORMATS)


def _namespace_in(target: Any) -> str:
    if isinstance(target, str):
        place, slash, _ = target.partition("/")
        return place.strip() if slash else ""
    value = target.get("namespace") if isinstance(target, Mapping) else None
    return value.strip() if isinstance(value, str) else ""


def _name_in(target: Any) -> str:
    if isinstance(target, str):
        return target.rpartition("/")[2].partition(":")[0].strip()
    return str(target.get("name") or "")


def _may_hold(value: Any, keys: Sequence[str]) -> bool:
    """Whether ``value`` contains an object with one of ``keys``; fast, because it computes no paths."""
    pending = [value]
    for part in pending:
        if isinstance(part, str):
            continue
        if isinstance(part, (dict, Mapping)):
            if any(key in part for key in keys):
                return True
            pending.extend(part.values())
        elif isinstance(part, list):
            pending.extend(part)
    return False


def _parts(value: Any) -> Iterator[_Part]:
    """``value`` and all parts in it, in order, without the parts of reference maps."""
    pending: list[_Part] = [((), value)]
    while pending:
        where, part = pending.pop()
        yield where, part
        if isinstance(part, Mapping) and STORAGE_REFERENCE not in part and not any(key in part for key in _TARGETS):
            pending += [((*where, key), child) for key, child in reversed(list(part.items()))]
        elif isinstance(part, list):
            pending += reversed([((*where, index), child) for index, child in enumerate(part)])


def _join(path: str, where: tuple[int | str, ...]) -> str:
    below = fieldpath.render(where)
    return f"{path}{'.' if below and not below.startswith('[') else ''}{below}"
