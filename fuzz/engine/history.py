"""The history of one execution for each run: the owner of each object, its plan, and where a redrive started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf
from typing import Any, Final

from core.api import keys
from core.api.objects import Object
from core.api.phases import Phase
from core.engine.calls import WRITE_DEADLINE_SECONDS
from core.engine.plan import GroupName, StoryPlan, parse_story
from core.engine.settings import EngineSettings
from core.engine.step.record import attempt_of
from core.engine.step.timers import Timer, timers_from
from fuzz.engine.actions import HAND_OVERS, Action, Verb
from fuzz.engine.bounds import SLACK_SECONDS
from fuzz.engine.cases import Played
from fuzz.engine.cluster import Place, Write
from fuzz.engine.process import LATE_SECONDS, SLOW_SECONDS, TIMEOUT_SECONDS
from fuzz.engine.routing import story_of
from fuzz.engine.stream_workers import WORKLOAD
from fuzz.engine.watches import controller_owner
from fuzz.engine.world import EPOCH

GATHERING: Final = timedelta(seconds=EngineSettings().status_linger_seconds + 0.01)
"""The time during which the engine collects changes of a status, if it has not written the status just before."""
BETWEEN_WRITES: Final = timedelta(seconds=EngineSettings().status_interval_seconds + 0.01)
"""The same, counted from the write before."""
TIMERS = "runs.bubustack.io/step-timers"
OF_ATTEMPTS: Final = ("Job", WORKLOAD)
"""Kinds of the objects that are created for an attempt."""


MOST_LEGS: Final = 8
"""Trips to the server or back between the question whether an attempt is still needed and the create of its Job."""


@dataclass
class History:
    """``objects`` is the state before the write that ``writes`` has just returned."""

    played: Played
    objects: dict[Place, Object] = field(default_factory=dict)
    uids: dict[str, Place] = field(default_factory=dict)
    """UIDs of all existing objects."""
    _plans: dict[str, StoryPlan | None] = field(default_factory=dict)

    def writes(self) -> Iterator[Write]:
        self.objects.clear()
        self.uids.clear()
        for write in self.played.history:
            yield write
            if write.new is not None:
                self.objects[write.place] = write.new
                self.uids[write.new["metadata"]["uid"]] = write.place
            else:
                self.objects.pop(write.place, None)
                self.uids.pop(write.object["metadata"]["uid"], None)

    def is_read_result(self, write: Write) -> bool:
        """Whether the operator records the output of a container without an SDK, together with the end of its step."""
        old, new = (write.old or {}).get("status") or {}, (write.new or {}).get("status") or {}
        engram = self.played.case.engrams.get(write.object["spec"]["engramRef"]["name"])
        has_no_sdk = engram is not None and engram.container is not None
        return has_no_sdk and not old.get("output") and new.get("phase") == Phase.SUCCEEDED

    @property
    def overlapping(self) -> bool:
        """Whether two processes each believed to be the only one."""
        return self.played.trouble.twins or bool(self._overlaps)

    @property
    def is_sharded(self) -> bool:
        """Whether two processes shared the work, each with its own limits and turns."""
        return self.did(*HAND_OVERS)

    @property
    def _overlaps(self) -> list[Action]:
        """The actions after which two processes may work for one run, each with its start and length.

        A process that releases a run late writes nothing more for it, but its earlier requests may still be in transit.
        """
        verbs = {Verb.SECOND_LEADER} | ({Verb.HAND_OVER_LATE} if self.requests_take_time else set())
        return [action for action in self.played.case.actions if action.verb in verbs]

    def two_leaders(self, write: Write, *, ever: bool = False) -> bool:
        """Whether two leaders worked when the write was made, or a request was in transit; ``ever``: or earlier."""
        since = (write.at - EPOCH).total_seconds()
        open_ended = inf if ever else WRITE_DEADLINE_SECONDS
        windows = [(action.at, action.at + float(action.value) + open_ended) for action in self._overlaps]
        return self.played.trouble.twins or any(start <= since <= end for start, end in windows)

    def crosses(self, earlier: Write, later: Write) -> bool:
        """Whether ``later``, of one of two leaders, may have been in transit since before ``earlier``, of the other."""
        legs = {
            "request slow": SLOW_SECONDS,
            "request late answer": LATE_SECONDS,
            "request timeout": TIMEOUT_SECONDS,
        }
        leg = max(
            self.played.trouble.latency_seconds, *(legs[word] if word in self.played.seen else 0.0 for word in legs)
        )
        close = (later.at - earlier.at).total_seconds() <= MOST_LEGS * leg
        return close and earlier.actor != later.actor and self.two_leaders(later)

    def was_given_up(self, earlier: Write, later: Write) -> bool:
        """Whether ``later`` is a create that the engine may have stopped waiting for before ``earlier``."""
        close = (later.at - earlier.at).total_seconds() <= TIMEOUT_SECONDS
        return close and later.verb == "create" and "request timeout" in self.played.seen

    def is_of_another_story(self, obj: Object, run: Object) -> bool:
        """Whether a leader created this under another revision of the Story than the run continued with."""
        made = (obj["metadata"].get("annotations") or {}).get(keys.ANNOTATION_STORY_REVISION)
        kept = status_of(run).get("storyRevision")
        return self.overlapping and bool(made and kept) and made != kept

    def end_of(self, run: Object) -> int:
        """The number of the write that ended a run; 0 if no write did."""
        uid = run["metadata"]["uid"]
        ends = (write for write in self.played.history if write.object["metadata"]["uid"] == uid)
        ends = (write for write in ends if _has_finished(write.new) and not _has_finished(write.old))
        return max((write.number for write in ends), default=0)

    @property
    def requests_take_time(self) -> bool:
        """Whether something may happen between the decision for a write and the write."""
        slow = {"request slow", "request late answer", "request timeout"} & self.played.seen.keys()
        return bool(slow) or self.played.trouble.latency_seconds > 0

    @property
    def prompt(self) -> bool:
        """Whether stored changes are received at once and decisions are stored at once; processes may die."""
        away = self.did(Verb.SECOND_LEADER, Verb.SERVER_DOWN, Verb.SERVER_FORGETS)
        behind = self.played.trouble.hears_late or any(self.played.trouble.faults)
        return not (away or behind or self.requests_take_time or self.overlapping)

    def reaction(self, now: datetime) -> tuple[datetime, timedelta]:
        """The time from which on a process could make the due decisions, and how long that may take."""
        started_at = max(at for at in starts_of(self) if at <= now)
        if self.prompt:
            return started_at, GATHERING
        calm_at = EPOCH + timedelta(seconds=self.played.case.last_action_at)
        return max(started_at, calm_at), GATHERING + timedelta(seconds=SLACK_SECONDS)

    def did(self, *verbs: Verb) -> bool:
        """Whether the case has one of these actions."""
        return any(action.verb in verbs for action in self.played.case.actions)

    def owner(self, obj: Object) -> Object | None:
        """The controller of an object, if it exists."""
        owner = controller_owner(obj)
        place = self.uids.get(owner["uid"]) if owner is not None else None
        return self.objects.get(place) if place is not None else None

    def run_of(self, obj: Object) -> Object | None:
        """The StoryRun that an object works for: its controller, or its controller's controller."""
        owner = self.owner(obj)
        while owner is not None and owner["kind"] != "StoryRun":
            owner = self.owner(owner)
        return owner

    def plan(self, run: Object, made: Object | None = None) -> StoryPlan | None:
        """The plan that the run executes; None if it is unknown or refused.

        ``made``: an object that names the revision of the Story under which it was created.
        """
        namespace, name = story_of(run)
        annotations = (made or {}).get("metadata", {}).get("annotations") or {}
        revision = annotations.get(keys.ANNOTATION_STORY_REVISION) or status_of(run).get("storyRevision")
        kept = self.objects.get(("ControllerRevision", namespace, revision)) if revision else None
        story = kept["data"] if kept is not None else self.objects.get(("Story", namespace, name))
        return self._parsed(story) if story is not None else None

    def _parsed(self, story: Object) -> StoryPlan | None:
        key = f"{story['metadata']['uid']}/{story['metadata']['resourceVersion']}"
        if key not in self._plans:
            parsed = parse_story(story)
            self._plans[key] = parsed if isinstance(parsed, StoryPlan) else None
        return self._plans[key]

    def children(self, run: Object) -> Iterator[Place]:
        """The StepRuns and runs that a run owns."""
        uid = run["metadata"]["uid"]
        for place, obj in self.objects.items():
            owner = controller_owner(obj) if place[0] in ("StepRun", "StoryRun") else None
            if owner is not None and owner["uid"] == uid:
                yield place

    def step_runs(self, run: Object) -> Iterator[Object]:
        uid = run["metadata"]["uid"]
        for place, obj in self.objects.items():
            owner = controller_owner(obj) if place[0] == "StepRun" else None
            if owner is not None and owner["uid"] == uid:
                yield obj


