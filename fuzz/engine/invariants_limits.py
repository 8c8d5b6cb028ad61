"""I24 and I26: the limits of concurrency. Steps, branches, and runs that take turns: which start, which are canceled.

The rule of the Story at the start of a run counts. A Story that calls itself is refused, so no run here is a descendant
of another run of its Story.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from bubu_contract.instants import parse_instant_or_none
from core.api import keys
from core.api.objects import Object, has_ended
from core.api.phases import Reason
from core.engine.streams.record import serves_stream
from fuzz.engine.actions import Verb
from fuzz.engine.bounds import SLACK_SECONDS
from fuzz.engine.cluster import Place, Write
from fuzz.engine.history import (
    History,
    by_operator,
    is_reset,
    is_terminal,
    run_writes,
    started_by,
    starts_of,
    states_of,
    status_of,
)
from fuzz.engine.invariants_definitions import is_started, is_waiting
from fuzz.engine.invariants_order import step_of
from fuzz.engine.routing import story_of
from fuzz.engine.watches import controller_owner
from fuzz.engine.world import EPOCH

A_WHILE: Final = timedelta(seconds=5)
"""By then, undisturbed, a run has been received and a start has been stored."""

A_MOMENT: Final = timedelta(seconds=1)
"""By then a free slot is taken."""
QUEUED: Final = "Queued due to story concurrency limit"

TAKING_TURNS: Final = ("serial", "cancelPrevious")
WAITS_FOR_RUN: Final = re.compile(r"(?:Waiting for|Superseded by) StoryRun ([^\s,]+)")
Rule = Mapping[str, Any]
"""``spec.concurrency`` of a Story."""


def limits_hold(history: History) -> Iterator[str]:
    """I24: at no instant more StepRuns run than ``policy.concurrency`` allows, counted per process.

    A step that waits for its Engram, with no attempt started, has no slot until its next attempt starts; a step that
    serves a stream needs none.
    """
    if history.is_sharded:
        return
    idle: set[str] = set()
    """UIDs of StepRuns without a slot."""
    for write in history.writes():
        idle |= {*_idle_after(history, write)}
        begun = started_by(write)
        resumed = history.objects.get(history.uids[begun[0]]) if begun is not None and begun[0] in idle else None
        idle -= {begun[0]} if begun is not None else set()
        step_run = write.object if write.verb == "create" and write.place[0] == "StepRun" else resumed
        if step_run is None or history.two_leaders(write, ever=True) or serves_stream(step_run):
            continue
        run = history.run_of(step_run)
        plan = history.plan(run, step_run) if run is not None else None
        if run is None or plan is None or not plan.step_concurrency:
            continue
        story = run["spec"]["storyRef"]["name"]
        working = 1 + sum(
            not is_terminal(status_of(other))
            and _uid(other) not in (*idle, _uid(step_run))
            and not serves_stream(other)
            and not _came_unasked(history, other, one, write.at, plan.step_concurrency)
            for place, one in history.objects.items()
            if place[0] == "StoryRun" and one["spec"]["storyRef"]["name"] == story
            for other in history.step_runs(one)
        )
        if working > plan.step_concurrency:
            yield f"{working} StepRuns of {story} at work, where {plan.step_concurrency} may be"


def _idle_after(history: History, write: Write) -> Iterator[str]:
    """UIDs of StepRuns whose steps, after a write of their run, wait for their Engram with no attempt started."""
    states = states_of(write.new) if write.place[0] == "StoryRun" else {}
    waiting = [name for name, state in states.items() if is_waiting(state)]
    for one in history.step_runs(write.object) if waiting else ():
        if step_of(one) in waiting and not is_started(history.objects, one):
            yield _uid(one)


def branches_are_bounded(history: History) -> Iterator[str]:
    """I24: at no instant more branches of a ``parallel`` step run than ``maxConcurrency`` allows."""
    for write in history.writes():
        if write.verb != "create" or write.place[0] != "StepRun" or history.two_leaders(write, ever=True):
            continue
        run = history.run_of(write.object)
        plan = history.plan(run, write.object) if run is not None else None
        parent = step_of(write.object).rpartition("/")[0]
        around = plan.find(parent) if plan is not None and parent else None
        bound = around.parameters.get("maxConcurrency") if around is not None else None
        if run is None or bound is None:
            continue
        working = 1 + sum(
            not is_terminal(status_of(one)) and step_of(one).rpartition("/")[0] == parent
            for one in history.step_runs(run)
        )
        if working > bound:
            yield f"{working} branches of {parent} at work, where {bound} may be"


def free_slots_are_taken(history: History) -> Iterator[str]:
    """I26: no step waits for more than a second for a slot of its Story while a slot is free and a process runs."""
    if not (history.prompt and _any_limits(history)):
        return
    free_since: dict[tuple[str, str], datetime] = {}
    """By run and step: the time since which the step waits although a slot is free."""
    for write in history.writes():
        born_at = max(at for at in starts_of(history) if at <= write.at)
        for (name, step), since in free_since.items() if by_operator(write) else ():
            if write.at - max(since, born_at) > A_MOMENT:
                yield f"{step} of {name} has waited since {since} until {write.at}, though a slot was free"
        free_since = {key: free_since.get(key, write.at) for key in _waiting_in_vain(history, write)}


def _waiting_in_vain(history: History, write: Write) -> Iterator[tuple[str, str]]:
    """Runs with steps that wait after a write, although their Story has a free slot."""
    after = {**history.objects, write.place: write.new}
    step_runs = [one for place, one in after.items() if place[0] == "StepRun" and one is not None]
    for run in [one for place, one in after.items() if place[0] == "StoryRun" and one is not None]:
        plan = history.plan(run) if not has_ended(run) else None
        queued = {name: state for name, state in states_of(run).items() if state.get("reason") == Reason.QUEUED}
        waiting = [name for name, state in queued.items() if state["message"].startswith(QUEUED)]
        if not (waiting and plan is not None and plan.step_concurrency):
            continue
        story = run["spec"]["storyRef"]["name"]
        working = [one for one in step_runs if not is_terminal(status_of(one)) and _story_of(one) == story]
        working = [one for one in working if not _is_idle(after, one) and not serves_stream(one)]
        if len(working) < plan.step_concurrency:
            yield from ((_name(run), name) for name in waiting if not _has_step_run(step_runs, run, name))


def _is_idle(objects: Mapping[Place, Object | None], step_run: Object) -> bool:
    run = objects.get(("StoryRun", step_run["metadata"]["namespace"], step_run["spec"]["storyRunRef"]["name"]))
    return is_waiting(states_of(run).get(step_of(step_run))) and not is_started(objects, step_run)


def _story_of(step_run: Object) -> str:
    return str(step_run["metadata"]["labels"][keys.LABEL_STORY_NAME])


def _has_step_run(step_runs: list[Object], run: Object, step: str) -> bool:
    """Whether a step has started, but its run does not record it yet."""
    return any(one["spec"]["storyRunRef"]["name"] == _name(run) and step_of(one) == step for one in step_runs)


def _came_unasked(history: History, step_run: Object, run: Object, now: datetime, limit: int) -> bool:
    """Whether it was created just before, under a revision of the Story with another limit, which may be higher.

    A step under the lower limit may have had its slot already.
    """
    plan = history.plan(run, step_run)
    came_at = parse_instant_or_none(step_run["metadata"]["creationTimestamp"])
    return plan is not None and plan.step_concurrency != limit and came_at is not None and now - came_at < A_WHILE


def turns_are_taken(history: History) -> Iterator[str]:
    """I24: a run starts only if no other run that shares its turn has started and not ended, in the stored state."""
    if history.is_sharded:  # two processes may decide at the same moment
        return
    for one in _beginnings(history):
        for other in _sharing(history, one):
            if status_of(other).get("startedAt") and not history.two_leaders(one.write, ever=True):
                yield f"{one.write.place[2]} began beside {_name(other)}"


def turns_go_by_age(history: History) -> Iterator[str]:
    """I24: of the runs that have waited for a while, the oldest starts."""
    if not history.prompt or history.is_sharded:
        return
    for one in _beginnings(history):
        for other in _sharing(history, one):
            waits = not status_of(other).get("startedAt") and _age(other) < _age(one.write.object)
            if waits and one.write.at - one.lives[_uid(other)].waits_since > A_WHILE:
                yield f"{one.write.place[2]} began before {_name(other)}, which is older"


def nobody_waits_for_a_stranger(history: History) -> Iterator[str]:
    """I24: a run that reports that it waits for another run shares the turn of that run."""
    for write in run_writes(history) if _any_turns(history) else ():
        found = WAITS_FOR_RUN.match(str(status_of(write.new).get("message")))
        other = history.objects.get(("StoryRun", write.place[1], found[1])) if found is not None else None
        rules = _rules_so_far(history, write)
        if other is not None and not any(_share(other, write.object, rule) for rule in rules):
            yield f"{write.place[2]} waits for {_name(other)}, whose turn is another"


def the_newest_ends_the_older(history: History) -> Iterator[str]:
    """I24: under ``cancelPrevious`` the older runs are canceled, and no others."""
    yield from _asked_in_vain(history)
    yield from _never_asked(history)


def _asked_in_vain(history: History) -> Iterator[str]:
    """Runs that the engine canceled although no run is newer; child runs are not counted."""
    seen: dict[str, Object] = {}
    for write in run_writes(history) if _any_turns(history) else ():
        seen[_uid(write.object)] = write.object
        if not (_asks_to_end(write) and by_operator(write)) or controller_owner(write.object) is not None:
            continue
        newer = [one for one in seen.values() if _is_as_new(one, write.object)]
        told = [rule for rule in _rules_so_far(history, write) if rule["mode"] == "cancelPrevious"]
        if not any(_share(one, write.object, rule) for one in newer for rule in told):
            yield f"{write.place[2]} was asked to end, though none is newer"


def _never_asked(history: History) -> Iterator[str]:
    """Older runs that ended by themselves long after the creation of a newer run that was to start."""
    calm_at = _calm_at(history)
    if calm_at is None or history.overlapping or history.did(Verb.EDIT_STORY, Verb.DELETE_STORY):
        return
    for one in _beginnings(history):
        mine = one.lives[_uid(one.write.object)]
        if one.rule["mode"] != "cancelPrevious" or mine.waits_since != mine.created_at:
            continue
        for uid, theirs in one.lives.items():
            older = theirs.created_at < mine.created_at and _share(theirs.run, one.write.object, one.rule)
            ended_at = theirs.ended_unasked_at
            late = ended_at is not None and ended_at > max(mine.created_at, calm_at) + A_WHILE
            if uid != _uid(one.write.object) and older and late:
                yield f"{_name(theirs.run)} was never asked to end for {one.write.place[2]}, which is newer"


@dataclass
class _Life:
    """The data of one run up to now."""

    run: Object
    created_at: datetime
    waits_since: datetime
    """The time since which the run could start: its creation, or its last redrive."""
    ended_unasked_at: datetime | None = None
    """The time at which the run ended, if it had started and nobody had canceled it."""


@dataclass(frozen=True)
class _Beginning:
    write: Write
    rule: Rule
    lives: Mapping[str, _Life]
    """By UID; also runs that are deleted."""


def _beginnings(history: History) -> Iterator[_Beginning]:
    """Each write that is the first to record the start of a run that takes turns."""
    if not _any_turns(history):
        return
    stories = {write.place[2]: write.object["data"] for write in history.played.history if _keeps_story(write)}
    lives: dict[str, _Life] = {}
    for write in run_writes(history):
        run, uid = write.object, _uid(write.object)
        life = lives.setdefault(uid, _Life(run, write.at, write.at))
        life.run = run
        if is_reset(write):
            life.waits_since, life.ended_unasked_at = write.at, None
        elif has_ended(run) and not has_ended(write.old or {}):
            asked = run["spec"].get("cancelRequested") or not status_of(run).get("startedAt")
            life.ended_unasked_at = None if asked else write.at
        canceled = status_of(run).get("phase") == "Finished"  # in the same write: it waited, and was canceled
        if status_of(run).get("startedAt") and not status_of(write.old).get("startedAt") and not canceled:
            story = stories.get(str(status_of(run).get("storyRevision")), {"spec": {}})
            rule = story["spec"].get("concurrency") or {}
            if rule.get("mode") in TAKING_TURNS:
                yield _Beginning(write, rule, lives)


def _sharing(history: History, one: _Beginning) -> Iterator[Object]:
    """The other runs that exist, have not ended, and share the turn of the run that starts."""
    run = one.write.object
    for place, other in history.objects.items():
        ours = place[0] == "StoryRun" and _uid(other) != _uid(run) and _share(other, run, one.rule)
        if ours and not has_ended(other) and not other["metadata"].get("deletionTimestamp"):
            yield other


def _rules_so_far(history: History, write: Write) -> list[Rule]:
    """The rules for turns that the Story has had up to a write of one of its runs."""
    place = ("Story", *story_of(write.object))
    found: list[Rule] = []
    for one in history.played.history:
        if one.number > write.number:
            break
        rule = one.new["spec"].get("concurrency") if one.place == place and one.new is not None else None
        if rule and rule["mode"] in TAKING_TURNS:
            found.append(rule)
    return found


def _share(one: Object, other: Object, rule: Rule) -> bool:
    if story_of(one) != story_of(other):
        return False
    if rule.get("scope") != "participant":
        return True
    own, theirs = (str((run["spec"].get("inputs") or {}).get("participant") or "").strip() for run in (one, other))
    return own == theirs != ""


def _calm_at(history: History) -> datetime | None:
    """The time after which nothing disturbs the runs; None if it is unknown."""
    case, trouble = history.played.case, history.played.trouble
    if not (case.actions or trouble.kills or trouble.delays):
        return EPOCH
    return EPOCH + timedelta(seconds=case.last_action_at + SLACK_SECONDS) if trouble.heals else None


def _any_limits(history: History) -> bool:
    case = history.played.case
    edited = (action.value for action in case.actions if action.verb is Verb.EDIT_STORY)
    return any((spec.get("policy") or {}).get("concurrency") for spec in (case.spec, *case.stories.values(), *edited))


def _any_turns(history: History) -> bool:
    case = history.played.case
    edited = (action.value for action in case.actions if action.verb is Verb.EDIT_STORY)
    return any(spec.get("concurrency") for spec in (case.spec, *case.stories.values(), *edited))


def _keeps_story(write: Write) -> bool:
    return write.place[0] == "ControllerRevision" and write.verb == "create"


def _asks_to_end(write: Write) -> bool:
    before = write.old["spec"] if write.old is not None else {}
    return bool(write.object["spec"].get("cancelRequested")) and not before.get("cancelRequested")


def _is_as_new(one: Object, other: Object) -> bool:
    """Whether ``one`` is another run that was not created in an earlier second."""
    return _uid(one) != _uid(other) and _age(one)[0] >= _age(other)[0]


def _age(run: Object) -> tuple[str, str]:
    return run["metadata"]["creationTimestamp"], _name(run)


def _name(run: Object) -> str:
    return str(run["metadata"]["name"])


def _uid(run: Object) -> str:
    return str(run["metadata"]["uid"])
