"""Large values that the engine puts into object storage, outputs that it takes from the cache or from an earlier run,
and bugs in all of it; hunted by ``mutants``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from core.engine.primitives import attempt, creation, earlier_output, output_cache, story
from core.engine.primitives.attempt import AttemptPreparation
from core.engine.primitives.output_cache import OutputCache
from core.engine.values.stored_data import StoredData
from core.policy.retry import RetryPolicy
from fuzz.engine.adapters import Engram
from fuzz.engine.canonical import engram, primitive
from fuzz.engine.case import Case, Rival
from fuzz.engine.retention_cases import kept
from fuzz.engine.stored import ModelPayloads
from fuzz.engine.worker import Act, Script
from reconcilers.stored_data import StoredDataReconciler

INLINE_BYTES: Final = 400
"""More than the size of a reference, which is about 170 bytes."""
INLINE_INPUTS_BYTES: Final = 1024
_LONG: Final = "x" * 1500
_WITH: Final = {"text": "{{ steps.a.output.text }}"}
_WHO: Final = {"participant": "{{ inputs.participant }}"}
_CHILD: Final = {"steps": [engram("c", with_={"text": "{{ inputs.text }}"})], "output": {"got": "{{ steps.c.output }}"}}

CASES: Final[dict[str, Case]] = {
    "large values": Case(
        {
            "steps": [
                engram("a"),
                engram("b", "a", with_=_WITH),
                primitive("call", "executeStory", "a", with_={"storyRef": {"name": "child"}, "with": _WITH}),
                primitive("fan", "parallel", "a", with_={"steps": [engram("d", with_=_WITH)]}),
            ],
            "output": {"b": "{{ steps.b.output.text }}", "first": "{{ steps.a.output.text }}"},
        },
        {
            "a": (Script(output={"text": _LONG}),),
            "b": (Script(Act.EXIT, 0.5, exit_code=137), Script(echo=True)),
            "c": (Script(echo=True),),
            "d": (Script(echo=True),),
        },
        {
            "work": Engram(
                retry=RetryPolicy(max_retries=1, delay=timedelta(seconds=1)),
                max_inline_size_bytes=INLINE_BYTES,
                shares_store=True,
            )
        },
        stories={"child": _CHILD},
    ),
    "stored data of runs that go": Case(
        {
            "steps": [
                engram("a"),
                primitive("call", "executeStory", "a", with_={"storyRef": {"name": "child"}, "with": _WITH}),
            ],
            "output": {"got": "{{ steps.call.output.got }}", "first": "{{ steps.a.output.text }}"},
            "policy": kept(4, 8),
        },
        {"a": (Script(output={"text": _LONG}),), "c": (Script(echo=True),)},
        {"work": Engram(max_inline_size_bytes=INLINE_BYTES, shares_store=True)},
        stories={"child": {**_CHILD, "policy": kept(0, 1)}},
    ),
    "equal steps of three runs": Case(
        {"steps": [engram("a"), engram("b", "a", with_={"n": "{{ steps.a.output.n }}"})]},
        {
            "a": (Script(Act.EXIT, 0.7, exit_code=137), Script(output={"n": 1})),
            "b": (Script(after_seconds=2.5, output={"m": 2}),),
        },
        {"work": Engram(retry=RetryPolicy(max_retries=2, delay=timedelta(seconds=1)), cache={}, shares_store=True)},
        rivals=(Rival(0.4), Rival(9.0)),
    ),
    "runs that reuse another": Case(
        {
            "steps": [
                engram("a", with_=_WHO),
                engram("b", "a", with_={"who": "{{ steps.a.output.participant }}"}),
                {**engram("mail", with_=_WHO), "sideEffects": True},
            ],
            "finally": [engram("tell")],
        },
        {
            "a": (Script(Act.EXIT, 0.7, exit_code=137), Script(echo=True)),
            "b": (Script(after_seconds=2.5, output={"m": 2}),),
            "mail": (Script(output={"sent": 1}),),
            "tell": (Script(output={"told": 1}),),
        },
        {"work": Engram(retry=RetryPolicy(max_retries=2, delay=timedelta(seconds=1)))},
        {"participant": "ann"},
        rivals=(Rival(3.0, reuses=True), Rival(6.0, "bob", reuses=True)),
    ),
}


def _inline(sound: Any) -> Any:
    async def wrong(self: Any, value: Any, *_: Any, **__: Any) -> Any:
        return value

    return wrong


def _promised(sound: Any) -> Any:
    """References are given out first; then the store is asked."""

    async def wrong(self: Any, value: Any, wanted: Any, *, field: str) -> Any:
        kept = dict(self._cluster.stored)
        found = await sound(self, value, wanted, field=field)
        for key in set(self._cluster.stored) - set(kept):
            del self._cluster.stored[key]
            del self._cluster.stored_after[key]
        return found

    return wrong


def _all_alike(sound: Any) -> Any:
    def wrong(*_: Any) -> str:
        return "0" * 64

    return wrong


def _said_to_be_done(sound: Any) -> Any:
    async def nothing(*_: Any) -> bool:
        return True

    return nothing


def _none_kept(sound: Any) -> Any:
    async def nothing(*_: Any) -> frozenset[str]:
        return frozenset()

    return nothing


_GOING: Final = ("stored data of runs that go",)
_LARGE: Final = ("large values",)
_EQUAL: Final = ("equal steps of three runs",)
_REUSED: Final = ("runs that reuse another",)

BUGS: Final[tuple[tuple[str, tuple[str, ...], Any, str, Callable[[Any], Any]], ...]] = (
    ("large values stay inline", _LARGE, StoredData, "offloaded", _inline),
    ("large inputs stay inline", _LARGE, AttemptPreparation, "_offloaded", _inline),
    ("large inputs of called Stories stay inline", _LARGE, story._Children, "_offloaded", _inline),
    ("large inputs of branches stay inline", _LARGE, creation, "_stored", _inline),
    ("all executions are equal", _EQUAL, output_cache, "digest_of_inputs", _all_alike),
    ("all executions are equal to those of an earlier run", _REUSED, attempt, "execution_key", _all_alike),
    ("effects are reused", _REUSED, earlier_output, "may_be_reused", lambda sound: lambda *_: True),
    ("equal steps wait for ever", _EQUAL, OutputCache, "end", lambda sound: lambda self: None),
    ("stored data stays when its run goes", _GOING, StoredDataReconciler, "_delete", _said_to_be_done),
    ("stored data goes that others refer to", _GOING, StoredDataReconciler, "_kept", _none_kept),
    ("references come before their objects", _LARGE, ModelPayloads, "offload", _promised),
)