def started_by(write: Write) -> tuple[str, int] | None:
    """UID of the StepRun and number of the attempt that this write starts: by creating a Job or the workload of a
    stream, or by naming a worker.
    """
    if write.place[0] in OF_ATTEMPTS and write.verb == "create":
        owner = controller_owner(write.object)
        return None if owner is None else (str(owner["uid"]), int(write.object["spec"]["attempt"]))
    new = attempt_of(write.new) if write.place[0] == "StepRun" and write.new is not None else None
    if new is None or not new.worker:
        return None
    old = attempt_of(write.old) if write.old is not None else None
    same = old is not None and (old.number, old.worker) == (new.number, new.worker)
    return None if same else (str(write.object["metadata"]["uid"]), new.number)


def starts_of(history: History) -> list[datetime]:
    """The instants at which processes of the operator started to work."""
    return [EPOCH + timedelta(seconds=at) for at in history.played.starts]


def run_writes(history: History) -> Iterator[Write]:
    """Changes of StoryRuns; ``history`` has the state before each of them."""
    return (write for write in history.writes() if write.place[0] == "StoryRun" and write.new is not None)


def is_reset(write: Write) -> bool:
    """Whether this write starts a redrive: it removes the phase."""
    if write.old is None or write.new is None or status_of(write.new).get("phase"):
        return False
    old, new = status_of(write.old), status_of(write.new)
    lost = ((old.get(field) or {}).keys() - (new.get(field) or {}).keys() for field in ("stepStates", "gates"))
    return bool(old.get("phase")) or any(lost)


def _has_finished(run: Object | None) -> bool:
    return bool(status_of(run).get("finishedAt"))


def by_operator(write: Write) -> bool:
    return write.actor.startswith("operator")


def status_of(obj: Object | None) -> Object:
    return dict((obj or {}).get("status") or {})


def states_of(run: Object | None) -> Mapping[str, Object]:
    return status_of(run).get("stepStates") or {}


def timers_of(run: Object | None) -> Mapping[str, Timer]:
    return timers_from(((run or {}).get("metadata") or {}).get("annotations", {}).get(TIMERS))


def phase_of(state: Mapping[str, Any] | None) -> Phase | None:
    phase = (state or {}).get("phase")
    return Phase(phase) if phase else None


def is_terminal(state: Mapping[str, Any] | None) -> bool:
    phase = phase_of(state)
    return phase is not None and phase.terminal


def group_of(plan: StoryPlan, step: str) -> GroupName | None:
    """The list that contains the step, or the step around it."""
    top = step.partition("/")[0]
    return next((name for name, group in plan.groups.items() if top in group.graph.position), None)
