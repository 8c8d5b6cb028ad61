"""Engrams and templates that come late, vanish and come back, and bugs in the waits for them; hunted by ``mutants``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from core.api.phases import Reason
from core.engine.awaited import AwaitedDefinitions
from core.engine.primitives import definitions
from core.engine.primitives.definitions import StepDefinitions
from core.engine.primitives.engram import EngramStep
from core.engine.status.state import RunState
from core.engine.step.state import StepState
from core.engine.step.verdict import failed
from core.policy.retry import RetryPolicy
from fuzz.engine.actions import Action, Verb
from fuzz.engine.adapters import Engram
from fuzz.engine.canonical import CONTINUE, engram
from fuzz.engine.case import Case
from fuzz.engine.worker import Act, Script

_LATER: Final = {"work": Engram(), "slow": Engram(retry=RetryPolicy(max_retries=1, delay=timedelta(seconds=4)))}

CASES: Final[dict[str, Case]] = {
    "Engram and template come late": Case(
        {"steps": [engram("a", ref="late"), engram("b", "a")]},
        actions=(
            Action(0.0, Verb.DELETE_TEMPLATE),
            Action(2.3, Verb.KILL, value=0.0),
            Action(4.1, Verb.APPLY_ENGRAM, value="late"),
            Action(6.2, Verb.APPLY_TEMPLATE),
        ),
    ),
    "Engram goes while a retry waits": Case(
        {"steps": [engram("a", ref="slow"), engram("b")], "policy": {"concurrency": 1} | CONTINUE},
        {"a": (Script(Act.EXIT, 0.5, exit_code=137), Script()), "b": (Script(after_seconds=9.0),)},
        _LATER,
        actions=(
            Action(1.0, Verb.DELETE_ENGRAM, value="slow"),
            Action(1.2, Verb.KILL, value=0.0),
            Action(3.0, Verb.APPLY_ENGRAM, value="slow"),
            Action(3.5, Verb.KILL, value=0.0),
        ),
    ),
    "Engram goes while its container is at work": Case(
        {"steps": [engram("a"), engram("b", "a")]},
        {"a": (Script(after_seconds=6.0),)},
        actions=(
            Action(1.0, Verb.DELETE_ENGRAM, value="work"),
            Action(1.2, Verb.KILL, value=0.0),
            Action(8.0, Verb.APPLY_ENGRAM, value="work"),
        ),
    ),
    "canceled while its Engram is missing": Case(
        {"steps": [engram("a", ref="late"), engram("b")], "finally": [engram("c")]},
        actions=(Action(3.0, Verb.CANCEL), Action(3.2, Verb.APPLY_ENGRAM, value="late")),
    ),
}


def _refused(sound: Any) -> Any:
    async def wrong(self: Any, missing: Any) -> Any:
        return failed(Reason.REFERENCE_NOT_FOUND, str(missing))

    return wrong


def _impatient(sound: Any) -> Any:
    def wrong(self: Any, *args: Any) -> datetime:
        sound(self, *args)
        return datetime(2020, 1, 1, tzinfo=UTC)

    return wrong


def _forgetful(sound: Any) -> Any:
    def wrong(*args: Any) -> Any:
        state = sound(*args)
        steps = {
            name: StepState(one.phase, one.message, one.started_at, one.finished_at, one.child_run)
            if one.reason_since is not None
            else one
            for name, one in (state.steps or {}).items()
        }
        object.__setattr__(state, "steps", steps)
        return state

    return wrong


def _true_async(sound: Any) -> Any:
    async def yes(*args: Any) -> bool:
        return True

    return yes


_LATE: Final = ("Engram and template come late",)
_GONE: Final = ("Engram goes while a retry waits",)

BUGS: Final[tuple[tuple[str, tuple[str, ...], Any, str, Callable[[Any], Any]], ...]] = (
    ("a missing Engram fails its step at once", _LATE, StepDefinitions, "_wait", _refused),
    ("a step gives up its missing Engram early", _LATE, StepDefinitions, "_report", _impatient),
    ("a step does not hear of its Engram", _LATE, AwaitedDefinitions, "changed", lambda sound: lambda *args: None),
    ("a restart prolongs the wait for an Engram", _LATE, RunState, "from_stored", _forgetful),
    ("a step keeps its slot while its Engram is missing", _GONE, definitions, "has_slot",
     lambda sound: lambda context: False),
    ("a step without a slot goes on when its Engram is back", _GONE, EngramStep, "_has_slot", _true_async),
    ("a restart gives a step the slot that it had lost", _GONE, StepState, "has_lost_its_slot",
     lambda sound: property(lambda state: False)),
)  # fmt: skip
