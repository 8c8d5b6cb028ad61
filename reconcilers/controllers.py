"""All controllers, one row each. Start-up, informers, routes and RBAC follow from this list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from core.api.permission import Permission, combined
from reconcilers import (
    effectclaim,
    engram,
    engramtemplate,
    impulse,
    impulsetemplate,
    live_run,
    stored_data,
    story,
    story_account,
    story_revisions,
    storyrun,
    storytrigger,
    stream,
    transport,
    worker_pool,
)
from reconcilers.adapters.watched_kind import WatchedKind, merged
from reconcilers.adapters.world import WATCHED
from reconcilers.registration import ControllerRegistration

CONTROLLERS: Final[tuple[ControllerRegistration, ...]] = (
    storyrun.CONTROLLER,
    stored_data.CONTROLLER,
    story.CONTROLLER,
    live_run.CONTROLLER,
    engram.CONTROLLER,
    engramtemplate.CONTROLLER,
    impulse.CONTROLLER,
    impulsetemplate.CONTROLLER,
    story_revisions.CONTROLLER,
    story_account.CONTROLLER,
    storytrigger.CONTROLLER,
    effectclaim.CONTROLLER,
    transport.CONTROLLER,
    stream.CONTROLLER,
    worker_pool.CONTROLLER,
)


def watched_kinds(registrations: Sequence[ControllerRegistration] = CONTROLLERS) -> tuple[WatchedKind, ...]:
    """The kinds that the operator watches: those of the engine, and those of its controllers.

    Raises:
        ValueError: as ``merged``.
    """
    return merged((*WATCHED, *(kind for row in registrations for kind in row.informers)))


def permissions(registrations: Sequence[ControllerRegistration] = CONTROLLERS) -> tuple[Permission, ...]:
    """The permissions of the controllers: list and watch for all watched kinds, and those that each row requests."""
    watches = (kind.permission for kind in watched_kinds(registrations))
    return combined((*watches, *(permission for row in registrations for permission in row.permissions)))
