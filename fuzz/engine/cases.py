"""Runs one Story, with everything that happens to it, to its end, with or without crashes and faults.

``play`` is one execution: a new world under a mock clock. Its results can be compared, because times, UIDs and versions
are masked: two executions of one case must be equal, however often the process died.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from math import inf
from typing import Any

import trio
import trio.testing

from core.api.objects import NamespacedName, Object, step_path
from core.api.phases import Phase
from core.engine.plan import Refusal, parse_story
from core.engine.redrive.request import pending_redrive
from core.engine.settings import EngineSettings, RunDefaults
from core.policy.settings import OperatorSettings, StorageProvider, StorageSettings, TriggerSettings
from fuzz.engine.actions import Action, act
from fuzz.engine.answers import answers_of, anybody_waits, are_settled
from fuzz.engine.bounds import SLACK_SECONDS, bound_seconds
from fuzz.engine.case import FIRST, Case, Rival
from fuzz.engine.clients.fate import Fates
from fuzz.engine.clients.population import Clients, seeded_system
from fuzz.engine.cluster import Discarded, Place, Write
from fuzz.engine.incarnation import Incarnation
from fuzz.engine.kept import due_by, is_cleaned, is_going
from fuzz.engine.kill_at import MOST_TASK_STEPS, KillAt
from fuzz.engine.model_hub import Silence
from fuzz.engine.process import Fault
from fuzz.engine.routing import story_of
from fuzz.engine.shards import Change
from fuzz.engine.storage_cases import INLINE_BYTES, INLINE_INPUTS_BYTES
from fuzz.engine.stream_workers import WORKLOAD
from fuzz.engine.watches import Delivery
from fuzz.engine.world import LONGEST_SECONDS, NAMESPACE, World, open_world

SETTLE_SECONDS = 3.0
"""The time after the end of a run: longer than the grace and lag of any Pod."""
executions = 0
"""The number of executions in this process."""


@dataclass(frozen=True)
class Trouble:
    """The disturbances: process ``i`` dies before task step ``kills[i]``; ``faults[i]`` are the faults of its calls."""

    kills: Sequence[int] = ()
    faults: Sequence[Mapping[int, Fault]] = ()
    deliveries: Mapping[int, Delivery] = field(default_factory=dict)
    downtime_seconds: float = 0.0
    """The time between the death of a process and the start of the next."""
    latency_seconds: float = 0.0
    """For each call, in each direction."""
    lags: Mapping[str, float] = field(default_factory=dict)
    """By kind: the delay of its watch."""
    second_lags: Mapping[str, float] = field(default_factory=dict)
    """The same for a process that works beside another: of two leaders, one often has older data."""
    heals: bool = False
    """All faults end with the last action of the case or after the last death; lost events are then delivered."""
    client_kills: Collection[int] = ()
    """Stops of clients, numbered over all clients, at which the client dies."""
    client_freezes: Mapping[int, float] = field(default_factory=dict)
    """Stops of clients at which the client is frozen, with the seconds."""
    client_faults: Mapping[int, Fault] = field(default_factory=dict)
    """By number of the request, over all clients."""
    twins: bool = False
    """Two processes at once, each of which believes to be the only one; only the first has kills and faults."""

    @property
    def hears_late(self) -> bool:
        """Whether a process can receive stored changes late."""
        return bool(self.deliveries or self.lags or self.second_lags)

    @property
    def delays(self) -> bool:
        """Whether anything happens later than without the trouble."""
        of_clients = self.client_kills or self.client_freezes or self.client_faults
        own = any(self.faults) or self.hears_late or self.downtime_seconds or self.latency_seconds
        return bool(own or of_clients)


_SETTINGS = EngineSettings(
    jitter=lambda: 0.0,
    run_defaults=lambda: RunDefaults(max_inline_inputs_bytes=INLINE_INPUTS_BYTES),
    max_inline_bytes=lambda: INLINE_BYTES,
    max_inline_output_bytes=INLINE_BYTES,
)


@dataclass(frozen=True)
class Played:
    """The result of an execution."""

    case: Case
    trouble: Trouble
    ended: bool
    run: Object
    """The first run."""
    open: Sequence[str]
    """The names of the runs of the case that had not ended when their time was over."""
    history: Sequence[Write]
    ran: Sequence[tuple[str, int, str]]
    overlaps: Sequence[tuple[str, int]]
    unfenced: Sequence[tuple[str, int]]
    """See ``StreamWorkers``."""
    doubled: Sequence[str]
    """See ``ModelHub``."""
    silences: Sequence[Silence]
    refused: Sequence[str]
    still_ending: Sequence[str]
    """StepRuns whose attempt was asked to end, but still ran when the last run ended."""
    still_alive: Sequence[str]
    crashes: Sequence[BaseException]
    events: Sequence[tuple[str, str, str]]
    task_steps: int
    moments: Sequence[Sequence[int]]
    """For each process, the steps of its tasks at which a death can make a difference: see ``KillAt``."""
    calls: int
    ended_at_seconds: float
    seen_until_seconds: float
    """The time at which ``objects`` was read."""
    objects: Mapping[Place, Object] = field(default_factory=dict)
    """All objects that exist at the end."""
    effects: Sequence[tuple[str, str, str]] = ()
    """UID of the StepRun, step, and result of every container that ended by itself."""
    writes_while_waiting: int = 0
    """Writes during ten minutes without any due event, for a run that waits for a user."""
    starts: Sequence[float] = (0.0,)
    """Seconds at which a process started, or started to work for a run that another process had owned."""
    owners: Sequence[Change] = ()
    """All hand-overs of runs between processes."""
    shards: Mapping[str, int] = field(default_factory=dict)
    """The shard of each actor that is a process of the operator."""
    seen: Mapping[str, int] = field(default_factory=dict)
    """How often each fault and each unusual delivery occurred."""
    clients: Clients | None = None
    """What the clients have learned and done."""
    stored: Mapping[str, bytes] = field(default_factory=dict)
    stored_after: Mapping[str, int] = field(default_factory=dict)
    stored_last: Mapping[str, int] = field(default_factory=dict)
    discarded: tuple[Discarded, ...] = ()
    """See ``Cluster``."""
    missing_workers: frozenset[str] = frozenset()
    """UIDs of the warm workers that were ever without contact."""
    workers: Mapping[str, float] = field(default_factory=dict)
    """UID of each warm worker → the seconds since which it exists."""

    @property
    def phase(self) -> str:
        return str((self.run.get("status") or {}).get("phase"))

    @property
    def runs(self) -> dict[str, Object]:
        """The runs of the case that exist at the end, by name."""
        places = {name: ("StoryRun", NAMESPACE, name) for name in self.case.names}
        return {name: self.objects[place] for name, place in places.items() if place in self.objects}

    @property
    def step_runs(self) -> dict[str, Object]:
        """The StepRuns of the first run, by step."""
        return self.step_runs_of(self.case.names[0])

    def step_runs_of(self, run: str) -> dict[str, Object]:
        """The StepRuns that exist at the end, by step."""
        found = (self.objects[place] for place in sorted(self.objects) if place[0] == "StepRun")
        return {step_path(one): one for one in found if one["spec"]["storyRunRef"]["name"] == run}

    @property
    def operator_writes(self) -> list[Write]:
        return [write for write in self.history if write.actor.startswith("operator")]

    def end_state(self) -> Any:
        """All parts of the end that a crash must not change."""
        status = self.run.get("status") or {}
        return {
            "run": _masked(status) | {"storyRevision": self._kept_story(status)},
            "steps": {name: _masked(step_run.get("status") or {}) for name, step_run in self.step_runs.items()},
            "creates": Counter(_logical(write) for write in self.history if _counts(write)),
            "ran": Counter(self.ran),
            "further runs": {
                name: _masked(run.get("status") or {}) for name, run in self.runs.items() if name != self.case.names[0]
            },
            "answers": answers_of(self.objects),
        }

    def _kept_story(self, status: Object) -> Any:
        """The spec that the run executes; the name of its copy contains a UID."""
        kept = self.objects.get(("ControllerRevision", "default", str(status.get("storyRevision"))))
        return kept and kept["data"]["spec"]

    def verdict(self) -> Any:
        """The end of the run, without the ends of its steps."""
        return self.phase, [c["reason"] for c in (self.run.get("status") or {}).get("conditions", ())]

    def comparable_with(self, other: Played) -> bool:
        """Whether both executions must have the same end.

        A failure (fail-fast) or a ``stop`` ends other steps at the instant at which it happens. Which of them had
        already started depends on chance, and a crash or a delay can change it. The same is true of a cancel at the
        very start, because a process that starts after it finds that nothing has begun. It is also true of actions of
        users, and of runs that they start, if the engine receives them late; and of equal steps with a cache.
        """
        if any(engram.cache is not None for engram in self.case.engrams.values()):
            return False
        if (self.case.actions or self.case.rivals or self.case.has_clients) and (
            self.trouble.delays or other.trouble.delays
        ):
            return False
        ended_at_once = self.case.cancel_after_seconds == 0.0 or any(rival.at == 0.0 for rival in self.case.rivals)
        return not (self._ends_others or other._ends_others or ended_at_once)

    @property
    def _ends_others(self) -> bool:
        plan = plan_of(self.case)
        if isinstance(plan, Refusal):
            return False
        failing = any(
            Phase(state["phase"]).failing and step not in plan.rules.allowed
            for run in (self.run, *self.runs.values())
            for step, state in ((run.get("status") or {}).get("stepStates") or {}).items()
        )
        return (failing and not plan.rules.continue_on_failure) or self._stops > 0

    def verdict_comparable_with(self, other: Played) -> bool:
        """Whether both executions must have the same verdict: no step competes with a ``stop``."""
        return self._stops == 0 and other._stops == 0

    @property
    def _stops(self) -> int:
        return sum(step.get("type") == "stop" for step in self.case.spec["steps"])


def play(case: Case, trouble: Trouble | None = None, seed: int = 0) -> Played:
    """Run one execution. ``seed`` determines the order in which Trio runs tasks that are ready at the same time."""
    global executions
    executions += 1
    trouble = trouble or Trouble()
    killer = KillAt()
    trio._core._run._r.seed(seed)  # seeds Trio's scheduler: with one seed, all executions are equal
    with seeded_system(seed) if case.has_clients else nullcontext():
        played: Played | None = trio.run(
            _play,
            case,
            trouble,
            killer,
            clock=trio.testing.MockClock(autojump_threshold=0),
            instruments=[killer],
        )
    if played is None:
        raise AssertionError(f"a loop without end: more than {MOST_TASK_STEPS} steps of tasks")
    return played


async def _play(case: Case, trouble: Trouble, killer: KillAt) -> Played | None:
    """Returns None if the world had to be given up."""
    async with open_world(
        case.scripts, engrams=case.engrams, settings=_SETTINGS, deliveries=trouble.deliveries, lags=trouble.lags
    ) as world:
        world.second_lags = trouble.second_lags
        world.latency = trouble.latency_seconds
        world.house = _settings_of(case)
        killer.world = world
        for name, spec in case.stories.items():
            world.add_story(name, spec)
        if not case.story_after_seconds:
            world.add_story("story", case.spec)
        else:
            world.nursery.start_soon(_add_story_later, world, case)
        key = NamespacedName(NAMESPACE, case.names[0])
        if case.has_clients:
            _begin_clients(world, case, trouble)
        if not case.submissions:
            world.add_run(key.name, "story", inputs=dict(case.inputs))
        for name, rival in zip(case.names[1:], case.rivals, strict=True) if case.rivals else ():
            world.nursery.start_soon(_add_rival_later, world, case, name, rival)
        if case.cancel_after_seconds is not None:
            world.nursery.start_soon(_cancel_later, world, case, key)
        for action in case.actions:
            world.nursery.start_soon(_act_later, world, action, case.names[0])
        if trouble.twins:
            world.start_twin(key)
        life = await _lives(world, key, killer, case, trouble)
        killer.number = 0
        ended_at = trio.current_time()
        left = tuple(name for name in case.names if not _is_over(world, NamespacedName(NAMESPACE, name)))
        ending = tuple(name for name in _alive(world) if _is_told_to_end(world, name))
        await trio.sleep(SETTLE_SECONDS + max(trouble.second_lags.values(), default=0.0))
        await trio.testing.wait_all_tasks_blocked()
        waited = 0
        if anybody_waits(world.cluster.objects):
            await trio.sleep(SLACK_SECONDS)  # the operator may still learn for what else they wait
        if anybody_waits(world.cluster.objects) or not life.ended:
            waited = await _writes_in_ten_minutes(world)
        return Played(
            case=case,
            trouble=trouble,
            ended=life.ended,
            run=world.cluster.get("StoryRun", *key) or {"metadata": {}},
            open=left,
            history=tuple(world.cluster.history),
            ran=tuple(world.worker.ran),
            overlaps=tuple(world.worker.overlaps),
            unfenced=tuple(world.streams.unfenced),
            doubled=tuple(world.hub.doubled),
            silences=tuple(world.hub.silences),
            refused=tuple(world.worker.refused),
            still_ending=ending,
            still_alive=_alive(world),
            crashes=tuple(world.crashes),
            events=tuple(world.events.told),
            task_steps=life.task_steps,
            moments=tuple(life.moments),
            calls=life.calls,
            ended_at_seconds=ended_at,
            seen_until_seconds=trio.current_time(),
            objects=dict(world.cluster.objects),
            effects=tuple(world.worker.effects),
            writes_while_waiting=waited,
            starts=(*(one.started_at for one in (*world.twins, *world.incarnations)), *world.handed_over),
            owners=tuple(world.shards.changes),
            shards={one.process.actor: one.shard for one in (*world.twins, *world.incarnations)},
            seen=_seen(world),
            clients=world.clients,
            stored=dict(world.cluster.stored),
            stored_after=dict(world.cluster.stored_after),
            stored_last=dict(world.cluster.stored_last),
            discarded=tuple(world.cluster.discarded),
            missing_workers=frozenset(world.warm.missing),
            workers={one.uid: one.since for one in world.warm.workers},
        )


def _settings_of(case: Case) -> OperatorSettings:
    """Clients have no store, so the large inputs of a StoryTrigger are refused."""
    if not case.has_clients:
        return OperatorSettings(storage=StorageSettings(StorageProvider.FILE, file_path="/volume"))
    limit = timedelta(seconds=case.times.pending_timeout_seconds)
    return OperatorSettings(triggers=TriggerSettings(case.times.retention_seconds, limit))


def _begin_clients(world: World, case: Case, trouble: Trouble) -> None:
    fates = Fates(
        trouble.client_kills, trouble.client_freezes, trouble.client_faults, latency_seconds=trouble.latency_seconds
    )
    world.add_clients(fates).begin(case.submissions, case.strays, case.names[0])


@dataclass
class _Life:
    ended: bool = False
    task_steps: int = 0
    calls: int = 0
    moments: list[Sequence[int]] = field(default_factory=list)


async def _lives(world: World, key: NamespacedName, killer: KillAt, case: Case, trouble: Trouble) -> _Life:
    """Runs one process after the other, until all runs have ended or their time is over."""
    life = _Life()
    number = 0
    healing = trouble.heals
    while True:
        faults = trouble.faults[number] if number < len(trouble.faults) else {}
        killer.begin(trouble.kills[number] if number < len(trouble.kills) else 0)
        number += 1
        process = killer.process = world.start(
            key, faults=faults, latency=trouble.latency_seconds, everything=case.has_company
        )
        incarnation = world.incarnations[-1]
        while healing and not incarnation.process.dead and trio.current_time() < case.last_action_at:
            with trio.move_on_at(case.last_action_at):
                await incarnation.gone.wait()
        if healing and not incarnation.process.dead:
            world.heal()
        life.ended = await _until_ended_or_dead(world, incarnation, case, trouble)
        life.task_steps += killer.steps
        life.moments.append(tuple(killer.moments))
        life.calls += process.calls
        if not process.dead:
            return life
        await incarnation.gone.wait()
        await trio.sleep(max(trouble.downtime_seconds, world.downtime))


async def _writes_in_ten_minutes(world: World) -> int:
    """Does not count removals after the retention time, which I42 checks."""
    before = len(world.cluster.history)
    await trio.sleep(600.0)
    return sum(not (is_going(write) or is_cleaned(write)) for write in world.cluster.history[before:])


def _seen(world: World) -> dict[str, int]:
    found: Counter[str] = Counter()
    for one in (*world.incarnations, *world.twins):
        found.update({f"request {fault}": times for fault, times in one.process.faulted.items() if times})
        found.update({f"event {delivery}": times for delivery, times in one.watches.seen.items() if times})
    return dict(found)


def _alive(world: World) -> tuple[str, ...]:
    """The names of the StepRuns that have a running Pod or worker."""
    pods = (place[2] for place, pods in world.worker.pods.items() if any(pod.alive for pod in pods))
    return (*pods, *world.warm.at_work(), *world.streams.alive())


def _is_told_to_end(world: World, name: str) -> bool:
    if world.warm.is_at_work(("StepRun", NAMESPACE, name)):
        return name in world.warm.told()
    return all((kind, NAMESPACE, name) not in world.cluster.objects for kind in ("Job", WORKLOAD))


async def _until_ended_or_dead(world: World, incarnation: Incarnation, case: Case, trouble: Trouble) -> bool:
    """Whether the runs have ended for good or are deleted; False if the process died or the time is over."""
    keys = [NamespacedName(NAMESPACE, name) for name in case.names]
    ended = False
    async with trio.open_nursery() as nursery:

        async def wait_for_death() -> None:
            await incarnation.gone.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(wait_for_death)
        if trio.current_time() < case.last_action_at:
            await trio.sleep(case.last_action_at - trio.current_time())
        if world.clients is not None:
            await world.clients.settled.wait()
        frozen_seconds = sum(trouble.client_freezes.values())
        limit = bound_seconds(case) + frozen_seconds if trouble.heals else LONGEST_SECONDS
        ended = await world.until(lambda: _is_all_over(world, case, keys), limit)
        nursery.cancel_scope.cancel()
    return ended and not incarnation.process.dead


def _is_all_over(world: World, case: Case, keys: Sequence[NamespacedName]) -> bool:
    return all(_is_over(world, key) for key in keys) and are_settled(world.cluster.objects, case.times)


def _is_over(world: World, key: NamespacedName) -> bool:
    """Whether the run is deleted, or has ended and is kept for longer than any execution lasts."""
    run = world.cluster.objects.get(("StoryRun", *key))
    if run is None:
        return True
    status = run.get("status") or {}
    if run["metadata"].get("deletionTimestamp") or not status.get("finishedAt") or pending_redrive(run) is not None:
        return False
    kept = due_by((world.cluster.objects.get(("Story", *story_of(run))) or {}).get("spec"))
    return kept.run == inf and (kept.children == inf or "childrenCleanedAt" in status)


async def _act_later(world: World, action: Action, first: str) -> None:
    await trio.sleep(action.at)
    await act(world, NamespacedName(NAMESPACE, action.run or first), action)


async def _add_rival_later(world: World, case: Case, name: str, rival: Rival) -> None:
    await trio.sleep(rival.at)
    own = {} if rival.participant is None else {"participant": rival.participant}
    world.add_run(name, "story", FIRST if rival.reuses else "", inputs={**case.inputs, **own})


async def _add_story_later(world: World, case: Case) -> None:
    await trio.sleep(case.story_after_seconds)
    world.add_story("story", case.spec)


async def _cancel_later(world: World, case: Case, key: Any) -> None:
    assert case.cancel_after_seconds is not None
    await trio.sleep(case.cancel_after_seconds)
    world.cancel_run(key)


def differences(one: Played, other: Played) -> list[str]:
    """The differences between the ends of two executions; empty if there are none."""
    found = []
    ours, theirs = one.end_state(), other.end_state()
    for part in ours:
        for key in {*ours[part], *theirs[part]}:
            if ours[part].get(key) != theirs[part].get(key):
                found.append(f"{part} {key}: {ours[part].get(key)} | {theirs[part].get(key)}")
    return sorted(found)


def plan_of(case: Case) -> Any:
    """The plan of the case's Story, or the reason why it is refused."""
    return parse_story({"metadata": {"name": "story", "namespace": "default"}, "spec": case.spec})


