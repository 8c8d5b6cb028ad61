"""Selects runs by Story, phase, labels and age; ``list`` shows what ``cancel`` with the same flags takes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from bubu_contract.instants import parse_instant
from cli.durations import duration_of
from cli.problem import CommandError, UsageError
from cli.session import Session
from core.api.objects import Object
from core.api.phases import Phase
from core.api.resource import STORY, STORY_RUN
from core.api.suggestion import closest
from core.kube.errors import BadRequestError, ForbiddenError


@dataclass(frozen=True, slots=True)
class RunSelection:
    """Conditions for runs; without a condition, all runs."""

    story: str = ""
    phase: Phase | None = None
    labels: str = ""
    since: timedelta | None = None
    older: timedelta | None = None

    @classmethod
    def of_flags(cls, story: str, phase: str, labels: str, since: str, older: str) -> RunSelection:
        """Raises:
        UsageError: there is no such phase, or a value is not a duration.
        """
        return cls(
            story,
            _phase(phase) if phase else None,
            labels,
            duration_of("--since", since),
            duration_of("--older", older),
        )

    @property
    def is_everything(self) -> bool:
        return self == RunSelection()

    def takes(self, run: Object, now: datetime) -> bool:
        """Whether phase and age match; the API server compares Story and labels."""
        phase = (run.get("status") or {}).get("phase") or Phase.PENDING  # a run that has not begun is Pending
        age = now - parse_instant(run["metadata"]["creationTimestamp"])
        return (
            (self.phase is None or phase == self.phase)
            and (self.since is None or age <= self.since)
            and (self.older is None or age > self.older)
        )


async def select_runs(session: Session, selection: RunSelection, now: datetime) -> list[Object]:
    """The selected runs, newest first, in the namespace of the flags or in all of them.

    Raises:
        CommandError: no run names the Story, and there is none of this name.
        UsageError: the label selector cannot be read.
    """
    fields = [f"spec.storyRef.name={selection.story}"] * bool(selection.story)
    if selection.phase not in (None, Phase.PENDING):
        fields.append(f"status.phase={selection.phase}")
    try:
        found = await session.client.list(
            STORY_RUN,
            session.list_namespace,
            label_selector=selection.labels or None,
            field_selector=",".join(fields) or None,
        )
    except BadRequestError as error:
        if not selection.labels:
            raise
        raise UsageError(
            f"--selector {selection.labels!r}: {error.message}", remedy="write for example team=a"
        ) from None
    if selection.story and not found.items:
        with suppress(ForbiddenError):  # who may see runs need not see Stories
            await refuse_unknown_story(session, selection.story, session.list_namespace)
    runs = [run for run in found.items if selection.takes(run, now)]
    return sorted(runs, key=age_order, reverse=True)


async def refuse_unknown_story(session: Session, name: str, namespace: str | None) -> None:
    """Args:
        namespace: None for all namespaces.
    Raises:
        CommandError: there is no Story of this name.
    """
    known = {story["metadata"]["name"] for story in (await session.client.list(STORY, namespace)).items}
    if name in known:
        return
    if near := closest(name, known):
        remedy = f"did you mean {near!r}?"
    elif known:
        remedy = f"there are: {', '.join(sorted(known))}"
    else:
        remedy = "this namespace has no Stories" if namespace else "no namespace has Stories"
    where = f"namespace {namespace}" if namespace else "any namespace"
    raise CommandError(f"no Story {name!r} in {where}", remedy=remedy)


def age_order(run: Object) -> tuple[str, int, str]:
    """Sorts runs from the oldest to the newest. Of runs that were created in one second, the one that has changed last
    counts as newer: it is the one that a person has just started, unless several are under way.
    """
    metadata = run["metadata"]
    version = str(metadata.get("resourceVersion") or "")
    return str(metadata["creationTimestamp"]), int(version) if version.isdecimal() else 0, str(metadata["name"])


def _phase(word: str) -> Phase:
    known = {phase.value.lower(): phase for phase in Phase}
    if word.lower() in known:
        return known[word.lower()]
    near = closest(word.capitalize(), [phase.value for phase in Phase])
    raise UsageError(
        f"--phase: there is no phase {word!r}",
        remedy=f"did you mean {near}?" if near else f"use one of {', '.join(phase.value for phase in Phase)}",
    )
