"""Cancel runs: one without a question, several after the user has confirmed their list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from cli.problem import CommandError
from cli.runs import find_run
from cli.selection import RunSelection, select_runs
from cli.session import Session
from cli.watching import request_cancel, wait_for
from core.api.objects import Object
from core.engine.clock import system_now
from core.kube.events import EventRecorder

REPORTER: Final = "bobrapet-cli"


async def cancel_runs(
    session: Session, wanted: Sequence[str] | RunSelection, *, reason: str, dry_run: bool, wait_seconds: float | None
) -> None:
    """Ask the operator to end the runs, by name or selected, and wait ``wait_seconds`` for it; None: do not wait.

    Raises:
        CommandError: there is no such run, the user did not confirm, or a run still goes on (code 124).
    """
    running = await _running(session, wanted)
    if not running:
        return
    names = [_shown(session, run) for run in running]
    if dry_run:
        session.console.note(f"would cancel {', '.join(names)}")
        return
    if len(running) > 1:
        session.console.note("\n".join(names))
        if not await session.console.confirm(f"cancel these {len(running)} runs?"):
            raise CommandError("nothing was canceled", remedy="confirm with --yes")
    async with trio.open_nursery() as nursery:
        events = EventRecorder(session.client, now=system_now)
        await nursery.start(events.run)
        for run in running:
            await request_cancel(session, run, reason)
            events.record(run, "Normal", "CancelRequested", reason, action="Cancel", reporting_controller=REPORTER)
        nursery.cancel_scope.cancel()
    if wait_seconds is not None:
        await wait_for(session, running, timeout=wait_seconds)


async def _running(session: Session, wanted: Sequence[str] | RunSelection) -> list[Object]:
    """The runs that have not ended; a note tells the user about named runs that have."""
    if isinstance(wanted, RunSelection):
        found = [run for run in await select_runs(session, wanted, system_now()) if not _ended(run)]
        if not found:
            session.console.note("no matching run is running")
        return found
    found = [await find_run(session, name) for name in dict.fromkeys(wanted)]
    for run in filter(_ended, found):
        session.console.note(f"{run['metadata']['name']} has ended already: {run['status'].get('phase')}")
    return [run for run in found if not _ended(run)]


def _ended(run: Object) -> bool:
    return bool((run.get("status") or {}).get("finishedAt"))


def _shown(session: Session, run: Object) -> str:
    name, namespace = run["metadata"]["name"], run["metadata"]["namespace"]
    return f"{namespace}/{name}" if session.options.all_namespaces else name
