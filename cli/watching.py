"""Stay with a run until it has ended: show it, report its end, and after an interrupt print the command to return."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import trio
import typer

from bubu_contract.identity import label_value
from cli.boundary import only
from cli.console import Console
from cli.display import exit_code_of, show_until_done
from cli.exit_code import ExitCode, worst
from cli.interruption import InterruptedBySignalError
from cli.options import CommonOptions
from cli.pod_logs import last_lines_of
from cli.render.log_lines import LogForm, lines_of
from cli.render.output import json_text, yaml_text
from cli.runs import Following, find_run, open_following, pods_of, step_runs_of, visible_story_of
from cli.session import Session, patiently
from cli.step_logs import LogWish, print_logs
from cli.streams import ask_for_news, may_stream
from core.api import keys
from core.api.artifact import for_people
from core.api.objects import Object
from core.api.resource import STORY_RUN
from core.kube.errors import KubeError, is_retryable
from core.kube.retry import CallRetries, with_retries
from core.story.story import is_realtime
from core.workloads.live_run import is_always_on
from views.gates import open_gates_of
from views.lost_logs import may_have_logged
from views.run_view import RunView
from views.sign import word_of
from views.step_layout import path_of

CANCEL_DEADLINE_SECONDS: Final = 10.0
REPORT_PATIENCE: Final = CallRetries(attempts=100, max_seconds=2.0, deadline_seconds=15.0)


@dataclass
class Watched:
    """What to print when a command stops watching."""

    session: Session | None = None
    runs: tuple[str, ...] = ()
    verb: str = "watch"
    """The verb for watching again."""
    canceled: bool = False
    streams: bool = False
    """Whether it is a realtime run, which goes on until its sources end."""
    always_on: bool = False
    """Whether the operator keeps the run."""

    def begin(self, session: Session, *runs: Object) -> None:
        self.session, self.runs = session, tuple(run["metadata"]["name"] for run in runs)

    def knows(self, story: Object | None) -> None:
        """What its Story says about the run."""
        spec = (story or {}).get("spec") or {}
        self.streams, self.always_on = is_realtime(spec), is_always_on(spec)

    def farewell(self) -> str:
        """The command to return; empty if nothing was watched yet."""
        if self.session is None or not self.runs:
            return ""
        names = ", ".join(self.runs)
        if self.canceled:
            return f"{names} was canceled"
        one = len(self.runs) == 1
        cluster = self.session.embedded
        if cluster is not None and cluster.on_demand and self.streams:
            continues = "its containers stop with this cluster, and start again when it is up"
        elif self.always_on:
            continues = "the operator keeps it running"
        elif self.streams:
            continues = "its streams continue until their sources end or it is canceled"
        elif cluster is not None and cluster.on_demand:
            continues = f"{'it waits' if one else 'they wait'} until {'its' if one else 'their'} cluster is up again"
        else:
            continues = "the run continues" if one else "the runs continue"
        return (
            f"detached from {names}; {continues}: {self.session.command(self.verb, *self.runs)}\n"
            f"cancel {'it' if one else 'them'} with: {self.session.command('cancel', *self.runs)}"
        )


async def stay(
    watched: Watched,
    run: Object,
    *,
    show: bool,
    logs: bool = False,
    timeout: float | None = None,
    cancel_on_interrupt: bool = False,
    exit_on_gate: bool = False,
) -> ExitCode:
    """Follow ``run`` to its end, or with ``exit_on_gate`` until it waits at a gate; returns the exit code.

    Prints the output, or what a person needs to continue.
    """
    session = watched.session
    assert session is not None, "begun with a session"
    try:
        view = await _follow(
            session, run, show=show, logs=logs, timeout=timeout, exit_on_gate=exit_on_gate, watched=watched
        )
    finally:
        interrupted = trio.current_effective_deadline() == float("-inf")
        if cancel_on_interrupt and interrupted:
            watched.canceled = await _cancel_and_wait(session, run)
    await report(session, view)
    return exit_code_of(view)


async def wait_for(
    session: Session, runs: Sequence[Object], *, timeout: float | None, exit_on_gate: bool = False
) -> ExitCode:
    """Follow ``runs`` to their end, or with ``exit_on_gate`` to a gate; prints each, and returns the worst code."""
    codes: list[ExitCode] = []

    async def follow(run: Object) -> None:
        view = await _follow(session, run, show=False, logs=False, timeout=timeout, exit_on_gate=exit_on_gate)
        codes.append(exit_code_of(view))
        session.console.result(f"{view.name} {view.phase}")
        if not view.terminal:
            await report(session, view)

    async with trio.open_nursery() as nursery:
        for run in runs:
            nursery.start_soon(follow, run)
    return worst(codes)


async def report(session: Session, view: RunView) -> None:
    """Print the output of a run that succeeded; for another run: step, error, last log lines and the next command."""
    console = session.console
    if not view.terminal:
        console.note(await _details(view, lambda: _gates_note(session, view)))
    elif exit_code_of(view) is not ExitCode.DONE:
        console.note(await _details(view, lambda: _failure_note(session, view)))
    elif view.output is not None:
        console.note(f"{view.name} {view.word}; see the output again with: {session.command('outputs', view.name)}")
    elif any(step.serves_stream for step in view.steps):
        console.note(
            f"{view.name} {view.word}; its streams have ended; see their message counts with: {_get(session, view)}"
        )
    else:
        console.note(
            f"{view.name} {view.word}; the Story declares no output; see the output of a step with: "
            f"{session.command('outputs', view.name, 'STEP')}"
        )
    output = session.options.output
    if view.output is not None and output != "name":
        if output in ("table", "wide"):
            console.result(yaml_text(for_people(view.output)))
        else:
            console.result(yaml_text(view.output) if output == "yaml" else json_text(view.output))


async def _details(view: RunView, read: Callable[[], Awaitable[str]]) -> str:
    """What ``read`` says. The wait is over and has its result, which no server that is away may take from it."""
    try:
        return await with_retries(read, policy=REPORT_PATIENCE, idempotent=True)
    except KubeError as error:
        if not is_retryable(error):
            raise
        return f"{view.name} {view.word}; the details of {view.name} cannot be read: {error}"


async def _failure_note(session: Session, view: RunView) -> str:
    return await failure_report(session, await find_run(session, view.name), view)


def _get(session: Session, view: RunView) -> str:
    return session.command("get", view.name)


async def request_cancel(session: Session, run: Object, reason: str = "") -> None:
    """Ask the operator to cancel; idempotent. ``reason`` stays on the run."""
    metadata = run["metadata"]
    patch: Object = {"spec": {"cancelRequested": True}}
    if reason:
        patch["metadata"] = {"annotations": {keys.ANNOTATION_CANCEL_REASON: reason}}
    await session.client.patch(STORY_RUN, metadata["name"], patch, namespace=metadata["namespace"])


class Detachable(Protocol):
    """What a command waits for, and what continues without it."""

    def farewell(self) -> str:
        """The command to return; empty if nothing was begun yet."""


def exit_after(options: CommonOptions, work: Callable[[], ExitCode], watched: Detachable) -> None:
    """Exit with the code of ``work``; Ctrl-C detaches and prints the command to return."""
    try:
        code = work()
    except InterruptedBySignalError as interruption:
        console = Console(options)
        console.wipe_echo()
        if farewell := watched.farewell():
            console.note(farewell)
        code = interruption.code
    raise typer.Exit(int(code))


async def _gates_note(session: Session, view: RunView) -> str:
    """The gates at which the run waits, and the commands to type."""
    run = await find_run(session, view.name)
    names = [gate.name for gate in open_gates_of(run, await visible_story_of(session, run))]
    if not names:
        return f"{view.name} waited at a gate that has been decided meanwhile"
    lines = [f"{view.name} waits at {'gate' if len(names) == 1 else 'gates'} {', '.join(names)}; decide with:"]
    return "\n".join([*lines, *(f"  {session.command('approve', view.name, name)}" for name in names)])


async def _follow(
    session: Session,
    run: Object,
    *,
    show: bool,
    logs: bool,
    timeout: float | None,
    exit_on_gate: bool = False,
    watched: Watched | None = None,
) -> RunView:
    quiet = session if show else replace(session, options=replace(session.options, quiet=True))
    async with open_following(session, run) as following, trio.open_nursery() as nursery:
        if watched is not None:
            watched.knows(following.story)
        asking = trio.CancelScope()
        if may_stream(following.story) and session.console.interactive and not quiet.options.quiet:
            nursery.start_soon(_ask_for_news, asking, session, following)
        if logs:
            nursery.start_soon(_print_logs, session, run)
        view = await show_until_done(quiet, following, timeout=timeout, exit_on_gate=exit_on_gate)
        asking.cancel()
        if not view.terminal:
            nursery.cancel_scope.cancel()  # its logs continue
        return view


async def _print_logs(session: Session, run: Object) -> None:
    """Print the logs as far as they can be read: the wait is for the run."""
    try:
        await print_logs(session, run, LogWish(follow=True))
    except* KubeError as group:
        error = only(group)
        if not is_retryable(error):
            raise
        session.console.note(f"the logs of {run['metadata']['name']} cannot be read any more: {error}")


async def _ask_for_news(scope: trio.CancelScope, session: Session, following: Following) -> None:
    with scope:
        await ask_for_news(session, following.read_bindings)


async def _cancel_and_wait(session: Session, run: Object) -> bool:
    """Cancel the run; returns whether it has ended before the deadline for interrupted commands."""
    with trio.CancelScope(shield=True, deadline=trio.current_time() + CANCEL_DEADLINE_SECONDS):
        await patiently(lambda: request_cancel(session, run))
        await _follow(session, run, show=False, logs=False, timeout=None)
        return True
    return False


MAX_LINE_CHARACTERS: Final = 500
"""So much of a log line is shown in the summary of a failure; ``logs`` shows all of it."""


async def failure_report(session: Session, run: Object, view: RunView) -> str:
    """The failing step, its error, its last log lines and the next useful command.

    A step that has no container has no log.
    """
    lines = [f"{view.name}: {view.word}" + (f": {view.message}" if view.message else "")]
    failing = view.culprit()
    if failing is None:
        return lines[0]
    detail = _unsaid(failing.detail, view.message)
    lines.append(f"step {failing.name}: {word_of(failing.phase)}" + (f", {detail}" if detail else ""))
    lines += [f"  {name}: {value}" for name, value in failing.error]
    step_runs = [each for each in await step_runs_of(session, run) if path_of(each) == failing.name]
    tail = await _last_lines(session, run, failing.name, step_runs)
    if tail:
        lines.append(f"last {f'{len(tail)} log lines' if len(tail) > 1 else 'log line'} of {failing.name}:")
        shown = [text for line in tail for text, _ in lines_of(None, line, None, LogForm.PEOPLE)]
        lines += [f"  | {shown_line(text)}" for text in shown]
    more = ("logs", view.name, failing.name) if any(map(may_have_logged, step_runs)) else ("why", view.name)
    lines.append(f"more: {session.command(*more)}")
    return "\n".join(lines)


def _unsaid(detail: str, said: str) -> str:
    """``detail`` without the end that was said in the line before."""
    parts = detail.split(", ")
    end = next((at for at in range(len(parts)) if ", ".join(parts[at:]) in said), len(parts))
    return ", ".join(parts[:end])


def shown_line(text: str) -> str:
    """A log line as the summary shows it."""
    if len(text) <= MAX_LINE_CHARACTERS:
        return text
    return f"{text[:MAX_LINE_CHARACTERS]}… ({len(text):,} characters)"


async def _last_lines(session: Session, run: Object, step: str, step_runs: Sequence[Object]) -> list[str]:
    names = {label_value(each["metadata"]["name"]) for each in step_runs}
    pods = [pod for pod in await pods_of(session, run) if _is_of(pod, step, names)]
    return await last_lines_of(session, pods[-1]) if pods else []


def _is_of(pod: Object, step: str, step_runs: Collection[str]) -> bool:
    """Whether the Pod belongs to the step: by its StepRun; if the Pod does not name one, by the step."""
    labels = pod["metadata"]["labels"]
    by_run = labels.get(keys.LABEL_STEP_RUN)
    return by_run in step_runs if by_run else labels.get(keys.LABEL_STEP) == label_value(step)
