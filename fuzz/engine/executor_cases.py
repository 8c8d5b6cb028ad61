"""Cases and bugs about executors: Engrams bound to another executor, workers that vanish or come late; and containers
without an SDK.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from core.engine.executors import Executors
from core.engine.ports import WORKER, Binding, Observation
from core.policy.retry import RetryPolicy
from fuzz.engine import container_cases, worker_cases
from fuzz.engine.actions import Action, Verb
from fuzz.engine.adapters import Engram, ModelBindings
from fuzz.engine.canonical import engram
from fuzz.engine.case import Case
from fuzz.engine.model_jobs import ModelJobExecutor
from fuzz.engine.warm_workers import WarmWorkers
from fuzz.engine.worker import Act, Script

IN_TWO_SECONDS: Final = {
    "work": Engram(executor=WORKER, timeout_seconds=2.0, retry=RetryPolicy(max_retries=1, delay=timedelta(seconds=0.9)))
}

CASES: Final[dict[str, Case]] = (
    {
        "bound to another executor while at work": Case(
            {"steps": [engram("a"), engram("b", "a")]},
            {"a": (Script(after_seconds=3.0),)},
            actions=(Action(0.6, Verb.BIND, value=WORKER), Action(1.0, Verb.KILL, value=0.0)),
        ),
        "run again by another executor": Case(
            {"steps": [engram("a")]},
            {"a": (Script(Act.HANG, grace_seconds=2.2),)},
            {"work": Engram(timeout_seconds=2.0)},
            actions=(Action(2.3, Verb.BIND, value=WORKER), Action(2.5, Verb.REDRIVE, value="t")),
        ),
        "a worker ends after its time, another vanishes": Case(
            {"steps": [engram("a"), engram("b", "a")], "output": {"n": "{{ steps.a.output.n }}"}},
            {
                "a": (Script(after_seconds=2.4, grace_seconds=5.0, output={"n": 1}), Script(output={"n": 2})),
                "b": (Script(Act.HANG), Script(after_seconds=0.4)),
            },
            IN_TWO_SECONDS,
            actions=(Action(4.5, Verb.DELETE_POD, "b"),),
        ),
    }
    | container_cases.CASES
    | worker_cases.CASES
)

_BOUND: dict[str, str] = {}
"""The executor to which each Engram was bound last; filled only by the bug that uses it."""


def _bound(sound: Any) -> Any:
    async def noted(self: ModelBindings, run: Any, story: Any, step: Any) -> Binding:
        binding: Binding = await sound(self, run, story, step)
        _BOUND[binding.engram_name] = binding.executor
        return binding

    return noted


def _by_binding(sound: Any) -> Any:
    return lambda self, step_run: self._by_name[_BOUND[step_run["spec"]["engramRef"]["name"]]]


def _only_what_is_its_own(sound: Any) -> Any:
    async def wrong(self: ModelJobExecutor, namespace: str, name: str, step_run: Any) -> Observation:
        if step_run is None:
            return Observation(None)
        seen: Observation = await sound(self, namespace, name, step_run)
        return seen

    return wrong


def _always(value: Any) -> Any:
    return lambda sound: lambda *args: value


BUGS: Final[tuple[tuple[str, tuple[str, ...], tuple[tuple[Any, str, Any], ...]], ...]] = (
    (
        "the binding is asked for the executor of a step at work",
        ("bound to another executor while at work",),
        ((ModelBindings, "bind", _bound), (Executors, "_of", _by_binding)),
    ),
    (
        "what another executor has begun is overlooked",
        ("run again by another executor",),
        ((ModelJobExecutor, "observe", _only_what_is_its_own),),
    ),
    (
        "a late result of an earlier attempt is accepted",
        ("a worker ends after its time, another vanishes",),
        ((WarmWorkers, "_is_its_own", _always(True)),),
    ),
    *worker_cases.BUGS,
)
