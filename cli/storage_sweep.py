"""Finds and deletes what runs have stored that do not exist any more.

The store is listed first, and then the cluster is asked what exists and refers to what. So an object to which a new run
refers in between is kept. Before the deletion the cluster is asked again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from bubu_contract.instants import format_instant
from cli.object_store import find_stores
from cli.options import DryRun
from cli.problem import CommandError
from cli.render.output import render
from cli.render.size import short_size
from cli.render.table import table
from cli.render.time import age
from cli.session import Session
from cli.stored_objects import namespaces_of, owners_in, pages, runs_of, store_errors
from core.engine.clock import system_now
from core.payloads.orphans import Orphan, Owners, orphan_of, still_orphans
from core.payloads.place import StoredKind, StoredPlace
from core.payloads.store import PAGE_OBJECTS, Store

GRACE: Final = timedelta(hours=1)
_KINDS: Final = (StoredKind.OUTPUTS, StoredKind.INPUTS, StoredKind.LOGS)


@dataclass(frozen=True, slots=True)
class _Found:
    """The orphans of one namespace."""

    namespace: str
    store: Store
    orphans: list[Orphan]


async def sweep(session: Session, *, delete: bool, older_than: timedelta) -> None:
    """Print the objects that no run owns or refers to, and delete them if wanted.

    Raises:
        CommandError: the store or the cluster cannot be read, the store refuses the deletion, or the user did not
            confirm it.
    """
    stores, now = await find_stores(session), system_now()
    found = []
    with store_errors():
        for namespace in await namespaces_of(session):
            store = stores.of(namespace)
            found.append(_Found(namespace, store, await _orphans(session, namespace, store, now - older_than)))
    orphans = [each for part in found for each in part.orphans]
    _print(session, orphans, now)
    if not orphans or not delete:
        if orphans:
            session.console.note(f"would delete {_total(orphans)}; delete them with --delete")
        return
    if session.options.dry_run is not DryRun.NONE:
        session.console.note(f"would delete {_total(orphans)}")
        return
    if not await session.console.confirm(f"delete {_total(orphans)}?"):
        raise CommandError("nothing was deleted", remedy="confirm with --yes")
    with store_errors():
        gone = [each for part in found for each in await _delete(session, part)]
    session.console.note(f"deleted {_total(gone)}")


async def _orphans(session: Session, namespace: str, store: Store, older_than: datetime) -> list[Orphan]:
    owners = Owners(frozenset(await runs_of(session, namespace)))
    found = list[Orphan]()
    async for page in pages(store, namespace, _KINDS):
        candidates = (orphan_of(place, each, owners, older_than) for place, each in page)
        found += (candidate for candidate in candidates if candidate is not None)
    return await _confirmed(session, namespace, store, found)


async def _delete(session: Session, found: _Found) -> list[Orphan]:
    """Returns what was deleted; a question may have taken long, so what exists is asked again."""
    orphans = await _confirmed(session, found.namespace, found.store, found.orphans)
    for start in range(0, len(orphans), PAGE_OBJECTS):
        await found.store.delete([each.found.key for each in orphans[start : start + PAGE_OBJECTS]])
    return orphans


async def _confirmed(session: Session, namespace: str, store: Store, orphans: list[Orphan]) -> list[Orphan]:
    owners = await owners_in(session, namespace, store) if orphans else Owners(frozenset())
    return still_orphans(orphans, owners)


def _print(session: Session, orphans: Sequence[Orphan], now: datetime) -> None:
    options = session.options
    if options.output == "name":
        session.console.result("\n".join(each.found.key for each in orphans))
        return
    if options.output not in ("table", "wide"):
        session.console.result(render([_document(each) for each in orphans], options.output, single=False))
        return
    if not orphans:
        session.console.note("every stored object belongs to a run")
        return
    groups: dict[StoredPlace, list[Orphan]] = {}
    for each in orphans:
        groups.setdefault(each.place, []).append(each)
    rows = [
        [
            *([place.namespace] if options.all_namespaces else []),
            place.owner,
            str(place.kind),
            str(len(group)),
            short_size(sum(each.found.size_bytes for each in group)),
            age(max(each.found.modified_at for each in group), now),
        ]
        for place, group in sorted(groups.items(), key=lambda item: (item[0].namespace, item[0].owner, item[0].kind))
    ]
    headers = [*(["NAMESPACE"] if options.all_namespaces else []), "OWNER", "KIND", "OBJECTS", "SIZE", "AGE"]
    session.console.result(table(headers, rows, no_headers=options.no_headers))


def _document(orphan: Orphan) -> dict[str, Any]:
    return {
        "namespace": orphan.place.namespace,
        "owner": orphan.place.owner,
        "kind": str(orphan.place.kind),
        "key": orphan.found.key,
        "bytes": orphan.found.size_bytes,
        "modifiedAt": format_instant(orphan.found.modified_at),
    }


def _total(orphans: Sequence[Orphan]) -> str:
    size = short_size(sum(each.found.size_bytes for each in orphans))
    return f"{len(orphans)} object{'s' if len(orphans) != 1 else ''} ({size})"
