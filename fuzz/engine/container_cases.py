"""Cases about containers without an SDK: the engine reads their output once they have succeeded."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from core.policy.retry import RetryPolicy
from fuzz.engine.actions import Action, Verb
from fuzz.engine.adapters import Engram
from fuzz.engine.canonical import engram
from fuzz.engine.case import Case
from fuzz.engine.worker import Act, Script

PLAIN: Final = {
    "work": Engram(
        container={"args": ["{{ inputs.n }}"]},
        default_with={"n": 7},
        retry=RetryPolicy(max_retries=1, delay=timedelta(seconds=0.9)),
    )
}

CASES: Final[dict[str, Case]] = {
    "the output of a container without an SDK": Case(
        {"steps": [engram("a"), engram("b", "a")], "output": {"n": "{{ steps.b.output.n }}"}},
        {
            "a": (Script(Act.EXIT, 0.4, exit_code=137), Script(output={"n": 1})),
            "b": (Script(echo=True),),
        },
        PLAIN,
    ),
    "a cancel while containers without an SDK end": Case(
        {"steps": [engram("a"), engram("b"), engram("c")], "finally": [engram("z")]},
        {"a": (Script(after_seconds=1.0, output={"n": 1}),), "b": (Script(after_seconds=1.3, grace_seconds=0.5),)},
        PLAIN,
        actions=(Action(0.9, Verb.KILL, value=0.4), Action(1.1, Verb.CANCEL)),
    ),
}
