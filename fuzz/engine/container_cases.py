"""Cases about containers without an SDK: the engine reads their output once they have succeeded."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from core.policy.retry import RetryPolicy
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
}
