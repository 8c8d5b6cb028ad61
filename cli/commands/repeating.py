"""``retry`` and ``resubmit``: run a run again, or start another one like it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.arguments import (
    CancelOnInterrupt,
    ExitOnGate,
    FromOption,
    InputPairs,
    InputsFile,
    NoCache,
    ReuseCache,
    RunArgument,
    TimeoutOption,
)
from cli.options import DRY_RUN, QUESTIONS, CommonOptions, DryRun, with_common_options
from cli.problem import UsageError

WaitOption = Annotated[
    bool, typer.Option("--wait", help="Wait until the run has ended; exit with the code of its phase.")
]
WatchOption = Annotated[bool, typer.Option("--watch", help="Like --wait, and show progress.")]
LogsOption = Annotated[bool, typer.Option("--logs", help="Like --wait, and print the logs of every step.")]


def register(app: typer.Typer) -> None:
    app.command("retry")(with_common_options(retry, also=QUESTIONS | DRY_RUN))
    app.command("resubmit")(with_common_options(resubmit, also=QUESTIONS | DRY_RUN))


def retry(
    options: CommonOptions,
    run: RunArgument,
    from_step: FromOption = "",
    failed: Annotated[bool, typer.Option("--failed", help="Start with the step that failed.")] = False,
    wait: WaitOption = False,
    watch: WatchOption = False,
    logs: LogsOption = False,
    timeout: TimeoutOption = "",
    exit_on_gate: ExitOnGate = False,
    cancel_on_interrupt: CancelOnInterrupt = False,
) -> None:
    """Execute a run again with the same inputs: all steps, or one step and the steps that depend on it.

    The steps run again with the Story as it is now. --dry-run=client shows which would run again and which are kept.
    """
    from cli.durations import seconds_of
    from cli.exit_code import ExitCode
    from cli.interruption import run_async
    from cli.retrying import ask_for, confirm, description_of, prepare, until_begun
    from cli.runs import find_run
    from cli.session import open_session
    from cli.watching import Watched, exit_after, stay

    if failed and from_step:
        raise UsageError("--failed and --from exclude each other", remedy="leave out one of them")
    seconds, watched = seconds_of("--timeout", timeout), Watched()

    async def work() -> ExitCode:
        async with open_session(options) as session:
            found = await find_run(session, run)
            step, rerun = await prepare(session, found, from_step, failed)
            if options.dry_run is DryRun.CLIENT:
                session.console.result(description_of(rerun))
                return ExitCode.DONE
            if options.dry_run is DryRun.NONE:
                await confirm(session, found)
            session.console.note(description_of(rerun))
            request = await ask_for(session, found, step, dry_run=options.dry_run)
            session.console.result(found["metadata"]["name"])
            if options.dry_run is DryRun.SERVER or not (wait or watch or logs or exit_on_gate):
                return ExitCode.DONE
            watched.begin(session, found)
            await until_begun(session, found, request, seconds)
            return await stay(
                watched,
                found,
                show=watch,
                logs=logs,
                timeout=seconds,
                cancel_on_interrupt=cancel_on_interrupt,
                exit_on_gate=exit_on_gate,
            )

    exit_after(options, lambda: run_async(options, work), watched)


def resubmit(
    options: CommonOptions,
    run: RunArgument,
    inputs: InputPairs = None,
    inputs_file: InputsFile = None,
    name: Annotated[str, typer.Option("--name", help="Name of the run; default: STORY and a random ending.")] = "",
    wait: WaitOption = False,
    watch: WatchOption = False,
    logs: LogsOption = False,
    timeout: TimeoutOption = "",
    exit_on_gate: ExitOnGate = False,
    cancel_on_interrupt: CancelOnInterrupt = False,
    no_cache: NoCache = False,
    reuse_cache: ReuseCache = False,
) -> None:
    """Start a new run with the inputs of an earlier one, changed by -i and --inputs; print its name.

    Even with --reuse-cache, steps with side effects, compensations and finally steps execute.
    """
    from cli import workflow
    from cli.durations import seconds_of
    from cli.inputs import parse_inputs
    from cli.resubmitting import like, reusing, why_nothing_is_reused
    from cli.runs import find_run, without_cached_outputs
    from cli.session import Session

    if no_cache and reuse_cache:
        raise UsageError("--no-cache and --reuse-cache exclude each other", remedy="leave out one of them")
    changes = parse_inputs(inputs or (), inputs_file)

    async def manifest(session: Session) -> dict[str, Any]:
        earlier = await find_run(session, run)
        found = like(earlier, name=name)
        if reuse_cache and (why := why_nothing_is_reused(earlier)):
            session.console.note(why)
        return without_cached_outputs(found) if no_cache else reusing(found, earlier) if reuse_cache else found

    workflow.submit(
        options,
        manifest,
        changes,
        key=None,
        wait=wait or watch or logs or exit_on_gate,
        show=watch,
        logs=logs,
        timeout=seconds_of("--timeout", timeout),
        cancel_on_interrupt=cancel_on_interrupt,
        exit_on_gate=exit_on_gate,
    )
