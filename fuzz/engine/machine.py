"""The proof as a state machine: rules collect a Story and a schedule; the teardown executes them once and checks them.

Hypothesis' machines are synchronous, the engine is not. Trio could run in guest steps between the rules; or the rules
only record what happens at which time, and ``trio.run`` executes everything at the end. This module does the latter.
One execution is a pure function of (case, trouble, seed), so a failure replays without Hypothesis, can be stored as a
file, and shrinks by leaving out entries of the schedule. No rule needs the result of an earlier rule, because the names
of steps, which it needs, are in the Story.

After the last entry all disturbances end: requests succeed, watches deliver everything, one process is alive. From then
on the run must end within its bound (I15), or wait for a user and report it, and the history must fulfil all
invariants.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from bubu_contract.identity import compose
from core.api.phases import Phase
from core.engine.step.record import executor_of
from fuzz.engine.actions import HAND_OVERS, Action, Verb
from fuzz.engine.case import Case, Rival
from fuzz.engine.cases import Played, Trouble, play
from fuzz.engine.clients.population import Clients
from fuzz.engine.corpus import keep_failure
from fuzz.engine.history import History, is_terminal, states_of
from fuzz.engine.invariants import violations
from fuzz.engine.invariants_definitions import is_waiting
from fuzz.engine.process import Fault
from fuzz.engine.strategies import ENGRAMS
from fuzz.engine.strategies_story import PARTICIPANTS, large_cases, stories
from fuzz.engine.warm_workers import DEAF_SECONDS
from fuzz.engine.watches import KINDS, Delivery

PAUSES = st.sampled_from((0.0, 0.05, 0.3, 0.9, 1.7, 4.1, 37.0))
DOWNTIMES = st.sampled_from((0.0, 0.4, 3.1, 61.0))
MOST_HAND_OVERS = 3
"""The limit for one execution."""


class EngineMachine(RuleBasedStateMachine):
    """One run of a random Story, or a few runs, and all that happens to them. ``largest`` limits the Story."""

    largest: ClassVar[int] = 30
    most_rivals: ClassVar[int] = 2
    covered: ClassVar[Counter[str]] = Counter()
    """The features of all executions in this process, for ``make fuzz``."""

    @initialize(data=st.data(), seed=st.integers(0, 7))
    def begin(self, data: st.DataObject, seed: int) -> None:
        self.start(data.draw(large_cases(max_steps=self.largest)), seed)

    def start(self, case: Case, seed: int) -> None:
        """Begin to collect what happens to this case."""
        self.case = case
        self.seed = seed
        self.now = 0.0
        self.actions: list[Action] = []
        self.kills: list[int] = []
        self.faults: list[dict[int, Fault]] = [{}, {}]
        self.deliveries: dict[int, Delivery] = {}
        self.lags: dict[str, float] = {}
        self.second_lags: dict[str, float] = {}
        self.latency = 0.0
        self.tokens = 0
        self.rivals: list[Rival] = []

    # A user.

    @precondition(lambda self: self.limits_runs and len(self.rivals) < self.most_rivals)
    @rule(pause=PAUSES, participant=st.sampled_from(PARTICIPANTS), reuses=st.booleans())
    def another_run(self, pause: float, participant: str | None, reuses: bool) -> None:
        self.now += pause
        self.rivals.append(Rival(round(self.now, 3), participant, reuses))

    @precondition(lambda self: self.rivals)
    @rule(data=st.data(), pause=PAUSES, verb=st.sampled_from((Verb.CANCEL, Verb.REDRIVE, Verb.DELETE_RUN)))
    def act_on_another_run(self, data: st.DataObject, pause: float, verb: Verb) -> None:
        run = data.draw(st.sampled_from(self.runs[1:]))
        self.tokens += 1
        self._do(pause, verb, value=f"t{self.tokens}" if verb is Verb.REDRIVE else None, run=run)

    @precondition(lambda self: self.gates)
    @rule(data=st.data(), pause=PAUSES, given=st.sampled_from((None, {"n": "5", "flag": "yes"})))
    def approve(self, data: st.DataObject, pause: float, given: dict[str, str] | None) -> None:
        self._do(pause, Verb.APPROVE, data.draw(st.sampled_from(self.gates)), given)

    @precondition(lambda self: self.gates)
    @rule(data=st.data(), pause=PAUSES)
    def reject(self, data: st.DataObject, pause: float) -> None:
        self._do(pause, Verb.REJECT, data.draw(st.sampled_from(self.gates)))

    @rule(pause=PAUSES)
    def cancel(self, pause: float) -> None:
        self._do(pause, Verb.CANCEL)

    @rule(pause=PAUSES)
    def redrive(self, pause: float) -> None:
        self.tokens += 1
        self._do(pause, Verb.REDRIVE, value=f"t{self.tokens}")

    @rule(data=st.data(), pause=PAUSES)
    def redrive_from(self, data: st.DataObject, pause: float) -> None:
        self.tokens += 1
        step = data.draw(st.sampled_from((*self.steps, "nowhere")))
        self._do(pause, Verb.REDRIVE_FROM, step, f"t{self.tokens}")

    @precondition(lambda self: not self._did(Verb.DELETE_REVISIONS))  # the run would change its Story
    @rule(data=st.data(), pause=PAUSES)
    def edit_story(self, data: st.DataObject, pause: float) -> None:
        spec, _ = data.draw(stories(max_steps=3))
        self._do(pause, Verb.EDIT_STORY, value=spec)

    @rule(data=st.data(), pause=PAUSES, verb=st.sampled_from((Verb.DELETE_JOB, Verb.DELETE_POD, Verb.DELETE_STEP_RUN)))
    def delete_of_a_step(self, data: st.DataObject, pause: float, verb: Verb) -> None:
        self._do(pause, verb, data.draw(st.sampled_from(self.steps)))

    @rule(data=st.data(), pause=PAUSES, seconds=st.sampled_from((0.3, 1.0, 3.1)))
    def cut_a_worker_off(self, data: st.DataObject, pause: float, seconds: float) -> None:
        self._do(pause, Verb.CUT_OFF, data.draw(st.sampled_from(self.steps)), seconds)

    @rule(data=st.data(), pause=PAUSES, seconds=st.sampled_from((0.3, DEAF_SECONDS)))
    def deafen_a_worker(self, data: st.DataObject, pause: float, seconds: float) -> None:
        self._do(pause, Verb.DEAFEN, data.draw(st.sampled_from(self.steps)), seconds)

    @rule(pause=PAUSES, verb=st.sampled_from((Verb.DELETE_STORY, Verb.DELETE_STORY, Verb.DELETE_RUN)))
    def delete(self, pause: float, verb: Verb) -> None:
        self._do(pause, verb)

    @precondition(lambda self: not self._did(Verb.EDIT_STORY))
    @rule(pause=PAUSES)
    def delete_revisions(self, pause: float) -> None:
        self._do(pause, Verb.DELETE_REVISIONS)

    @rule(
        pause=PAUSES,
        name=st.sampled_from((*ENGRAMS, "missing")),
        verb=st.sampled_from((Verb.APPLY_ENGRAM, Verb.DELETE_ENGRAM)),
    )
    def change_engram(self, pause: float, name: str, verb: Verb) -> None:
        self._do(pause, verb, value=name)

    @rule(pause=PAUSES, verb=st.sampled_from((Verb.APPLY_TEMPLATE, Verb.DELETE_TEMPLATE)))
    def change_template(self, pause: float, verb: Verb) -> None:
        self._do(pause, verb)

    # The machines.

    @rule(pause=PAUSES, downtime=DOWNTIMES)
    def kill(self, pause: float, downtime: float) -> None:
        self._do(pause, Verb.KILL, value=downtime)

    @precondition(lambda self: len(self.kills) < 3)
    @rule(step=st.integers(1, 400))
    def kill_at_await(self, step: int) -> None:
        self.kills.append(step)

    @precondition(lambda self: not self._did(Verb.SECOND_LEADER))
    @rule(pause=PAUSES, seconds=st.sampled_from((0.2, 2.3, 8.9, 120.0)))
    def second_leader(self, pause: float, seconds: float) -> None:
        self._do(pause, Verb.SECOND_LEADER, value=seconds)

    @precondition(lambda self: self._did(Verb.SECOND_LEADER))
    @rule(kind=st.sampled_from(KINDS), seconds=st.sampled_from((0.6, 5.0)))
    def second_leader_lags(self, kind: str, seconds: float) -> None:
        self.second_lags[kind] = seconds

    @precondition(lambda self: sum(action.verb in HAND_OVERS for action in self.actions) < MOST_HAND_OVERS)
    @rule(data=st.data(), pause=PAUSES, verb=st.sampled_from(HAND_OVERS), seconds=st.sampled_from((0.3, 9.0)))
    def hand_over(self, data: st.DataObject, pause: float, verb: Verb, seconds: float) -> None:
        run = data.draw(st.sampled_from(self.owned))
        self._do(pause, verb, value=seconds if verb is Verb.HAND_OVER_LATE else None, run=run)

    @rule(pause=PAUSES, seconds=st.sampled_from((0.2, 3.3, 40.0)), forgets=st.booleans())
    def restart_server(self, pause: float, seconds: float, forgets: bool) -> None:
        if not self._did(Verb.SERVER_DOWN, Verb.SERVER_FORGETS):
            self._do(pause, Verb.SERVER_FORGETS if forgets else Verb.SERVER_DOWN, value=seconds)

    @rule(pause=PAUSES)
    def relist(self, pause: float) -> None:
        self._do(pause, Verb.RELIST)

    @rule(pause=PAUSES, seconds=st.sampled_from((-3600.0, -2.0, 2.0, 3600.0)))
    def step_clock(self, pause: float, seconds: float) -> None:
        self._do(pause, Verb.STEP_CLOCK, value=seconds)

    @rule(process=st.integers(0, 1), calls=st.dictionaries(st.integers(0, 40), st.sampled_from(Fault), max_size=5))
    def fail_requests(self, process: int, calls: dict[int, Fault]) -> None:
        self.faults[process] |= calls

    @rule(events=st.dictionaries(st.integers(0, 60), st.sampled_from(Delivery), max_size=6))
    def disturb_watches(self, events: dict[int, Delivery]) -> None:
        self.deliveries |= events

    @rule(kind=st.sampled_from(KINDS), seconds=st.sampled_from((0.04, 0.6, 5.0)))
    def lag(self, kind: str, seconds: float) -> None:
        self.lags[kind] = seconds

    @rule(seconds=st.sampled_from((0.003, 0.21)))
    def slow_down(self, seconds: float) -> None:
        self.latency = seconds

    @property
    def steps(self) -> list[str]:
        """The full names of all steps, branches included."""
        return [*_names(self.case.spec)]

    @property
    def runs(self) -> Sequence[str]:
        """The names of the runs so far."""
        return Case(self.case.spec, rivals=self.rivals).names

    @property
    def limits_runs(self) -> bool:
        """Whether the runs of the Story depend on each other."""
        spec = self.case.spec
        return bool(spec.get("concurrency") or (spec.get("policy") or {}).get("concurrency"))

    @property
    def owned(self) -> Sequence[str]:
        """The names of what can be handed over."""
        return (*self.runs, *self.called)

    @property
    def gates(self) -> list[str]:
        return [name for name, step in _names(self.case.spec).items() if step.get("type") == "gate"]

    @property
    def called(self) -> list[str]:
        """The names of the child runs of the first run's steps, without those of loops."""
        steps = _names(self.case.spec).items()
        return [compose(self.runs[0], *name.split("/")) for name, step in steps if step.get("type") == "executeStory"]

    def _did(self, *verbs: Verb) -> bool:
        return any(action.verb in verbs for action in self.actions)

    def _do(self, pause: float, verb: Verb, step: str = "", value: Any = None, run: str = "") -> None:
        self.now += pause
        self.actions.append(Action(round(self.now, 3), verb, step, value, run))

    def teardown(self) -> None:
        if not hasattr(self, "case"):
            return
        judge(self._played_case(), self._trouble(), self.seed, self.covered)

    def _played_case(self) -> Case:
        return Case(
            self.case.spec,
            self.case.scripts,
            self.case.engrams,
            self.case.inputs,
            stories=self.case.stories,
            actions=tuple(self.actions),
            rivals=tuple(self.rivals),
            times=self.case.times,
        )

    def _trouble(self) -> Trouble:
        return Trouble(
            kills=tuple(self.kills),
            faults=tuple(self.faults),
            deliveries=self.deliveries,
            lags=self.lags,
            second_lags=self.second_lags,
            latency_seconds=self.latency,
            heals=True,
        )


