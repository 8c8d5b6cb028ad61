"""How long a finished run and its children, and an answered StoryTrigger, are kept. Pure.

Unset is not zero: a child TTL of 0 cleans up at once and a negative one never; a retention of 0 keeps the run for ever
and a negative one removes it at once, as documented (the reference treats every 0 as "unset"). A run is not removed
before the TTL of its children is over. Source: StoryRun contract 19.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, TypeAlias

from core.api.objects import Object, instant_or_creation, packet_step
from core.policy.settings import FALLBACK_RETENTION_SECONDS, OperatorSettings
from core.story.story import is_realtime
from core.workloads.live_run import is_always_on

OF_PACKET: Final = timedelta(minutes=10)
"""How long the run of a packet is kept that executes one step of a stream."""


@dataclass(frozen=True, slots=True)
class Remove:
    """The run's retention is over: delete it and its children."""


@dataclass(frozen=True, slots=True)
class CleanUp:
    """The children's TTL is over: delete them and record that in the status."""


@dataclass(frozen=True, slots=True)
class KeepUntil:
    """Nothing to do before ``until``; None: nothing ever."""

    until: datetime | None


class Windows(NamedTuple):
    """How long children of a run, and the run itself, are kept after its end; see ``child_ttl`` and ``retention``."""

    children: timedelta | None
    run: timedelta | None


Act: TypeAlias = Remove | CleanUp | KeepUntil


def next_act(
    run: Object, story: Object | None, settings: OperatorSettings, now: datetime, *, is_needed: bool = False
) -> Act:
    """The next action for a finished run; when ``story`` is None, because it no longer exists, the operator's values
    apply.

    ``is_needed``: the run may not be removed yet, however long ago it ended. Its children are deleted nevertheless.
    """
    cleaned = bool(run["status"].get("childrenCleanedAt"))
    kept_for = windows(story, settings)
    if packet_step(run):
        kept_for = _of_packet(kept_for)
    return act_after(_finished_at(run), kept_for, now, is_cleaned=cleaned, is_needed=is_needed)


def _of_packet(kept_for: Windows) -> Windows:
    """How long the Job of a packet is kept: a stream may start any number of them, so never longer than ``OF_PACKET``.
    A packet that comes again in this time finds it.
    """
    run = OF_PACKET if kept_for.run is None else min(kept_for.run, OF_PACKET)
    return Windows(run if kept_for.children is None else min(kept_for.children, run), run)


def windows(story: Object | None, settings: OperatorSettings) -> Windows:
    """For the runs of a Story; as for ``next_act``."""
    return Windows(child_ttl(story, settings), retention(story, settings))


def act_after(
    finished_at: datetime, kept_for: Windows, now: datetime, *, is_cleaned: bool, is_needed: bool = False
) -> Act:
    """``next_act`` for a run that has ended at ``finished_at``.

    ``is_cleaned``: its children have been removed.
    """
    ttl, kept = kept_for
    removal = None if kept is None else finished_at + kept
    cleaning = None if ttl is None or is_cleaned else finished_at + ttl
    if is_needed:
        removal = None
    if removal is not None and kept and ttl is not None:
        removal = max(removal, finished_at + ttl)
    if removal is not None and now >= removal:
        return Remove()
    if cleaning is not None and now >= cleaning:
        return CleanUp()
    return KeepUntil(min((instant for instant in (cleaning, removal) if instant is not None), default=None))


def trigger_removal(
    trigger: Object, run: Object | None, story: Object | None, settings: OperatorSettings
) -> datetime | None:
    """When an answered StoryTrigger may be deleted; None: not before another object changes, or never.

    Until then, a repeated submission finds the answer. So it is kept as long as its run, and also, if a user deleted
    the run, as long as the run would have been kept at least.

    Args:
        run: the run of the answer; None if there is none, or it is gone.
        story: as for ``next_act``.
    """
    seconds, status = settings.triggers.retention_seconds, trigger["status"]
    if seconds == 0 or run is not None:
        return None
    kept = timedelta(seconds=seconds)
    if status.get("storyRunRef"):
        kept = max(kept, retention(story, settings) or timedelta())
    return instant_or_creation(status.get("completedAt"), trigger) + kept


def retention_rules_of(story: Object | None) -> tuple[Any, ...]:
    """What decides how long finished runs and their children are kept: when it changes, they are checked again."""
    spec = (story or {}).get("spec") or {}
    rests = (story or {}).get("metadata", {}).get("generation") if is_always_on(spec) else None
    return _own_ttl(story), _policy(story, "job").get("storyRunRetentionSeconds"), rests


def child_ttl(story: Object | None, settings: OperatorSettings) -> timedelta | None:
    """How long children are kept after their run has ended; None: as long as the run itself.

    Those of a realtime run stay with it unless a setting gives a time: the reference keeps them, too. Source: streaming
    contract 3.
    """
    seconds = _own_ttl(story)
    if seconds is None:
        of_job = settings.job.ttl_seconds_after_finished
        seconds = settings.runs.realtime_ttl_seconds if _is_realtime(story) else of_job
    return None if seconds is None or seconds < 0 else timedelta(seconds=seconds)


def retention(story: Object | None, settings: OperatorSettings) -> timedelta | None:
    """How long a finished run is kept; zero: not at all, None: for ever."""
    seconds = _policy(story, "job").get("storyRunRetentionSeconds")
    if seconds is None:
        seconds = settings.runs.retention_seconds
    if seconds is None:
        seconds = FALLBACK_RETENTION_SECONDS
    return None if seconds == 0 else timedelta(seconds=max(seconds, 0))


def _own_ttl(story: Object | None) -> Any:
    """The Story's time for children; one for realtime runs has precedence there."""
    of_realtime = _policy(story, "realtime") if _is_realtime(story) else {}
    own = of_realtime.get("ttlSecondsAfterFinished")
    return _policy(story, "job").get("ttlSecondsAfterFinished") if own is None else own


def _is_realtime(story: Object | None) -> bool:
    return is_realtime((story or {}).get("spec") or {})


def _policy(story: Object | None, kind: str) -> dict[str, Any]:
    policy = ((story or {}).get("spec") or {}).get("policy") or {}
    found: dict[str, Any] = (policy.get("execution") or {}).get(kind) or {}
    return found


def _finished_at(run: Object) -> datetime:
    """If ``finishedAt`` is damaged or missing, the creation time counts: too late is safe, never is not."""
    return instant_or_creation(run["status"].get("finishedAt"), run)
