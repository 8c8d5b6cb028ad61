"""How much the runs of a namespace have stored: by kind, and by run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cli.object_store import find_stores
from cli.render.output import render
from cli.render.size import short_size
from cli.render.table import table
from cli.session import Session
from cli.stored_objects import namespaces_of, pages, runs_of, store_errors
from core.payloads.place import StoredKind
from core.payloads.usage import Amount, RunAmount, UsageCount

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
