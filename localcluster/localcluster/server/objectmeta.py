"""Fields of ``metadata`` that the server writes, and values that it refuses.

Pure: time and uid are arguments. Field rules are those of apimachinery's ``ObjectMeta`` validation. Further rules for
names of built-in kinds are in validation_builtin.py.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from localcluster.server import cause, errors
from localcluster.server.cause import Cause
from localcluster.server.types import Object, ResourceType

MAX_ANNOTATION_BYTES: Final = 256 * 1024
MAX_NAME_LENGTH: Final = 253
MAX_GENERATED_BASE: Final = 58
"""``generateName`` is cut so that the name with five random characters is a DNS label of at most 63."""
FOREGROUND_FINALIZER: Final = "foregroundDeletion"
ORPHAN_FINALIZER: Final = "orphan"

_STANDARD_FINALIZERS: Final = frozenset({FOREGROUND_FINALIZER, ORPHAN_FINALIZER, "kubernetes"})

_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
"""The alphabet of Kubernetes: without vowels and look-alikes, so that no words appear."""
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_QUALIFIED_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_LABEL_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "name": str, "generateName": str, "namespace": str, "selfLink": str, "uid": str, "resourceVersion": str,
    "generation": int, "creationTimestamp": str, "deletionTimestamp": str, "deletionGracePeriodSeconds": int,
    "labels": dict, "annotations": dict, "ownerReferences": list, "finalizers": list, "managedFields": list,
}  # fmt: skip
_IMMUTABLE: Final = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


class UndecodableError(ValueError):
    """A value cannot be read as its expected kind; the text names the field."""


def normalize(obj: Object) -> Object:
    """Check the shape of ``metadata`` and drop null or empty fields, in place; returns the metadata.

    Raises:
        UndecodableError: a field has a wrong type.
    """
    metadata = obj.setdefault("metadata", {})
    if metadata is None:
        metadata = obj["metadata"] = {}
    if not isinstance(metadata, dict):
        raise _undecodable("metadata", "an object")
    for name, value in list(metadata.items()):
        expected = _TYPES.get(name)
        if value is None:
            del metadata[name]
            continue
        if expected is None:
            continue
        if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
            raise _undecodable(f"metadata.{name}", _TYPE_NAMES[expected])
        if expected is not int and not value:
            del metadata[name]
    for name in ("labels", "annotations"):
        for key, value in metadata.get(name, {}).items():
            if value is None:
                metadata[name] = {key: "" if value is None else value for key, value in metadata[name].items()}
            elif not isinstance(value, str):
                raise _undecodable(f"metadata.{name}.{key}", "string")
    _check_items(metadata)
    return metadata


def generated_name(base: str) -> str:
    """``base`` and five random characters."""
    suffix = "".join(random.choices(_ALPHABET, k=5))  # noqa: S311 - uniqueness, not secrecy
    return base[:MAX_GENERATED_BASE] + suffix


def check_namespace(metadata: Object, resource: ResourceType, namespace: str | None) -> None:
    """Fill in the request's namespace when the object names none.

    Raises:
        StatusError: 400, they differ, or a cluster-scoped object names one.
    """
    given = metadata.get("namespace", "")
    wanted = (namespace or "") if resource.namespaced else ""
    if given and given != wanted:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if wanted:
        metadata["namespace"] = wanted


def fill_created(metadata: Object, *, created_at: str, uid: str) -> None:
    """Set the system fields of a new object; values that the client sent for them are discarded."""
    for name in ("selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"):
        metadata.pop(name, None)
    metadata["uid"] = uid
    metadata["creationTimestamp"] = created_at


def carry_over(metadata: Object, old: Object) -> None:
    """Restore the system fields that an update cannot change from the stored metadata ``old``."""
    metadata.pop("selfLink", None)
    if "creationTimestamp" in old:
        metadata["creationTimestamp"] = old["creationTimestamp"]
    if "deletionTimestamp" in old:
        metadata["deletionTimestamp"] = old["deletionTimestamp"]
    for name in ("uid", "deletionGracePeriodSeconds"):
        if name in old and name not in metadata:
            metadata[name] = old[name]


def why_invalid(metadata: Object, resource: ResourceType) -> list[Cause]:
    """Field errors of new or changed metadata; empty when it is valid."""
    causes: list[Cause] = []
    name, generate_from = metadata.get("name", ""), metadata.get("generateName", "")
    if generate_from and (resource.custom or not resource.group.startswith("rbac.")):
        causes += _name_causes("metadata.generateName", generate_from, checked=generate_from.rstrip("-.") or "-")
    if not name:
        causes.append(cause.required("metadata.name", "name or generateName is required"))
    elif resource.custom or not resource.group.startswith("rbac."):
        causes += _name_causes("metadata.name", name)
    elif name in (".", "..") or "/" in name or "%" in name:
        causes.append(cause.invalid("metadata.name", name, "may not be '.' or '..' nor contain '/' or '%'"))
    if not resource.namespaced and "namespace" in metadata:
        causes.append(cause.forbidden("metadata.namespace", "not allowed on this type"))
    for key, value in metadata.get("labels", {}).items():
        causes += [cause.invalid("metadata.labels", key, why) for why in why_not_qualified(key)]
        causes += [cause.invalid("metadata.labels", value, why) for why in _why_not_label_value(value)]
    annotations = metadata.get("annotations", {})
    for key in annotations:
        causes += [cause.invalid("metadata.annotations", key, why) for why in why_not_qualified(key.lower())]
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > MAX_ANNOTATION_BYTES:
        causes.append(cause.too_long("metadata.annotations", MAX_ANNOTATION_BYTES))
    causes += _owner_causes(metadata.get("ownerReferences", ()))
    if not resource.custom:
        causes += _unqualified_causes(metadata.get("finalizers", ()))
    return causes + _finalizer_causes(metadata.get("finalizers", ()))


def why_invalid_change(metadata: Object, old: Object) -> list[Cause]:
    """Field errors of a change from ``old`` metadata."""
    causes: list[Cause] = []
    if "deletionTimestamp" in old:
        extra = sorted(set(metadata.get("finalizers", ())) - set(old.get("finalizers", ())))
        if extra:
            listed = ", ".join(f'"{name}"' for name in extra)
            why = (
                "no new finalizers can be added if the object is being deleted, found new finalizers "
                f"[]string{{{listed}}}"
            )
            causes.append(cause.forbidden("metadata.finalizers", why))
    changed = [name for name in _IMMUTABLE if metadata.get(name) != old.get(name)]
    return causes + [cause.invalid(f"metadata.{name}", metadata.get(name), "field is immutable") for name in changed]


def finalizer_warnings(metadata: Object, old: Object) -> list[str]:
    """Warnings about finalizers that this write adds to a custom object and that might collide with others."""
    known = old.get("finalizers", ())
    return [
        f'metadata.finalizers: "{name}": prefer a domain-qualified finalizer name including a path (/) to avoid '
        "accidental conflicts with other finalizer writers"
        for name in metadata.get("finalizers", ())
        if "/" not in name and name not in _STANDARD_FINALIZERS and name not in known
    ]


def why_not_qualified(text: str) -> list[str]:
    """Why ``text`` is not ``[prefix/]name``, the form of label keys and finalizers."""
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix or not name:
        rule = (
            "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with "
            "an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
            "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' "
            "(e.g. 'example.com/MyName')"
        )
        return ["name part must be non-empty", _QUALIFIED_RULE] if not name and "/" not in prefix else [rule]
    whys: list[str] = []
    if slash and not prefix:
        whys.append("prefix part must be non-empty")
    elif slash and (len(prefix) > MAX_NAME_LENGTH or not _SUBDOMAIN.fullmatch(prefix)):
        whys.append(f"prefix part {_SUBDOMAIN_RULE}")
    if len(name) > 63:
        whys.append("name part must be no more than 63 bytes")
    if not _QUALIFIED.fullmatch(name):
        whys.append(_QUALIFIED_RULE)
    return whys


def is_dns_label(text: str) -> bool:
    """Whether ``text`` can be the name of a namespace."""
    return len(text) <= 63 and _LABEL.fullmatch(text) is not None


def _name_causes(field: str, name: str, *, checked: str = "") -> list[Cause]:
    """Why ``name`` is not a valid name; ``checked`` is the part to check, if not the whole."""
    whys = []
    if len(name) > MAX_NAME_LENGTH:
        whys.append(f"must be no more than {MAX_NAME_LENGTH} bytes")
    if not _SUBDOMAIN.fullmatch(checked or name):
        whys.append(_SUBDOMAIN_RULE)
    return [cause.invalid(field, name, why) for why in whys]


def _why_not_label_value(value: str) -> list[str]:
    whys = []
    if len(value) > 63:
        whys.append("must be no more than 63 bytes")
    if value and not _QUALIFIED.fullmatch(value):
        whys.append(_LABEL_VALUE_RULE)
    return whys


def _owner_causes(owners: Sequence[Object]) -> list[Cause]:
    causes: list[Cause] = []
    controller = ""
    for index, owner in enumerate(owners):
        field = f"metadata.ownerReferences[{index}]"
        absent = [name for name in ("apiVersion", "kind", "name", "uid") if not owner.get(name)]
        causes += [cause.required(f"{field}.{name}", "must not be empty") for name in absent]
        if owner.get("kind") == "Event" and owner.get("apiVersion") in ("v1", "events.k8s.io/v1"):
            causes.append(
                cause.invalid(field, owner, f"{owner['apiVersion']}, Kind=Event is disallowed from being an owner")
            )
        if owner.get("controller"):
            this = f"{owner.get('kind')}/{owner.get('name')}"
            if controller:
                why = (
                    'Only one reference can have Controller set to true. Found "true" in references for '
                    f"{controller} and {this}"
                )
                causes.append(cause.invalid("metadata.ownerReferences", list(owners), why))
            controller = controller or this
    return causes


def _finalizer_causes(finalizers: Sequence[str]) -> list[Cause]:
    causes = [cause.invalid("metadata.finalizers", name, why) for name in finalizers for why in why_not_qualified(name)]
    if FOREGROUND_FINALIZER in finalizers and ORPHAN_FINALIZER in finalizers:
        why = f"finalizer {ORPHAN_FINALIZER} and {FOREGROUND_FINALIZER} cannot be both set"
        causes.append(cause.invalid("metadata.finalizers", list(finalizers), why))
    return causes


def _unqualified_causes(finalizers: Sequence[str]) -> list[Cause]:
    """Why a finalizer is refused: built-in kinds accept one without a prefix only if Kubernetes itself uses it."""
    why = "name is neither a standard finalizer name nor is it fully qualified"
    return [
        cause.invalid("metadata.finalizers", name, why)
        for name in finalizers
        if "/" not in name and name not in _STANDARD_FINALIZERS
    ]


def _check_items(metadata: Object) -> None:
    for index, owner in enumerate(metadata.get("ownerReferences", ())):
        if not isinstance(owner, dict):
            raise _undecodable(f"metadata.ownerReferences[{index}]", "an object")
        for name in ("apiVersion", "kind", "name", "uid"):
            if not isinstance(owner.get(name, ""), str):
                raise _undecodable(f"metadata.ownerReferences[{index}].{name}", "string")
    for index, finalizer in enumerate(metadata.get("finalizers", ())):
        if not isinstance(finalizer, str):
            raise _undecodable(f"metadata.finalizers[{index}]", "string")


_TYPE_NAMES: Final[Mapping[Any, str]] = {str: "string", int: "an integer", dict: "an object", list: "an array"}


def _undecodable(field: str, wanted: str) -> UndecodableError:
    return UndecodableError(f"{field} must be {wanted}")
