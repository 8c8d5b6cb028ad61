"""Finds what ``why`` is asked about, a run, a step or a StoryTrigger, and explains it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from cli.facts import read_facts
from cli.problem import CommandError
from cli.runs import find_run, is_name
from cli.session import Session
from core.api.objects import Object
from core.api.resource import STORY_RUN, STORY_TRIGGER
from core.kube.errors import ForbiddenError, NotFoundError
from views.why.cause import Explanation
from views.why.explanation import explain
from views.why.trigger import explain_trigger

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
