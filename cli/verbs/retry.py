"""``retry``: execute a failed run again, from a step on."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Annotated, Final

import typer

from cli.arguments import (
    CancelOnInterrupt,
    ExitOnGate,
    FromOption,
    LogsOption,
    RunArgument,
    TimeoutOption,
    WaitOption,
    WatchOption,
)
from cli.completing import is_called
from cli.durations import seconds_of
from cli.exit_code import ExitCode
from cli.options import DRY_RUN, QUESTIONS, CommonOptions, DryRun, with_common_options
from cli.problem import CommandError, UsageError
from core.api import keys
from core.api.objects import Object, has_ended, packet_step
from core.api.resource import EFFECT_CLAIM, STORY_RUN
from core.engine.redrive.request import pending_redrive
from core.kube.errors import ForbiddenError
from views.errors import NoFailedStepError, SeveralFailedStepsError

if is_called():
    import trio

    from cli.interruption import run_async
    from cli.runs import Following, find_run, live_story_of, open_following, step_runs_of
    from cli.session import Session, open_session
    from cli.watching import Watched, exit_after, stay
    from core.engine.plan import StoryPlan
    from core.story.realtime import story_of_step
    from views.rerun import RerunPreview, check_step, effects_done, failed_step, plan_of, refusal_of, rerun_of


def register(app: typer.Typer) -> None:
    app.command("retry")(with_common_options(retry, also=QUESTIONS | DRY_RUN))


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


PATIENCE_SECONDS: Final = 5.0
"""Then a note tells the user that the operator has not answered yet."""


@dataclass(frozen=True, slots=True)
class RedriveRequest:
    """A redrive as written to the run."""

    annotation: str
    observed: str
    """The annotation with which the operator answers."""
    value: str


async def prepare(session: Session, run: Object, from_step: str, only_failed: bool) -> tuple[str, RerunPreview]:
    """The first step to run again, empty for everything, and what runs again.

    Raises:
        CommandError, ViewError: the run cannot be redriven, or not in this way.
        UsageError: ``only_failed`` does not determine the step.
    """
    name = run["metadata"]["name"]
    if run["spec"].get("cancelRequested"):
        raise CommandError(
            f"run {name} was canceled, which cannot be undone",
            remedy=f"start another one like it with: {session.command('resubmit', name)}",
        )
    story = await live_story_of(session, run)
    if story is None:
        reference = run["spec"].get("storyRef") or {}
        raise CommandError(
            f"Story {reference.get('name', '')!r} of run {name} does not exist", remedy="create it again"
        )
    if step := packet_step(run):
        story = story_of_step(story, step, run["spec"].get("inputs") or {}) or story
    plan = plan_of(story)
    if only_failed:
        from_step = _failed_step(plan, run)
    elif from_step:
        check_step(plan, from_step)
    rerun = rerun_of(plan, run, from_step)
    effects = tuple(await _effects(session, run, rerun))
    return from_step, replace(rerun, effects=effects, is_beside_stream=bool(step) and has_ended(run))


def _failed_step(plan: StoryPlan, run: Object) -> str:
    try:
        return failed_step(plan, run)
    except NoFailedStepError as error:
        name = run["metadata"]["name"]
        raise CommandError(str(error), remedy=f"leave out --failed to run all of {name} again") from None
    except SeveralFailedStepsError as error:
        remedy = f"choose one with --from {error.steps[0]}, or leave out --failed to run everything again"
        raise UsageError(str(error), remedy=remedy) from None


async def _effects(session: Session, run: Object, rerun: RerunPreview) -> list[tuple[str, str]]:
    """Effects that are already completed; none if the user may not see them: a retry does not need that permission."""
    try:
        claims = (await session.client.list(EFFECT_CLAIM, run["metadata"]["namespace"])).items
        step_runs = await step_runs_of(session, run) if claims else []
    except ForbiddenError:
        return []
    return effects_done([name for name, _ in rerun.again], step_runs, claims)


async def confirm(session: Session, run: Object) -> None:
    """Ask before running work is discarded.

    Raises:
        CommandError: the user did not confirm.
    """
    name = run["metadata"]["name"]
    if has_ended(run) or not (run.get("status") or {}).get("phase"):
        return
    if not await session.console.confirm(
        f"{name} is still running: a retry stops its running steps and discards their work; run it again?"
    ):
        raise CommandError(
            f"run {name} is still running; nothing was changed", remedy="confirm with --yes, or cancel it first"
        )


async def ask_for(session: Session, run: Object, from_step: str, *, dry_run: DryRun = DryRun.NONE) -> RedriveRequest:
    """Write the request.

    Raises:
        ConflictError: another run has that name now.
    """
    metadata, token = run["metadata"], secrets.token_hex(8)
    request = (
        RedriveRequest(
            keys.ANNOTATION_REDRIVE_FROM_STEP, keys.ANNOTATION_REDRIVE_FROM_STEP_OBSERVED, f"{from_step}:{token}"
        )
        if from_step
        else RedriveRequest(keys.ANNOTATION_REDRIVE_TOKEN, keys.ANNOTATION_REDRIVE_OBSERVED, token)
    )
    if pending_redrive(run) is not None:
        session.console.note(f"another retry of {metadata['name']} was requested and has not started yet")
    await session.client.patch(
        STORY_RUN,
        metadata["name"],
        {"metadata": {"uid": metadata["uid"], "annotations": {request.annotation: request.value}}},
        namespace=metadata["namespace"],
        dry_run=dry_run is DryRun.SERVER,
    )
    return request


async def until_begun(session: Session, run: Object, request: RedriveRequest, timeout: float | None) -> None:
    """Return once the operator has started the redrive; before that, the run looks unchanged.

    Raises:
        CommandError: the operator refused, ``timeout`` seconds passed (code 124), or the run was deleted.
    """
    name = run["metadata"]["name"]
    async with open_following(session, run) as following:
        with trio.move_on_after(timeout if timeout is not None else float("inf")):
            with trio.move_on_after(PATIENCE_SECONDS) as patience:
                await _answered(following, request)
            if patience.cancelled_caught:
                session.console.note(f"the operator has not started {name} again yet; check that it is running")
                await _answered(following, request)
            if refusal := refusal_of(following.run):
                raise CommandError(f"{name} is not run again: {refusal}", code=ExitCode.REJECTED)
            return
    raise CommandError(
        f"the operator has not started {name} again after {timeout:g} s",
        code=ExitCode.WAIT_TIMED_OUT,
        remedy=f"it will when it is running; see the progress with: {session.command('watch', name)}",
    )


async def _answered(following: Following, request: RedriveRequest) -> None:
    while True:
        changed = following.changed
        following.view()
        annotations = following.run["metadata"].get("annotations") or {}
        if annotations.get(request.observed) == request.value:
            return
        if following.deleted:
            raise CommandError(f"StoryRun {following.run['metadata']['name']!r} was deleted")
        await changed.wait()


def description_of(rerun: RerunPreview) -> str:
    """A description for a person, before it happens."""
    width = max((len(name) for name, _ in rerun.again), default=0)
    lines = ["runs again:", *(f"  {name:<{width}}  {why}".rstrip() for name, why in rerun.again)]
    if not rerun.again:
        lines = ["runs again: no step has run yet"]
    if rerun.effects:
        lines.append("these effects have happened already, and a retry does not undo them:")
        lines += [f"  {step}: {key}" for step, key in rerun.effects]
    if rerun.kept:
        lines.append(f"is kept: {', '.join(rerun.kept)}")
    if rerun.fresh:
        lines.append(f"has not run yet: {', '.join(rerun.fresh)}")
    if rerun.is_beside_stream:
        what = "the packet was lost when the run ended, or has gone on"
        lines.append(f"its stream does not get the output: {what}; send it again with bobrapet stream send")
    return "\n".join(lines)
