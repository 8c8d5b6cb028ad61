"""``cache list`` and ``cache clear``: the output cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import typer

from bubu_contract.instants import format_instant
from cli.completing import is_called
from cli.options import ALL_NAMESPACES, DRY_RUN, QUESTIONS, CommonOptions, DryRun, TimeStyle, with_common_options
from cli.problem import CommandError, UsageError
from cli.render.output import render
from cli.render.size import short_size
from cli.render.table import table
from cli.render.time import age, time_left
from core.payloads.errors import ObjectMissingError, PayloadError, StoreUnavailableError
from core.payloads.place import StoredKind

if is_called():
    from cli.interruption import run_async
    from cli.object_store import find_stores
    from cli.session import Session, open_session
    from cli.stored_objects import OBJECT_BYTES, namespaces_of, pages, store_errors
    from core.engine.clock import system_now
    from core.payloads.referred import reachable_from
    from core.payloads.several import for_several
    from core.payloads.store import PAGE_OBJECTS, Store, StoredObject
    from core.workloads.cache_entry import CachedEntry, CacheSelection, entry_of, is_entry, is_part


EngramOption = Annotated[str, typer.Option("--engram", help="Only entries of this Engram.")]


def register(app: typer.Typer) -> None:
    cache = typer.Typer(
        help="Cached outputs of steps. An equal step takes the cached output instead of running.", no_args_is_help=True
    )
    cache.command("list")(with_common_options(list_entries, also=ALL_NAMESPACES))
    cache.command("clear")(with_common_options(clear, also=ALL_NAMESPACES | QUESTIONS | DRY_RUN))
    app.add_typer(cache, name="cache")


def list_entries(options: CommonOptions, engram: EngramOption = "") -> None:
    """List the entries of the output cache, newest first: Engram, version, key, size, expiry, and the run that made it.

    The command reads on this machine, with your permissions. -o wide adds the StepRun and the whole key.
    """

    async def work() -> None:
        async with open_session(options) as session:
            await list_cache(session, CacheSelection(engram))

    run_async(options, work)


def clear(
    options: CommonOptions,
    engram: EngramOption = "",
    version: Annotated[str, typer.Option("--version", help="Only entries of this version of the Engram.")] = "",
    key: Annotated[str, typer.Option("--key", help="Only the entry with this key; a prefix is enough.")] = "",
    expired: Annotated[bool, typer.Option("--expired", help="Only entries that have expired.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="All entries of the namespace.")] = False,
) -> None:
    """Delete entries of the output cache; steps execute again. Asks first; --dry-run=client lists them.

    An entry must meet all conditions. Data stored beside entries is deleted with the last entry that refers to it.
    """
    selection = CacheSelection(engram, version, key.lower(), expired)
    if everything is not (selection == CacheSelection()):
        raise UsageError(
            "give either --all or conditions", remedy="for example: bobrapet cache clear --engram embed-texts --expired"
        )

    async def work() -> None:
        async with open_session(options) as session:
            await clear_cache(session, selection)

    run_async(options, work)


_ENTRY_BYTES: Final = 4 * 1024 * 1024
"""The operator reads no larger entry."""
_AT_ONCE: Final = 4
_GRACE: Final = timedelta(hours=1)
"""An object to which no entry refers may belong to an entry that is being made."""


@dataclass(frozen=True, slots=True)
class _Cache:
    """The cache of one namespace."""

    store: Store
    entries: list[CachedEntry]
    parts: list[StoredObject]


async def list_cache(session: Session, selection: CacheSelection) -> None:
    """Print the selected entries, newest first.

    Raises:
        CommandError: the store cannot be read.
    """
    now, entries = system_now(), list[CachedEntry]()
    stores = await find_stores(session)
    with store_errors():
        for namespace in await namespaces_of(session):
            found = await _read(stores.of(namespace), namespace)
            entries += (entry for entry in found.entries if selection.takes(entry, now))
    if entries or session.options.output not in ("table", "wide"):
        session.console.result(_shown(session, entries, now))
    else:
        session.console.note("no such entry is in the output cache")


async def clear_cache(session: Session, selection: CacheSelection) -> None:
    """Delete the selected entries after a question, and what only they refer to.

    Raises:
        CommandError: the store cannot be read or refuses the deletion, or the user did not confirm it.
    """
    now, stores = system_now(), await find_stores(session)
    namespaces = await namespaces_of(session)
    with store_errors():
        caches = {namespace: await _read(stores.of(namespace), namespace) for namespace in namespaces}
    wanted = {
        namespace: [entry for entry in cache.entries if selection.takes(entry, now)]
        for namespace, cache in caches.items()
    }
    entries = [entry for found in wanted.values() for entry in found]
    if not entries:
        session.console.note("no such entry is in the output cache")
        return
    if session.options.dry_run is not DryRun.NONE:
        session.console.result(_shown(session, entries, now))
        session.console.note(f"would delete {_total(entries)}")
        return
    if not await session.console.confirm(f"delete {_total(entries)} of the output cache?"):
        raise CommandError("nothing was deleted", remedy="confirm with --yes")
    with store_errors():
        for namespace, found in wanted.items():
            await _delete(caches[namespace].store, namespace, found, now)
    session.console.note(f"deleted {_total(entries)}")


async def _delete(store: Store, namespace: str, entries: Sequence[CachedEntry], began_at: datetime) -> None:
    """Delete entries first: an entry without its objects would be a damaged one."""
    if not entries:
        return
    theirs = await _reached(store, namespace, entries)
    await _delete_keys(store, [entry.found.key for entry in entries])
    rest = await _read(store, namespace)
    kept = await _reached(store, namespace, rest.entries)
    loose = [
        part.key
        for part in rest.parts
        if part.key not in kept
        and part.modified_at < began_at
        and (part.key in theirs or part.modified_at < began_at - _GRACE)
    ]
    await _delete_keys(store, loose)


async def _delete_keys(store: Store, wanted: Sequence[str]) -> None:
    for start in range(0, len(wanted), PAGE_OBJECTS):
        await store.delete(wanted[start : start + PAGE_OBJECTS])


async def _reached(store: Store, namespace: str, entries: Sequence[CachedEntry]) -> frozenset[str]:
    roots = {key for entry in entries for key in entry.referred}
    return await reachable_from(roots, store, namespace=namespace, object_bytes=OBJECT_BYTES)


async def _read(store: Store, namespace: str) -> _Cache:
    entries, parts = list[CachedEntry](), list[StoredObject]()
    async for page in pages(store, namespace, [StoredKind.CACHE]):
        objects = [each for _, each in page]
        parts += filter(is_part, objects)
        entries += await _entries(store, [each for each in objects if is_entry(each)])
    return _Cache(store, sorted(entries, key=lambda entry: entry.stored_at, reverse=True), parts)


async def _entries(store: Store, objects: Sequence[StoredObject]) -> list[CachedEntry]:
    async def read(each: StoredObject) -> CachedEntry | None:
        try:
            return entry_of(each, await store.read(each.key, _ENTRY_BYTES))
        except ObjectMissingError:
            return None  # it has gone since
        except PayloadError:
            return entry_of(each, None)

    found = await for_several(objects, read, at_once=_AT_ONCE, failures=(StoreUnavailableError,))
    return [entry for entry in found if entry is not None]


def _shown(session: Session, entries: Sequence[CachedEntry], now: datetime) -> str:
    """The entries in the output format of the flags.

    Raises:
        UsageError: there is no such format.
    """
    options = session.options
    if options.output == "name":
        return "\n".join(entry.found.key for entry in entries)
    if options.output not in ("table", "wide"):
        return render([_document(entry, now) for entry in entries], options.output, single=False)
    several, wide, iso = options.all_namespaces, options.output == "wide", options.time_style is TimeStyle.ISO
    rows = [
        [
            *([entry.namespace] if several else []),
            entry.engram,
            entry.version,
            entry.digest if wide else entry.digest[:12],
            short_size(entry.found.size_bytes),
            age(entry.stored_at, now, iso=iso),
            _standing(entry, now, iso=iso),
            entry.story_run,
            *([entry.step_run] if wide else []),
        ]
        for entry in entries
    ]
    headers = [*(["NAMESPACE"] if several else []), "ENGRAM", "VERSION", "KEY", "SIZE", "AGE", "EXPIRES", "RUN"]
    return table([*headers, *(["STEPRUN"] if wide else [])], rows, no_headers=options.no_headers)


def _standing(entry: CachedEntry, now: datetime, *, iso: bool) -> str:
    if entry.problem:
        return "damaged"
    return "expired" if entry.is_expired(now) else time_left(entry.expires_at, now, iso=iso)


def _document(entry: CachedEntry, now: datetime) -> dict[str, Any]:
    """An entry as data: all fields are always present; instants are RFC 3339, null if there is none."""
    return {
        "namespace": entry.namespace,
        "engram": entry.engram,
        "version": entry.version,
        "key": entry.digest,
        "object": entry.found.key,
        "bytes": entry.found.size_bytes,
        "storedAt": format_instant(entry.stored_at),
        "expiresAt": format_instant(entry.expires_at) if entry.expires_at else None,
        "expired": entry.is_expired(now),
        "storyRun": entry.story_run,
        "stepRun": entry.step_run,
        "problem": entry.problem,
    }


def _total(entries: Sequence[CachedEntry]) -> str:
    size = short_size(sum(entry.found.size_bytes for entry in entries))
    return f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'} ({size})"