def judge(case: Case, trouble: Trouble, seed: int, covered: Counter[str] | None = None) -> Played:
    """Execute once; a violation is printed as a Story in YAML with its schedule, and stored as a file.

    Raises:
        AssertionError: an invariant is violated; has all of this text.
    """
    try:
        played = play(case, trouble, seed=seed)
        broken = violations(played)
    except Exception as error:
        keep_failure(case, trouble, seed, [repr(error)])
        raise
    for word in features(played):
        event(word)
        if covered is not None:
            covered[word] += 1
    if broken:
        text = keep_failure(case, trouble, seed, broken)
        raise AssertionError("\n".join([*broken, text]))
    return played


def features(played: Played) -> list[str]:
    """The features of an execution: primitives, faults, actions, transitions, and its end."""
    found = {"executions"}
    for spec in (played.case.spec, *played.case.stories.values()):
        found |= {f"primitive {step.get('type', 'engram')}" for step in _names(spec).values()}
        found |= {f"group {group}" for group in ("compensations", "finally") if spec.get(group)}
        found |= {"retention"} if (spec.get("policy") or {}).get("execution") else set()
    found |= {f"action {action.verb}" for action in played.case.actions}
    if played.case.rivals:
        turns = played.case.spec.get("concurrency") or {}
        found.add(f"{len(played.case.names)} runs, {turns.get('mode')}, by {turns.get('scope', 'story')}")
        found |= {"reuses an earlier run"} if any(rival.reuses for rival in played.case.rivals) else set()
    found |= {f"fault {word}" for word in played.seen if not word.endswith("now")}
    found |= {"fault killed at an await"} if played.trouble.kills else set()
    found |= {f"run {played.phase}" if played.ended else "run waits for a person"}
    found |= features_of_clients(played.clients) if played.clients is not None else set()
    for write in History(played).writes():
        if write.place[0] == "StepRun" and write.verb == "create":
            found.add(f"executor {executor_of(write.object)}")
        if write.place[0] != "StoryRun" or write.new is None:
            continue
        for name, state in states_of(write.new).items():
            old = states_of(write.old).get(name)
            if old is None or old["phase"] != state["phase"]:
                before = "new" if old is None else old["phase"]
                found.add(f"transition {before} → {state['phase']}")
                if not is_terminal(state) and Phase(state["phase"]) is Phase.PENDING:
                    found.add("a step waits for a definition" if is_waiting(state) else "a step queued")
    return sorted(found)