def _counts(write: Write) -> bool:
    """Whether a create is compared: a run that ends at once may end before its Story is stored."""
    return write.verb == "create" and write.place[0] != "ControllerRevision"


def _logical(write: Write) -> tuple[str, str]:
    """The identity of a created object across processes: a Pod is identified by the step that it works for."""
    kind, _, name = write.place
    return kind, write.object["spec"]["stepRun"] if kind == "Pod" else name


_TIMES = (
    "startedAt",
    "finishedAt",
    "duration",
    "nextRetryAt",
    "lastOutputAt",
    "storyRevision",
    "attempt",
    "workerExit",
    "observedUid",
)
"""Fields that differ between two executions with the same end."""


def _masked(status: Object) -> Object:
    kept = {key: value for key, value in status.items() if key not in _TIMES}
    kept["conditions"] = [(c["type"], c["status"], c["reason"]) for c in status.get("conditions", ())]
    if "failedAttempts" in status:
        # a deadline and the loss of a worker may both end an attempt: each of them may be noticed first
        kept["failedAttempts"] = [attempt["number"] for attempt in status["failedAttempts"]]
    if "effects" in status:
        kept["effects"] = [(effect["key"], effect["status"]) for effect in status["effects"]]
    if "stepStates" in status:
        kept["stepStates"] = {
            # if two needs failed at the same instant, each of them may be named as the cause of a skip
            name: (state["phase"], state.get("message") if state["phase"] != "Skipped" else None)
            for name, state in status["stepStates"].items()
        }
    return kept
