"""``why``: what a run, a step, a StoryTrigger or an Impulse waits for, or why it failed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Final

import typer

from cli.arguments import ExplainedArgument
from cli.completing import is_called
from cli.options import CommonOptions, check_format, with_common_options
from cli.problem import CommandError
from cli.render.output import render
from core.api.objects import Object
from core.api.resource import STORY_RUN, STORY_TRIGGER
from core.kube.errors import ForbiddenError, NotFoundError

if is_called():
    from cli.facts import read_facts
    from cli.impulses import PREFIX, find_impulse, listener_facts
    from cli.interruption import run_async
    from cli.render.why import lines_of, lines_of_listener
    from cli.runs import find_run, is_name
    from cli.session import Session, open_session
    from core.engine.clock import system_now
    from views.why.cause import Explanation
    from views.why.document import document_of, document_of_listener
    from views.why.explanation import explain
    from views.why.listener import explain_listener
    from views.why.trigger import explain_trigger


def register(app: typer.Typer) -> None:
    app.command("why")(with_common_options(why))


def why(options: CommonOptions, run: ExplainedArgument) -> None:
    """Show what a run, or one of its steps, waits for: since when, until when, who can change it, with which command.

    It follows child runs and needs to the step that really blocks. For a failed run it shows why the run failed, and
    for impulse/NAME why that Impulse is down. For trigger/NAME, a StoryTrigger, it shows what it waits for, why it was
    rejected, or the same for its run. -o json gives the same as data.
    """
    check_format("why", options.output, ("table", "wide", "json", "jsonl", "yaml"))
    if run.startswith(PREFIX):
        _why_impulse(options, run.removeprefix(PREFIX))
        return

    async def work() -> None:
        async with open_session(options) as session:
            explanation = await explanation_of(session, run)
            if options.output not in ("table", "wide"):
                session.console.result(render([document_of(explanation)], options.output, single=True))
                return
            width = shutil.get_terminal_size((100, 40)).columns
            for line, colour in lines_of(explanation, system_now(), width=width, ascii_only=options.ascii_only):
                session.console.line(line, colour)

    run_async(options, work)


def _why_impulse(options: CommonOptions, name: str) -> None:
    async def work() -> None:
        async with open_session(options) as session:
            explanation = explain_listener(await listener_facts(session, await find_impulse(session, name)))
            if options.output not in ("table", "wide"):
                session.console.result(render([document_of_listener(explanation)], options.output, single=True))
                return
            width = shutil.get_terminal_size((100, 40)).columns
            for line, colour in lines_of_listener(explanation, system_now(), width=width):
                session.console.line(line, colour)

    run_async(options, work)


TRIGGER: Final = "trigger"
"""The word before the slash in ``trigger/NAME``."""


async def explanation_of(session: Session, subject: str) -> Explanation:
    """The explanation of ``RUN``, ``RUN/STEP`` or ``trigger/NAME``.

    Raises:
        CommandError, ViewError: there is no such run, step or StoryTrigger.
    """
    name, _, part = subject.partition("/")
    if name == TRIGGER and part:
        trigger = await _trigger(session, part)
        if trigger is not None:
            return await _of_trigger(session, trigger)
        try:
            run = await session.client.get(STORY_RUN, name, session.namespace)  # a run may have this name
        except NotFoundError:
            raise CommandError(
                f"no StoryTrigger {part!r} in namespace {session.namespace}", remedy="see them with: bobrapet triggers"
            ) from None
    else:
        run = await find_run(session, name)
    return explain(await read_facts(session, run), part, session.command_in)


async def _trigger(session: Session, name: str) -> Object | None:
    if not is_name(name):
        return None
    try:
        return await session.client.get(STORY_TRIGGER, name, session.namespace)
    except NotFoundError:
        return None


async def _of_trigger(session: Session, trigger: Object) -> Explanation:
    """The explanation of its run, if it has one that the user may read."""
    reference = (trigger.get("status") or {}).get("storyRunRef") or {}
    run: Object | None = None
    unseen: tuple[str, ...] = ()
    if is_name(str(reference.get("name") or "")):
        try:
            run = await session.client.get(STORY_RUN, reference["name"], trigger["metadata"]["namespace"])
        except NotFoundError:
            pass
        except ForbiddenError:
            unseen = ("the StoryRun",)
    if run is None or run["metadata"]["uid"] != reference.get("uid"):
        return replace(explain_trigger(trigger, session.command_in), unseen=unseen)
    found = explain(await read_facts(session, run), "", session.command_in)
    return replace(found, trigger=trigger["metadata"]["name"])
