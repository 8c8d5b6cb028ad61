"""``cancel``: ask the operator to end runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import typer

from cli.arguments import ManyRunsArgument, OlderOption, PhaseOption, SelectorOption, SinceOption, StoryOption
from cli.completing import is_called
from cli.durations import seconds_of
from cli.options import ALL_NAMESPACES, DRY_RUN, QUESTIONS, CommonOptions, DryRun, with_common_options
from cli.problem import CommandError, UsageError
from core.api.objects import Object

if is_called():
    import trio

    from cli.interruption import InterruptedBySignalError, run_async
    from cli.runs import find_run
    from cli.selection import RunSelection, select_runs
    from cli.session import Session, open_session
    from cli.watching import request_cancel, wait_for
    from core.engine.clock import system_now
    from core.kube.events import EventRecorder


def register(app: typer.Typer) -> None:
    app.command("cancel")(with_common_options(cancel, also=ALL_NAMESPACES | QUESTIONS | DRY_RUN))


def cancel(
    options: CommonOptions,
    runs: ManyRunsArgument = None,
    reason: Annotated[
        str, typer.Option("--message", "-m", help="The reason; it is recorded on the run and in an Event.")
    ] = "",
    story: StoryOption = "",
    selector: SelectorOption = "",
    phase: PhaseOption = "",
    since: SinceOption = "",
    older: OlderOption = "",
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for the steps to end.")] = False,
    timeout: Annotated[str, typer.Option("--timeout", help="Wait at most this long for the steps to end.")] = "2m",
) -> None:
    """Cancel runs: the operator asks running steps to stop, and stops them after a grace period.

    Name the runs, or select them with --story, --phase, --selector, --since and --older.
    """
    selection = RunSelection.of_flags(story, phase, selector, since, older)
    if bool(runs) is not selection.is_everything:
        raise UsageError(
            "give either RUN or flags that select runs", remedy="for example: bobrapet cancel --story nightly-report"
        )
    seconds = None if no_wait else seconds_of("--timeout", timeout)

    async def work() -> None:
        async with open_session(options) as session:
            await cancel_runs(
                session,
                runs or selection,
                reason=reason,
                dry_run=options.dry_run is not DryRun.NONE,
                wait_seconds=seconds,
            )

    try:
        run_async(options, work)
    except InterruptedBySignalError as interruption:
        raise typer.Exit(int(interruption.code)) from None


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
