"""``storage usage`` and ``storage sweep``: the object store of the operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import typer

from bubu_contract.instants import format_instant
from cli.completing import is_called
from cli.durations import duration_of
from cli.options import ALL_NAMESPACES, DRY_RUN, QUESTIONS, CommonOptions, DryRun, with_common_options
from cli.problem import CommandError
from cli.render.output import render
from cli.render.size import short_size
from cli.render.table import table
from cli.render.time import age
from core.payloads.orphans import Orphan, Owners, orphan_of, still_orphans
from core.payloads.place import StoredKind, StoredPlace
from core.payloads.usage import Amount, RunAmount, UsageCount

if is_called():
    from cli.interruption import run_async
    from cli.object_store import find_stores
    from cli.session import Session, open_session
    from cli.stored_objects import namespaces_of, owners_in, pages, runs_of, store_errors
    from core.engine.clock import system_now
    from core.payloads.store import PAGE_OBJECTS, Store


def register(app: typer.Typer) -> None:
    storage = typer.Typer(help="What runs have stored in the operator's object store.", no_args_is_help=True)
    storage.command("usage")(with_common_options(usage, also=ALL_NAMESPACES))
    storage.command("sweep")(with_common_options(sweep, also=ALL_NAMESPACES | QUESTIONS | DRY_RUN))
    app.add_typer(storage, name="storage")


def usage(options: CommonOptions) -> None:
    """Show how much is stored: by kind (outputs, inputs, logs, the output cache), and by run, largest first.

    The command reads on this machine, with your permissions. With -A it needs to list namespaces.
    """

    async def work() -> None:
        async with open_session(options) as session:
            await show_usage(session)

    run_async(options, work)


def sweep(
    options: CommonOptions,
    delete: Annotated[bool, typer.Option("--delete", help="Delete what was found.")] = False,
    older_than: Annotated[str, typer.Option("--older-than", help="Only objects that were written longer ago.")] = "1h",
) -> None:
    """List stored objects of runs that do not exist any more; with --delete, delete them.

    An object stays if its StepRun or StoryRun exists, if a StoryRun, StepRun or StoryTrigger of the namespace refers to
    it, directly or through another object, or if it belongs to the output cache.
    """
    grace = duration_of("--older-than", older_than) or GRACE

    async def work() -> None:
        async with open_session(options) as session:
            await sweep_store(session, delete=delete, older_than=grace)

    run_async(options, work)


_SHOWN_RUNS: Final = 20
"""Rows of the second table; ``-o wide`` shows all."""


async def show_usage(session: Session) -> None:
    """Print what is stored.

    Raises:
        CommandError: the store cannot be read.
    """
    stores, counts = await find_stores(session), list[UsageCount]()
    for namespace in await namespaces_of(session):
        count = UsageCount(namespace, await runs_of(session, namespace))
        with store_errors():
            async for page in pages(stores.of(namespace), namespace, StoredKind):
                for place, found in page:
                    count.add(place, found)
        counts.append(count)
    options = session.options
    if options.output not in ("table", "wide"):
        session.console.result(render([_document(counts)], options.output, single=True))
        return
    _print_tables(session, counts)


def _print_tables(session: Session, counts: Sequence[UsageCount]) -> None:
    options = session.options
    several = options.all_namespaces
    rows = [
        [*([count.namespace] if several else []), str(kind), str(amount.objects), short_size(amount.size_bytes)]
        for count in counts
        for kind, amount in count.by_kind.items()
        if amount.objects or not several
    ]
    headers = ["NAMESPACE"] if several else []
    session.console.result(table([*headers, "KIND", "OBJECTS", "SIZE"], rows, no_headers=options.no_headers))
    runs = _largest_first(counts)
    if not runs:
        return
    shown = runs if options.output == "wide" else runs[:_SHOWN_RUNS]
    rows = [
        [
            *([each.namespace] if several else []),
            each.run,
            "" if each.is_known else "no such run",
            str(each.amount.objects),
            short_size(each.amount.size_bytes),
        ]
        for each in shown
    ]
    session.console.line("", "")
    session.console.result(table([*headers, "RUN", "", "OBJECTS", "SIZE"], rows, no_headers=options.no_headers))
    if len(runs) > len(shown):
        session.console.note(f"{len(runs) - len(shown)} smaller ones are not shown; show all with -o wide")


def _largest_first(counts: Sequence[UsageCount]) -> list[RunAmount]:
    runs = [each for count in counts for each in count.by_run]
    return sorted(runs, key=lambda each: (-each.amount.size_bytes, each.namespace, each.run))


def _document(counts: Sequence[UsageCount]) -> dict[str, Any]:
    return {
        "kinds": [
            {"namespace": count.namespace, "kind": str(kind), **_numbers(amount)}
            for count in counts
            for kind, amount in count.by_kind.items()
        ],
        "runs": [
            {"namespace": each.namespace, "run": each.run, "exists": each.is_known, **_numbers(each.amount)}
            for each in _largest_first(counts)
        ],
    }


def _numbers(amount: Amount) -> dict[str, int]:
    return {"objects": amount.objects, "bytes": amount.size_bytes}


GRACE: Final = timedelta(hours=1)
_KINDS: Final = (StoredKind.OUTPUTS, StoredKind.INPUTS, StoredKind.LOGS)


@dataclass(frozen=True, slots=True)
class _Found:
    """The orphans of one namespace."""

    namespace: str
    store: Store
    orphans: list[Orphan]


async def sweep_store(session: Session, *, delete: bool, older_than: timedelta) -> None:
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
        session.console.result(render([_sweep_document(each) for each in orphans], options.output, single=False))
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


def _sweep_document(orphan: Orphan) -> dict[str, Any]:
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
