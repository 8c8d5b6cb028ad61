"""The state machine with a realtime Story: all rules of ``machine`` apply to its streams, too."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from fuzz.engine.actions import Action, Verb
from fuzz.engine.machine import PAUSES, EngineMachine
from fuzz.engine.strategies_streams import realtime_cases, realtime_stories
from fuzz.engine.streams import STREAMS


class StreamMachine(EngineMachine):
    """One run of a realtime Story. Most streams never end by themselves, so most runs are canceled at last."""

    most_rivals = 0

    @initialize(data=st.data(), seed=st.integers(0, 7), cancels=st.sampled_from((True, True, True, False)))
    def begin(self, data: st.DataObject, seed: int, cancels: bool) -> None:
        self.cancels = cancels
        self.start(data.draw(realtime_cases()), seed)

    @rule(pause=PAUSES, seconds=st.sampled_from((0.4, 3.1, 75.0)))
    def hub_is_away(self, pause: float, seconds: float) -> None:
        self._do(pause, Verb.HUB_DOWN, value=seconds)

    @rule(pause=PAUSES, seconds=st.sampled_from((3.1, 45.0, 130.0)))
    def hub_is_killed(self, pause: float, seconds: float) -> None:
        self._do(pause, Verb.HUB_KILLED, value=seconds)

    @rule(pause=PAUSES)
    def terminate_topology(self, pause: float) -> None:
        self._do(pause, Verb.TERMINATE_TOPOLOGY)

    @precondition(lambda self: not self._did(Verb.DELETE_REVISIONS))
    @rule(data=st.data(), pause=PAUSES)
    def edit_story(self, data: st.DataObject, pause: float) -> None:
        spec, _ = data.draw(realtime_stories(max_streams=2))
        self._do(pause, Verb.EDIT_STORY, value=spec)

    @rule(
        pause=PAUSES,
        name=st.sampled_from((*STREAMS, "work", "missing")),
        verb=st.sampled_from((Verb.APPLY_ENGRAM, Verb.DELETE_ENGRAM)),
    )
    def change_engram(self, pause: float, name: str, verb: Verb) -> None:
        self._do(pause, verb, value=name)

    def _played_case(self) -> Any:
        if self.cancels:
            self.actions.append(Action(round(self.now + 7.7, 3), Verb.CANCEL))
        return super()._played_case()
