"""The state machine with clients: Impulses that submit StoryTriggers, and containers that perform effects.

All rules of ``machine`` apply, too. Nobody creates the first run: the first submission asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from fuzz.engine.actions import Verb
from fuzz.engine.answers import TriggerTimes
from fuzz.engine.case import Case
from fuzz.engine.cases import Trouble
from fuzz.engine.clients.effects import Effect, Stray
from fuzz.engine.clients.submissions import Submission
from fuzz.engine.machine import PAUSES, EngineMachine
from fuzz.engine.process import Fault
from fuzz.engine.strategies_story import large_cases
from fuzz.engine.watches import OF_CLIENTS
from fuzz.engine.worker import Script

STOPS: Final = st.integers(1, 60)
REQUESTS: Final = st.integers(1, 40)
IMPULSE: Final = "hook"
MOST_SUBMISSIONS: Final = 3
SCHEMA: Final = {"required": ["n"], "properties": {"n": {"type": "integer"}}}
IDENTITIES: Final[Sequence[dict[str, Any]]] = (
    {"key": "order 1"},
    {"key": "order 1"},
    {"key": "Order_2"},
    {"id": "once"},
    {"key_from": "{{ inputs.n }}"},
)
OWN_INPUTS: Final[Sequence[dict[str, Any]]] = (
    {},
    {},
    {"participant": "bob"},
    {"n": 8},
    {"n": "x"},
    {"text": "y" * 300},
    {"text": "y" * 2000},
)
BY_HAND: Final = (False,) * 7 + (True,)
TIMES: Final = (TriggerTimes(), TriggerTimes(), TriggerTimes(3.0), TriggerTimes(retention_seconds=2))

effects: Final = st.builds(
    Effect,
    lease_seconds=st.sampled_from((1, 2, 6)),
    before_seconds=st.sampled_from((0.0, 0.2, 3.0)),
    after_seconds=st.sampled_from((0.3, 2.0)),
    raises=st.sampled_from((False, False, False, True)),
    wait_seconds=st.sampled_from((0.0, 5.0)),
)


class ClientMachine(EngineMachine):
    """One Story of a few steps, and the clients that start it and work for its steps."""

    largest = 4
    most_rivals = 0

    @initialize(data=st.data(), seed=st.integers(0, 7))
    def begin(self, data: st.DataObject, seed: int) -> None:
        drawn = data.draw(large_cases(max_steps=self.largest))
        spec = dict(drawn.spec) | data.draw(st.sampled_from(({}, {}, {"version": "1"}, {"inputsSchema": SCHEMA})))
        scripts = {step: self._with_effects(data, attempts) for step, attempts in drawn.scripts.items()}
        self.start(replace(drawn, spec=spec, scripts=scripts, times=data.draw(st.sampled_from(TIMES))), seed)
        self.submissions = [self._drawn(data, 0.0)]
        self.strays: list[Stray] = []
        self.client_kills: set[int] = set()
        self.client_freezes: dict[int, float] = {}
        self.client_faults: dict[int, Fault] = {}

    # Clients.

    @precondition(lambda self: len(self.submissions) < MOST_SUBMISSIONS)
    @rule(data=st.data(), pause=PAUSES)
    def submit(self, data: st.DataObject, pause: float) -> None:
        self.now += pause
        self.submissions.append(self._drawn(data, round(self.now, 3)))

    @rule(data=st.data(), pause=PAUSES, effect=effects)
    def start_a_stray_container(self, data: st.DataObject, pause: float, effect: Effect) -> None:
        self.now += pause
        self.strays.append(Stray(round(self.now, 3), data.draw(st.sampled_from(self.steps)), effect))

    @rule(stops=st.sets(STOPS, max_size=3))
    def kill_clients(self, stops: set[int]) -> None:
        self.client_kills |= stops

    @rule(freezes=st.dictionaries(STOPS, st.sampled_from((0.5, 3.0, 9.0, 700.0)), max_size=2))
    def freeze_clients(self, freezes: dict[int, float]) -> None:
        self.client_freezes |= freezes

    @rule(requests=st.dictionaries(REQUESTS, st.sampled_from(Fault), max_size=5))
    def fail_requests_of_clients(self, requests: dict[int, Fault]) -> None:
        self.client_faults |= requests

    # Users.

    @rule(pause=PAUSES, verb=st.sampled_from((Verb.APPLY_IMPULSE, Verb.DELETE_IMPULSE)))
    def change_impulse(self, pause: float, verb: Verb) -> None:
        self._do(pause, verb, value=IMPULSE)

    @precondition(lambda self: self._did(Verb.DELETE_STORY))
    @rule(pause=PAUSES)
    def apply_story_again(self, pause: float) -> None:
        self._do(pause, Verb.APPLY_STORY, value=self.case.spec)

    @rule(pause=PAUSES, version=st.sampled_from(("1", "2")))
    def change_version(self, pause: float, version: str) -> None:
        self._do(pause, Verb.EDIT_STORY, value={**self.case.spec, "version": version})

    @rule(data=st.data(), pause=PAUSES, verb=st.sampled_from((Verb.DELETE_TRIGGER, Verb.DELETE_RUN)))
    def delete_of_a_request(self, data: st.DataObject, pause: float, verb: Verb) -> None:
        self._do(pause, verb, run=data.draw(st.sampled_from(self.submissions)).run)

    @rule(kind=st.sampled_from(tuple(OF_CLIENTS)), seconds=st.sampled_from((0.04, 0.6, 5.0)))
    def lag_of_clients(self, kind: str, seconds: float) -> None:
        self.lags[kind] = seconds

    @property
    def runs(self) -> Sequence[str]:
        return Case(self.case.spec, submissions=self.submissions).names

    @property
    def owned(self) -> Sequence[str]:
        return (*super().owned, *(submission.trigger for submission in self.submissions))

    def _drawn(self, data: st.DataObject, at: float) -> Submission:
        identity = data.draw(st.sampled_from(IDENTITIES))
        inputs = {**self.case.inputs, **data.draw(st.sampled_from(OWN_INPUTS))}
        more: dict[str, Any] = data.draw(
            st.sampled_from(({}, {}, {}, {"version": "1"}, {"version": "2"}, {"impulse": IMPULSE}, {"times": 2}))
        )
        by_hand = "key" in identity and "impulse" not in more and data.draw(st.sampled_from(BY_HAND))
        return Submission(at, inputs=inputs, offloads=data.draw(st.booleans()), by_hand=by_hand, **identity, **more)

    @staticmethod
    def _with_effects(data: st.DataObject, attempts: tuple[Script, ...]) -> tuple[Script, ...]:
        effect = data.draw(st.one_of(effects, effects, st.none()))
        return attempts if effect is None else tuple(replace(script, effect=effect) for script in attempts)

    def _played_case(self) -> Case:
        return replace(super()._played_case(), submissions=tuple(self.submissions), strays=tuple(self.strays))

    def _trouble(self) -> Trouble:
        return replace(
            super()._trouble(),
            client_kills=tuple(sorted(self.client_kills)),
            client_freezes=self.client_freezes,
            client_faults=self.client_faults,
        )
