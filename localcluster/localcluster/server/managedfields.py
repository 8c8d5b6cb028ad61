"""Who owns which field: every write keeps ``metadata.managedFields`` up to date, as kube-apiserver does.

Pure. An update takes ownership of the fields it changes and releases those it removes; several updates by one manager
share an entry. Not here: applies (apply.py). Source: apimachinery ``managedfields``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from weakref import WeakKeyDictionary

from localcluster.clock import to_time
from localcluster.server import fieldset, typed
from localcluster.server.fieldset import FieldSet
from localcluster.server.options import WriteOptions
from localcluster.server.types import Object, ResourceType

UPDATE: Final = "Update"
APPLY: Final = "Apply"
MAX_UPDATE_MANAGERS: Final = 10
"""If there are more update entries, the oldest are folded into one with the name ``ancient-changes``."""
ANCIENT: Final = "ancient-changes"

_UNOWNED: Final = (
    ("f:apiVersion",),
    ("f:kind",),
    ("f:metadata",),
    *(
        ("f:metadata", f"f:{name}")
        for name in (
            "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields",
            "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds",
        )
    ),
)  # fmt: skip
_schemas: WeakKeyDictionary[ResourceType, typed.Schema] = WeakKeyDictionary()


@dataclass(frozen=True)
class Entry:
    """One manager's fields; ``time`` says when it last changed them."""

    manager: str
    operation: str
    api_version: str
    time: str
    fields: FieldSet
    subresource: str = ""

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """Entries with the same identity are one; for an apply the version does not count."""
        version = "" if self.operation == APPLY else self.api_version
        return self.manager, self.operation, version, self.subresource


def schema_of(resource: ResourceType) -> typed.Schema:
    """The schema for field ownership."""
    found = _schemas.get(resource)
    if found is None:
        schema = resource.schema if resource.custom else _with_protocol_default(resource.schema)
        found = _schemas[resource] = typed.root_schema(schema)
    return found


