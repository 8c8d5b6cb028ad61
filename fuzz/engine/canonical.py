"""Stories to kill at every await: one for each feature, small enough to try all awaits; unit tests use them, too."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from core.policy.retry import RetryPolicy
from fuzz.engine.actions import Action, Verb
from fuzz.engine.adapters import Engram
from fuzz.engine.case import Case
from fuzz.engine.streams import STREAMS, realtime, stream
from fuzz.engine.worker import Act, Script


def engram(name: str, *needs: str, ref: str = "work", **more: Any) -> dict[str, Any]:
    """An engram step of a Story; ``with_`` and ``if_`` stand for the keywords."""
    step: dict[str, Any] = {"name": name, "ref": {"name": ref}}
    if needs:
        step["needs"] = list(needs)
    return step | {key.removesuffix("_"): value for key, value in more.items()}


def primitive(name: str, type_: str, *needs: str, **more: Any) -> dict[str, Any]:
    step: dict[str, Any] = {"name": name, "type": type_}
    if needs:
        step["needs"] = list(needs)
    return step | {key.removesuffix("_"): value for key, value in more.items()}


RETRYING = {"work": Engram(retry=RetryPolicy(max_retries=2, delay=timedelta(seconds=1.5)))}
HASTY = {"work": Engram(timeout_seconds=2.0, retry=RetryPolicy(max_retries=1, delay=timedelta(seconds=0.5)))}
RETRIED_AT_ONCE = Case(
    {"steps": [engram("a")]},
    {"a": (Script(Act.EXIT, 0.4, exit_code=137), Script(after_seconds=1.0))},
    {"work": Engram(retry=RetryPolicy(max_retries=2, delay=timedelta(seconds=0.1)))},
)
CONTINUE = {"retries": {"continueOnStepFailure": True}}
OUTPUT = {"n": 3, "flag": True}

CANONICAL: dict[str, Case] = {
    "one step": Case({"steps": [engram("a")]}),
    "diamond with data": Case(
        {
            "steps": [
                engram("a"),
                engram("b", with_={"n": "{{ steps.a.output.n }}"}),
                engram("c", "a", if_="{{ steps.a.output.flag }}"),
                engram("d", "b", "c"),
            ],
            "output": {"n": "{{ steps.a.output.n }}"},
        },
        {"a": (Script(output=OUTPUT),), "b": (Script(after_seconds=2.1),)},
    ),
    "skipped by if": Case(
        {"steps": [engram("a"), engram("b", "a", if_="{{ steps.a.output.flag }}"), engram("c", "b")]},
        {"a": (Script(output={"flag": False}),)},
    ),
    "sleep between steps": Case(
        {"steps": [engram("a"), primitive("nap", "sleep", "a", with_={"duration": "7.3s"}), engram("b", "nap")]}
    ),
    "retries until success": Case(
        {"steps": [engram("a"), engram("b", "a")]},
        {
            "a": (
                Script(Act.FAIL, 0.7, exit_code=1, exit_class="retry"),
                Script(Act.EXIT, 0.9, exit_code=137),
                Script(after_seconds=0.8),
            )
        },
        RETRYING,
    ),
    "retries used up": Case(
        {"steps": [engram("a"), engram("b", "a")]},
        {"a": (Script(Act.EXIT, 0.9, exit_code=143),)},
        RETRYING,
    ),
    "step timeout with a slow Pod": Case(
        {"steps": [engram("a")]}, {"a": (Script(Act.HANG, grace_seconds=1.1),)}, HASTY
    ),
    "fail fast": Case(
        {"steps": [engram("a"), engram("b", "c"), engram("c")]},
        {"a": (Script(Act.FAIL, 0.7, exit_code=1),), "c": (Script(after_seconds=2.3),)},
    ),
    "failure skips spread": Case(
        {"steps": [engram("a"), engram("b", "a"), engram("c", "b"), engram("d")], "policy": CONTINUE},
        {"a": (Script(Act.EXIT, 0.7, exit_code=1),)},
    ),
    "allowed failure": Case(
        {"steps": [engram("a", allowFailure=True), engram("b", "a")]},
        {"a": (Script(Act.FAIL, 0.7, exit_code=2, exit_class="terminal"),)},
    ),
    "missing Engram": Case({"steps": [engram("a", ref="ghost"), engram("b")], "policy": CONTINUE}),
    "cancel while running": Case(
        {"steps": [engram("a"), engram("b", "a"), primitive("nap", "sleep", with_={"duration": "1h"})]},
        {"a": (Script(Act.HANG, grace_seconds=1.7),)},
        cancel_after_seconds=3.1,
    ),
    "canceled and cleaned up with inputs": Case(
        {
            "steps": [engram("a")],
            "finally": [
                primitive("nap", "sleep", with_={"duration": "1.1s"}),
                engram("sweep", "nap", with_={"n": "{{ inputs.n }}"}),
            ],
        },
        {"a": (Script(Act.HANG, grace_seconds=0.4),)},
        inputs={"n": 7},
        cancel_after_seconds=2.1,
    ),
    "approved with data": Case(
        {
            "steps": [engram("a"), primitive("ask", "gate", "a"), engram("b", with_={"n": "{{ steps.ask.output.n }}"})],
            "output": {"n": "{{ steps.ask.output.n }}"},
        },
        actions=(Action(2.0, Verb.APPROVE, "ask", {"n": "5"}),),
    ),
    "story timeout": Case(
        {"steps": [engram("a"), engram("b", "a")], "policy": {"timeouts": {"story": "4s"}}},
        {"b": (Script(Act.HANG, grace_seconds=0.4),)},
    ),
    "stop ends the run": Case(
        {
            "steps": [
                engram("a"),
                primitive("halt", "stop", "a", with_={"phase": "Failed", "message": "enough"}),
                engram("b", "halt"),
                engram("c"),
            ]
        },
        {"c": (Script(Act.HANG, grace_seconds=0.9),)},
    ),
    "slot of a step that reads at run time": Case(
        {
            "steps": [
                engram("b", with_={"n": "{{ (index .steps inputs.which).output.n }}"}),
                primitive("c", "condition", if_="{{ (index .steps inputs.which).output.flag }}", allowFailure=True),
                engram("d", "c"),
            ],
            "policy": {"concurrency": 1} | CONTINUE,
        },
        inputs={"which": "a"},
    ),
    "streams end by themselves": Case(
        realtime(stream("a"), stream("b", "a")),
        {"a": (Script(after_seconds=1.7),), "b": (Script(Act.HANG, exit_lag_seconds=0.4, grace_seconds=0.2),)},
        STREAMS,
    ),
    "Story comes later": Case({"steps": [engram("a")]}, story_after_seconds=2.2),
    "refused at the start": Case({"steps": [engram("a", "ghost")]}),
}