def features_of_clients(clients: Clients) -> set[str]:
    """What clients were told, and what became of effects."""
    fates = clients.fates
    found = {f"client request {fault}" for fault, times in fates.faulted.items() if times}
    found |= {f"client {word}" for word, times in (("killed", clients.died_at), ("frozen", fates.frozen_at)) if times}
    for told in clients.told:
        answer = told.decision.outcome if told.decision is not None else type(told.error).__name__
        found.add("submitted by hand" if told.submission.by_hand else f"submission {answer}")
    for _, result in clients.results:
        outcome = result.outcome
        word = "killed" if result.error is None else result.error.code or "failed"
        found.add(f"effect {word if outcome is None else 'executed' if outcome.executed else 'had happened'}")
    return found


def _names(spec: Any) -> dict[str, Any]:
    """The steps of a Story by full name; the first two items of a ``forEach``."""
    found: dict[str, Any] = {}

    def add(step: Any, name: str) -> None:
        found[name] = step
        settings = step.get("with") or {}
        for branch in settings.get("steps", ()) if step.get("type") == "parallel" else ():
            parts = ("0", "1") if "forEach" in settings else (branch["name"],)
            for part in parts:
                add(branch, f"{name}/{part}")

    for group in ("steps", "compensations", "finally"):
        for step in spec.get(group) or ():
            add(step, step["name"])
    return found