def _with_protocol_default(schema: Any) -> Any:
    """A built-in schema with TCP as the default protocol of ports: with or without it, they are the same item."""
    if isinstance(schema, list):
        return [_with_protocol_default(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    walked = {name: _with_protocol_default(item) for name, item in schema.items()}
    if "protocol" in (walked.get("x-kubernetes-list-map-keys") or ()):
        items = walked["items"]
        properties = {**items["properties"], "protocol": {**items["properties"]["protocol"], "default": "TCP"}}
        walked["items"] = {**items, "properties": properties}
    return walked


def owned(fields: FieldSet) -> FieldSet:
    """``fields`` without those that the system owns."""
    return fieldset.without_paths(fields, _UNOWNED)


def read(entries: Any) -> list[Entry] | None:
    """The entries of an object's ``managedFields``; None when they cannot be read."""
    if not isinstance(entries, list):
        return None
    found = []
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("operation") not in (UPDATE, APPLY):
            return None
        fields = entry.get("fieldsV1")
        if entry.get("fieldsType") != "FieldsV1" or not isinstance(fields, dict):
            return None
        found.append(
            Entry(
                manager=entry.get("manager") or "",
                operation=entry["operation"],
                api_version=entry.get("apiVersion") or "",
                time=entry.get("time") or "",
                fields=fields,
                subresource=entry.get("subresource") or "",
            )
        )
    return found


def write(entries: Iterable[Entry]) -> list[Object]:
    """``managedFields`` of these entries, in the order of the real server: applies first, then by time."""
    ordered = sorted(entries, key=lambda e: (e.operation, e.time, e.manager, e.api_version, e.subresource))
    written = []
    for entry in ordered:
        fields: Object = {"manager": entry.manager, "operation": entry.operation, "apiVersion": entry.api_version}
        if entry.time:
            fields["time"] = entry.time
        fields |= {"fieldsType": "FieldsV1", "fieldsV1": entry.fields}
        if entry.subresource:
            fields["subresource"] = entry.subresource
        written.append(fields)
    return written


def with_fields(entry: Entry, fields: FieldSet) -> Entry:
    """A copy of ``entry`` that owns ``fields``."""
    return Entry(entry.manager, entry.operation, entry.api_version, entry.time, fields, entry.subresource)


def with_entries(obj: Object, entries: list[Object]) -> Object:
    """``obj`` with these ``managedFields``; it shares everything else with ``obj``."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    if entries:
        metadata["managedFields"] = entries
    return {**obj, "metadata": metadata}


def after_update(
    obj: Object, current: Object | None, resource: ResourceType, subresource: str, options: WriteOptions, now: datetime
) -> Object:
    """``obj`` with ``managedFields`` that show what this create or update changed.

    Args:
        obj: what the client wants, with the ``managedFields`` it sent, if any: a client may rewrite them on purpose.
        current: the stored object; None on a create.
    """
    sent = obj["metadata"].get("managedFields")
    stored = current["metadata"].get("managedFields") or [] if current is not None else []
    if current is not None and sent == [{}]:
        return with_entries(obj, [])
    given = read(sent) if sent and not subresource else None
    entries = given if given else read(stored) or []
    before: Object = current if current is not None else _blank(obj, resource)
    comparison = typed.compare(before, obj, schema_of(resource))
    changed, removed = owned(comparison.changed), comparison.removed
    if not changed and not removed and current is not None:
        return with_entries(obj, sent if given else stored)
    mine = Entry(
        manager=options.field_manager or options.user.name.rpartition(":")[2],
        operation=UPDATE,
        api_version=resource.api_version,
        time=to_time(now),
        fields=changed,
        subresource=subresource,
    )
    return with_entries(obj, write(_capped(_taken_over(entries, mine, removed))))


def same_but_for_times(obj: Object, current: Object) -> bool:
    """Whether a write would change nothing but the times in ``managedFields``."""
    mine, theirs = obj["metadata"], current["metadata"]
    if {k: v for k, v in obj.items() if k != "metadata"} != {k: v for k, v in current.items() if k != "metadata"}:
        return False
    if mine == theirs:
        return True
    rest = [{k: v for k, v in metadata.items() if k != "managedFields"} for metadata in (mine, theirs)]
    if rest[0] != rest[1]:
        return False
    timeless = [
        [{k: v for k, v in entry.items() if k != "time"} for entry in metadata.get("managedFields", ())]
        for metadata in (mine, theirs)
    ]
    return bool(timeless[0] == timeless[1])


def _taken_over(entries: list[Entry], mine: Entry, removed: FieldSet) -> list[Entry]:
    """The entries after ``mine`` has taken its fields from all others and joined its manager's earlier entry."""
    left: list[Entry] = []
    joined = mine.fields
    for entry in entries:
        fields = fieldset.difference(fieldset.difference(entry.fields, mine.fields), removed)
        if entry.identity == mine.identity and mine.fields:
            joined = fieldset.union(fields, joined)
        elif fields:
            left.append(with_fields(entry, fields))
    if joined:
        left.append(with_fields(mine, joined))
    return left


def _capped(entries: list[Entry]) -> list[Entry]:
    updates = sorted((entry for entry in entries if entry.operation == UPDATE), key=lambda entry: entry.time)
    excess = len(updates) - MAX_UPDATE_MANAGERS
    if excess <= 0:
        return entries
    folded: dict[tuple[str, str, str, str], Entry] = {}
    for entry in updates[: excess + 1]:
        ancient = Entry(ANCIENT, UPDATE, entry.api_version, entry.time, entry.fields)
        earlier = folded.get(ancient.identity)
        fields = fieldset.union(earlier.fields, ancient.fields) if earlier else ancient.fields
        folded[ancient.identity] = with_fields(ancient, fields)
    kept = updates[excess + 1 :]
    return [entry for entry in entries if entry.operation == APPLY] + kept + list(folded.values())


def _blank(obj: Object, resource: ResourceType) -> Object:
    """The object to which a create is compared; built-in kinds have a ``spec`` and ``status`` even if empty."""
    blank: Object = {"metadata": {}}
    if not resource.custom:
        blank |= {name: {} for name in ("spec", "status") if isinstance(obj.get(name), dict)}
    return blank
