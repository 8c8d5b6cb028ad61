"""Runs that change from one process to another while they are running, and the bugs that this finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from core.engine.run.scope import StoryRunScope
from core.engine.run.supervisor import Supervisor
from fuzz.engine.actions import Action, Verb
from fuzz.engine.canonical import RETRYING, engram, primitive
from fuzz.engine.case import Case, Rival
from fuzz.engine.cases import Trouble
from fuzz.engine.process import Process
from fuzz.engine.worker import Act, Script

_CHILD: Final = {"child": {"steps": [engram("k")], "output": {"n": "{{ inputs.n }}"}}}

CASES: Final = {
    "handed over": Case(
        {"steps": [primitive("nap", "sleep", with_={"duration": "3s"}), engram("a", "nap")]},
        {"a": (Script(Act.EXIT, 0.4, exit_code=137), Script(after_seconds=0.3))}, RETRYING,
        actions=(Action(1.0, Verb.HAND_OVER_LATE, value=2.5), Action(3.6, Verb.HAND_OVER)),
    ),
    "called by a run that is handed over": Case(
        {"steps": [engram("a"), primitive("call", "executeStory", "a", with_={"storyRef": {"name": "child"},
                                                                             "with": {"n": 1}})],
         "finally": [engram("sweep")]},
        {"k": (Script(after_seconds=4.0),)},
        stories=_CHILD,
        actions=(Action(0.5, Verb.HAND_OVER), Action(3.0, Verb.HAND_OVER_LATE, value=2.0, run="run-call"),
                 Action(4.0, Verb.HAND_OVER_CRASHED), Action(5.5, Verb.HAND_OVER)),
    ),
}  # fmt: skip
"""The cases that are hunted, and killed at every await."""

FURTHER: Final = {
    "handed over with its slot": Case(
        {"steps": [engram("a")], "policy": {"concurrency": 1}}, {"a": (Script(after_seconds=7.0),)},
        rivals=(Rival(0.3),), actions=(Action(1.0, Verb.HAND_OVER),),
    ),
    "handed over while requests are on their way": Case(
        {"steps": [engram("a"), engram("b", "a")]},
        actions=(Action(0.05, Verb.HAND_OVER), Action(1.4, Verb.HAND_OVER)),
    ),
}  # fmt: skip

TROUBLES: Final = {
    "handed over": tuple((Trouble(heals=True), seed) for seed in range(1, 6)),
    "handed over while requests are on their way": tuple(
        (Trouble(latency_seconds=latency, heals=True), 0) for latency in (0.03, 0.11, 0.21)
    ),
}
"""The troubles with which the bugs of a case are hunted, with their seeds."""


def _without_waiting(sound: Any) -> Any:
    async def wrong(self: Any, key: Any) -> None:
        charge = self._charges.get(key)
        if charge is not None:
            charge.cancel_scope.cancel()

    return wrong


BUGS: Final[tuple[tuple[str, tuple[str, ...], Any, str, Callable[[Any], Any]], ...]] = (
    ("who lets a run go does not wait for its answers", ("handed over while requests are on their way",), Supervisor,
     "release", _without_waiting),
    ("a write for a run that another process owns is not fenced", ("handed over",), Process, "may_write",
     lambda sound: lambda self: True),
    ("a run that was let go keeps its slots", ("handed over with its slot",), StoryRunScope, "forget",
     lambda sound: lambda self: None),
)  # fmt: skip
