"""The TransportBindings of realtime runs: fetched, followed, and updated more often while a command watches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

import trio

from bubu_contract.identity import label_value
from bubu_contract.instants import format_instant, parse_instant_or_none
from cli.session import Session
from core.api import keys
from core.api.objects import Object
from core.api.resource import TRANSPORT_BINDING
from core.engine.clock import system_now
from core.engine.ports import STREAM
from core.engine.step.record import executor_of
from core.kube.errors import ForbiddenError, KubeError
from core.kube.informer import Informer
from core.story.story import is_realtime
from views.flow import bindings_by_step, streams_document

WATCHED_FOR: Final = timedelta(seconds=90)
"""How long the hub reports often after each request, at most five minutes."""
RENEW_BEFORE: Final = timedelta(seconds=45)
LOOK_SECONDS: Final = 1.0
MOST_WATCHED: Final = 100
"""Steps of one run for which news are asked for."""


def may_stream(story: Object | None) -> bool:
    """Whether a run of this Story may have streams; a Story that cannot be seen may be realtime."""
    return story is None or is_realtime(story.get("spec") or {})


def has_streams(story: Object | None, step_runs: Iterable[Object]) -> bool:
    """Whether a run has streams: by its Story; if that cannot be seen, by its StepRuns."""
    return may_stream(story) and (story is not None or any(executor_of(each) == STREAM for each in step_runs))


async def bindings_of(session: Session, run: Object, *, tolerant: bool = True) -> list[Object]:
    """The TransportBindings of a run; if ``tolerant``, none if the user may not see them."""
    try:
        found = await session.client.list(
            TRANSPORT_BINDING, run["metadata"]["namespace"], label_selector=_selector(run["metadata"]["name"])
        )
    except ForbiddenError:
        if not tolerant:
            raise
        return []
    return found.items


def bindings_informer(session: Session, run: Object) -> Informer:
    """Follows the TransportBindings of a run."""
    metadata = run["metadata"]
    return Informer(
        session.client,
        TRANSPORT_BINDING,
        namespace=metadata["namespace"],
        label_selector=_selector(metadata["name"]),
        trim=_for_people,
    )


async def with_streams(session: Session, run: Object) -> Object:
    """The run as it is stored, and beside its status ``streams``, if it has some: what the hub says of each step."""
    bindings = bindings_by_step(await bindings_of(session, run), run["metadata"]["uid"])
    return {**run, "streams": streams_document(bindings)} if bindings else run


async def ask_for_news(session: Session, read_bindings: Callable[[], Iterable[Object]]) -> None:
    """Let the hub report every second instead of every ten, as long as this runs.

    It is a comfort: a user who may not write TransportBindings sees the same later.
    """
    while True:
        now = system_now()
        due = [binding for binding in list(read_bindings())[:MOST_WATCHED] if not _is_watched(binding, now)]
        for binding in due:
            metadata = binding["metadata"]
            until = format_instant(now + WATCHED_FOR)
            patch = {"metadata": {"annotations": {keys.ANNOTATION_STREAM_WATCHED_UNTIL: until}}}
            try:
                await session.client.patch(TRANSPORT_BINDING, metadata["name"], patch, namespace=metadata["namespace"])
            except ForbiddenError:
                return
            except KubeError:
                break  # the next round asks again
        await trio.sleep(LOOK_SECONDS if not due else LOOK_SECONDS * 5)


def _is_watched(binding: Object, now: datetime) -> bool:
    """Whether the hub reports often for some time; a step that is finished needs no reports."""
    annotations = binding["metadata"].get("annotations") or {}
    if annotations.get(keys.ANNOTATION_STREAM_FINISHED):
        return True
    until = parse_instant_or_none(annotations.get(keys.ANNOTATION_STREAM_WATCHED_UNTIL))
    return until is not None and until - now > RENEW_BEFORE


def _for_people(binding: Object) -> Object:
    metadata = {name: value for name, value in binding["metadata"].items() if name != "managedFields"}
    spec = binding.get("spec") or {}
    shown = {name: spec[name] for name in ("stepName", "storyRunRef") if name in spec}
    return {"metadata": metadata, "spec": shown, "status": binding.get("status") or {}}


def _selector(run: str) -> str:
    return f"{keys.LABEL_STORY_RUN}={label_value(run)}"
