"""Server-side apply: merges the applied configuration into the live object, with ownership and conflicts.

Pure. A field that this manager applied last time and leaves out now is removed, unless another manager owns it. If the
configuration would change a field of another manager, that is a conflict, unless forced. Source: structured-merge-diff
``merge.Updater``.
"""

from __future__ import annotations

from datetime import datetime

from localcluster.clock import to_time
from localcluster.server import errors, fieldset, managedfields, typed
from localcluster.server.cause import Cause
from localcluster.server.fieldset import FieldSet
from localcluster.server.managedfields import APPLY, Entry
from localcluster.server.options import WriteOptions
from localcluster.server.types import Object, ResourceType


def apply(
    live: Object | None,
    config: Object,
    resource: ResourceType,
    subresource: str,
    options: WriteOptions,
    now: datetime,
) -> Object:
    """The live object with ``config`` applied and ``managedFields`` up to date; it shares parts with both.

    Raises:
        StatusError: 409, fields of other managers would change and ``options.force`` is off; 400, ``config`` carries
            managedFields or names a list item twice.
    """
    if config["metadata"].get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")
    schema = managedfields.schema_of(resource)
    entries = managedfields.read(live["metadata"].get("managedFields") or []) or [] if live is not None else []
    base = managedfields.with_entries(live, []) if live is not None else _blank(config)
    claimed = typed.field_set(config, schema)
    mine = Entry(
        manager=options.field_manager,
        operation=APPLY,
        api_version=resource.api_version,
        time=to_time(now),
        fields=managedfields.owned(claimed),
        subresource=subresource,
    )
    earlier = next((entry for entry in entries if entry.identity == mine.identity), None)
    others = [entry for entry in entries if entry.identity != mine.identity]
    try:
        merged = typed.merge(base, config, schema)
    except typed.UntypedError as error:
        raise errors.unclassified(f"failed to create typed patch object ({_where(config)}): {error}") from error
    if earlier is not None:
        merged = _pruned(merged, earlier.fields, [claimed, *(entry.fields for entry in others)], schema)
    comparison = typed.compare(base, merged, schema)
    others = _settle(others, comparison, options)
    if earlier is not None and earlier.fields == mine.fields and not comparison.changed and not comparison.removed:
        mine = earlier
    entries = [*others, mine] if mine.fields else others
    return managedfields.with_entries(merged, managedfields.write(entries))


def refuse_unknown(config: Object, unknown: list[str]) -> None:
    """Refuse an apply with fields that the schema does not declare, whatever the field validation.

    Raises:
        StatusError: 500, as the real server answers; there are such fields.
    """
    if unknown:
        problems = ", ".join(f".{path}: field not declared in schema" for path in unknown)
        raise errors.unclassified(f"failed to create typed patch object ({_where(config)}): {problems}")


def _where(config: Object) -> str:
    metadata = config["metadata"]
    name = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
    group, _, version = config["apiVersion"].rpartition("/")
    return f"{name}; {group}/{version}, Kind={config['kind']}"


def _pruned(merged: Object, last: FieldSet, owned: list[FieldSet], schema: typed.Schema) -> Object:
    """``merged`` without the fields that were applied last time and that no manager claims any more.

    ``owned`` must hold all fields of the configuration, its name and kind included, so that these are never pruned.
    """
    everyone: FieldSet = {}
    for fields in owned:
        everyone = fieldset.union(everyone, fields)
    named = typed.with_named_members
    last_named = named(last, schema)
    all_fields = named(typed.field_set(merged, schema), schema)
    left = typed.remove(merged, last_named, schema) or {}
    left_fields = named(typed.field_set(left, schema), schema)
    unclaimed = fieldset.difference(all_fields, fieldset.union(left_fields, named(everyone, schema)))
    kept = typed.remove(merged, unclaimed, schema) or {}
    kept_fields = named(typed.field_set(kept, schema), schema)
    gone = fieldset.intersection(fieldset.difference(all_fields, kept_fields), last_named)
    result: Object = typed.remove(merged, gone, schema) if gone else merged
    return result


def _settle(others: list[Entry], comparison: typed.Comparison, options: WriteOptions) -> list[Entry]:
    """The other managers' entries after the change.

    Raises:
        StatusError: 409, one of them owns a changed field and force is off.
    """
    conflicts = [
        (entry, overlap) for entry in others if (overlap := fieldset.intersection(entry.fields, comparison.changed))
    ]
    if conflicts and not options.force:
        raise _conflict(conflicts)
    settled = []
    for entry in others:
        fields = fieldset.difference(fieldset.difference(entry.fields, comparison.changed), comparison.removed)
        if fields:
            settled.append(managedfields.with_fields(entry, fields))
    return settled


def _conflict(conflicts: list[tuple[Entry, FieldSet]]) -> errors.StatusError:
    causes: list[Cause] = []
    for entry, fields in sorted(conflicts, key=lambda item: item[0].manager):
        who = f'"{entry.manager}"'
        if entry.subresource:
            who += f' with subresource "{entry.subresource}"'
        if entry.operation != APPLY:
            who += f" using {entry.api_version}"
        causes += [Cause("FieldManagerConflict", f"conflict with {who}", path) for path in fieldset.paths(fields)]
    if len(causes) == 1:
        return errors.apply_conflict(f"Apply failed with 1 conflict: {causes[0].message}: {causes[0].field}", causes)
    lines: list[str] = []
    previous = ""
    for found in causes:
        if found.message != previous:
            lines.append(found.message.replace("conflict with", "conflicts with", 1) + ":")
            previous = found.message
        lines.append(f"- {found.field}")
    return errors.apply_conflict(f"Apply failed with {len(causes)} conflicts: " + "\n".join(lines), causes)


def _blank(config: Object) -> Object:
    return {"apiVersion": config["apiVersion"], "kind": config["kind"], "metadata": {}}
