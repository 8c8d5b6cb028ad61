"""Runs that clients ask for with StoryTriggers, and bugs in this; ``mutants`` hunts them, too."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import trio

from bubu_sdk import storytrigger as sdk
from core.engine.errors import UnavailableError
from core.workloads import keyed_request
from core.workloads import trigger as answers
from core.workloads.keyed_request import Decision, KeyedDecision
from core.workloads.trigger import TriggerRequest
from fuzz.engine.actions import Action, Verb
from fuzz.engine.answers import TriggerTimes
from fuzz.engine.canonical import engram
from fuzz.engine.case import Case
from fuzz.engine.cases import Trouble
from fuzz.engine.clients.submissions import Submission
from fuzz.engine.process import Fault
from fuzz.engine.worker import Script
from reconcilers import storyrun, storytrigger
from reconcilers.adapters import triggers
from reconcilers.runtime.outcome import Done
from reconcilers.storytrigger import StoryTriggerReconciler

_ONE: Final = {"steps": [engram("a")]}
_QUICK: Final = {"a": (Script(after_seconds=0.3),)}
_FLEETING: Final = {"execution": {"job": {"ttlSecondsAfterFinished": 0, "storyRunRetentionSeconds": -1}}}
"""Runs are deleted when they end."""
_ORDER: Final = partial(Submission, key="order 7", inputs={"n": 1})
_RUN: Final = _ORDER().run

CASES: Final[dict[str, Case]] = {
    "two clients with one key": Case(
        _ONE,
        _QUICK,
        submissions=(_ORDER(), _ORDER(), _ORDER(0.2, inputs={"n": 2}), Submission(0.1, id="once", times=2)),
    ),
    "a StoryTrigger before its Story": Case(
        _ONE | {"version": "1"},
        _QUICK,
        submissions=(_ORDER(0.1, version="2", impulse="hook"),),
        actions=(
            Action(0.0, Verb.DELETE_STORY),
            Action(0.6, Verb.KILL, value=0.0),
            Action(1.2, Verb.APPLY_STORY, value=_ONE | {"version": "1"}),
            Action(1.8, Verb.EDIT_STORY, value=_ONE | {"version": "2"}),
            Action(2.4, Verb.APPLY_IMPULSE, value="hook"),
        ),
    ),
    "a StoryTrigger that waits in vain": Case(
        _ONE,
        submissions=(_ORDER(version="2"),),
        actions=(Action(0.5, Verb.KILL, value=0.0),),
        times=TriggerTimes(pending_timeout_seconds=2.5),
    ),
    "a StoryTrigger that waits": Case(
        _ONE,
        submissions=(_ORDER(version="2"),),
        actions=(Action(0.5, Verb.KILL, value=0.0), Action(9.0, Verb.EDIT_STORY, value=_ONE | {"version": "1"})),
    ),
    "a run of another request": Case(
        _ONE,
        _QUICK,
        submissions=(
            _ORDER(by_hand=True, inputs={"n": 2}),
            _ORDER(0.1),
            Submission(0.2, inputs={"n": 3}, key_from="{{ inputs.n }}"),
        ),
        actions=(Action(2.0, Verb.DELETE_RUN),),
    ),
    "a run that is submitted again": Case(
        _ONE,
        _QUICK,
        submissions=(_ORDER(), _ORDER(1.0), _ORDER(3.0)),
        actions=(Action(0.9, Verb.DELETE_TRIGGER), Action(2.0, Verb.DELETE_RUN)),
    ),
    "a run that goes slowly": Case(
        _ONE,
        _QUICK,
        submissions=(_ORDER(), _ORDER(0.7)),
        actions=(
            Action(0.4, Verb.HOLD_RUN),
            Action(0.5, Verb.DELETE_TRIGGER),
            Action(0.6, Verb.DELETE_RUN),
            Action(1.5, Verb.LET_RUN_GO),
        ),
    ),
    "an answer that outlives its run": Case(
        _ONE | {"policy": _FLEETING},
        _QUICK,
        submissions=(_ORDER(), _ORDER(2.0)),
        times=TriggerTimes(retention_seconds=4),
    ),
    "a run that ends before its answer": Case(_ONE | {"policy": _FLEETING}, _QUICK, submissions=(_ORDER(),)),
    "refused for good": Case(
        _ONE | {"inputsSchema": {"required": ["n"], "properties": {"n": {"type": "integer"}}}},
        submissions=(
            _ORDER(inputs={"n": "x"}),
            Submission(key="large", inputs={"n": 1, "text": "x" * 2000}),
            Submission(key="stored", inputs={"n": 1, "text": "x" * 2000}, offloads=True),
        ),
    ),
}

TROUBLES: Final = {
    "a run that ends before its answer": tuple(
        (Trouble(faults=({call: Fault.TIMEOUT},), heals=False), 0) for call in range(2, 8)
    )
}
"""The troubles with which the bugs of a case are hunted: requests that take long."""


def _always(value: Any) -> Callable[[Any], Any]:
    return lambda sound: lambda *args, **more: value


def _by_uid(sound: Any) -> Any:
    return property(lambda request: f"{sound.fget(request)}-{request.uid}")


def _accepted_anew(sound: Any) -> Any:
    def wrong(trigger: Any, answer: Any, now: datetime) -> Any:
        return sound(trigger, answer, now) | {"acceptedAt": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}

    return wrong


def _told_again(sound: Any) -> Any:
    def wrong(trigger: Any, answer: Any, now: datetime) -> Any:
        return sound(trigger, answer, now) | {"message": f"{answer.message} ({now})"}

    return wrong


def _given_up(sound: Any) -> Any:
    async def wrong(self: Any, key: Any) -> Any:
        try:
            return await sound(self, key)
        except UnavailableError:
            return Done()

    return wrong


def _late(sound: Any) -> Any:
    async def wrong(self: Any, key: Any) -> Any:
        await trio.sleep(1.5)
        return await sound(self, key)

    return wrong


def _hasty(sound: Any) -> Any:
    return lambda trigger, *args: datetime.fromisoformat(trigger["status"]["completedAt"]) + timedelta(seconds=1)


def _foretold(sound: Any) -> Any:
    return lambda trigger, **more: dataclasses.replace(
        sound(trigger, **more), outcome=sdk.Outcome.CREATED, story_run=answers.request_of(trigger).run_name
    )


async def _nothing(*args: Any) -> None:
    return None


BUGS: Final[tuple[tuple[str, tuple[str, ...], Any, str, Callable[[Any], Any]], ...]] = (
    ("a request that was answered starts again", ("a run that is submitted again",), storytrigger, "is_answered",
     _always(False)),
    ("a rejection is reconsidered", ("a run of another request",), storytrigger, "is_answered", _always(False)),
    ("a run goes before its StoryTrigger has an answer", ("a run that ends before its answer",), storyrun, "is_awaited",
     _always(False)),
    ("runs are not named by their key", ("a run that is submitted again",), TriggerRequest, "run_name", _by_uid),
    ("what a process has created is a stranger's", ("two clients with one key",), answers, "is_origin", _always(False)),
    ("the time of acceptance moves", ("a StoryTrigger before its Story",), storytrigger, "status_with", _accepted_anew),
    ("an error of the server loses a request", ("two clients with one key",), StoryTriggerReconciler, "reconcile",
     _given_up),
    ("any run of the name is reused", ("a run of another request",), answers, "decide",
     _always(KeyedDecision(Decision.REUSED))),
    ("a run that is being deleted is reused", ("a run that goes slowly",), keyed_request, "is_being_deleted",
     _always(False)),
    ("what comes later is refused", ("a StoryTrigger before its Story",), answers, "pending",
     lambda sound: answers.rejected),
    ("inputs are not compared with the schema", ("refused for good",), StoryTriggerReconciler, "_why_inputs_invalid",
     lambda sound: _nothing),
    ("a wait is told again by every process", ("a StoryTrigger that waits",), storytrigger, "status_with", _told_again),
    ("who waits does not hear of the Story", ("a StoryTrigger before its Story",), triggers, "_open", _always(None)),
    ("answers come late", ("two clients with one key",), StoryTriggerReconciler, "reconcile", _late),
    ("each look begins the wait anew", ("a StoryTrigger that waits in vain",), storytrigger, "_accepted_at",
     lambda sound: lambda trigger, now: now),
    ("answers go before their run", ("an answer that outlives its run",), storytrigger, "trigger_removal", _hasty),
    ("answers are kept for ever", ("an answer that outlives its run",), storytrigger, "trigger_removal", _always(None)),
    ("a client takes another request for its own", ("two clients with one key",), sdk, "differences", _always([])),
    ("a client does not wait for the answer", ("a StoryTrigger before its Story",), sdk, "decision_of", _foretold),
)  # fmt: skip
