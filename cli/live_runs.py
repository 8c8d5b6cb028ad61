"""The run of a Story that is always on, which the operator keeps: found, awaited, never started from here."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Final

import trio

from cli.exit_code import ExitCode
from cli.problem import CommandError, UsageError
from cli.session import Session, patiently
from core.api.conditions import find_condition
from core.api.objects import Object
from core.api.phases import ConditionType, LiveReason
from core.api.resource import STORY, STORY_RUN
from core.kube.errors import ForbiddenError, NotFoundError
from core.workloads.live_run import is_always_on

AWAITED_SECONDS: Final = 300.0
"""How long a command waits for the run; the streams of the run before may have to drain first."""
_AGAIN_SECONDS: Final = 0.25
_THERE: Final = (LiveReason.RUNNING, LiveReason.FINISHED, LiveReason.CANCELED)
"""The run is alive, or it has ended and no other one follows."""
_HOPELESS: Final = (LiveReason.NOT_STARTED, LiveReason.CONFLICT, LiveReason.REFUSED)


def refuse_choices(story: str, inputs: object, *others: str | None) -> None:
    """Refuse inputs and names that only a run started by a user can have.

    Args:
        others: a name and a key for the run.

    Raises:
        UsageError
    """
    if inputs or any(others):
        raise UsageError(
            f"the operator keeps the only run of Story {story!r} (streamingStrategy: PerStory), which has no inputs",
            remedy="set defaults in its inputsSchema, and leave out inputs, --name and --key",
        )


async def live_run_named(session: Session, story: str) -> Object | None:
    """The run of the Story that the operator keeps; None if there is none, or the user may not read it."""
    with suppress(NotFoundError, ForbiddenError):
        found = await session.client.get(STORY, story, session.namespace)
        name = (found.get("status") or {}).get("liveRun")
        if is_always_on(found.get("spec") or {}) and isinstance(name, str):
            return await session.client.get(STORY_RUN, name, session.namespace)
    return None


async def awaited_live_run(session: Session, story: str, namespace: str, *, seconds: float | None) -> Object:
    """The run of the Story as it is now, once the operator has started it.

    Raises:
        CommandError: the operator does not start one, and says why; or nothing has happened after ``seconds``
            (code 124).
    """
    said = "the operator has not processed it yet"
    with trio.move_on_after(AWAITED_SECONDS if seconds is None else seconds):
        while True:
            found = await patiently(lambda: session.client.get(STORY, story, namespace))
            status = found.get("status") or {}
            condition = find_condition(status.get("conditions") or (), ConditionType.LIVE_RUN) or {}
            if condition.get("observedGeneration") == found["metadata"].get("generation"):
                said, reason = str(condition.get("message")), condition.get("reason")
                if reason in _HOPELESS:
                    raise CommandError(f"Story {story!r} has no run: {said}", remedy=_explained(session))
                with suppress(NotFoundError):
                    if reason in _THERE and status.get("liveRun"):
                        name = status["liveRun"]
                        return await patiently(partial(session.client.get, STORY_RUN, name, namespace))
            await trio.sleep(_AGAIN_SECONDS)
    raise CommandError(
        f"Story {story!r} has no run yet: {said}", remedy=_explained(session), code=ExitCode.WAIT_TIMED_OUT
    )


def _explained(session: Session) -> str:
    return f"see its status, and its runs with: {session.command('list')}"
