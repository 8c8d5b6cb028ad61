"""Effects that happen once, and bugs in this; ``mutants`` hunts them, too."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import trio

from bubu_sdk import claims
from bubu_sdk import effects as sdk
from bubu_sdk.claim_store import ClaimStore, HeldClaim, Renewal
from bubu_sdk.claims import ClaimFound
from bubu_sdk.contract import Identity
from bubu_sdk.effects import Effects
from core.policy.retry import RetryPolicy
from fuzz.engine.actions import Action, Verb
from fuzz.engine.adapters import Engram
from fuzz.engine.canonical import engram
from fuzz.engine.case import Case
from fuzz.engine.cases import Trouble
from fuzz.engine.clients.effects import Effect, Stray
from fuzz.engine.process import Fault
from fuzz.engine.worker import Act, Script
from reconcilers import effectclaim
from reconcilers.effectclaim import EffectClaimReconciler
from webhooks.validate import admission

_ENGRAMS: Final = {"work": Engram(retry=RetryPolicy(max_retries=3, delay=timedelta(seconds=0.7)))}
_ONE: Final = {"steps": [engram("a")]}
_CHARGE: Final = Effect(lease_seconds=2)

CASES: Final[dict[str, Case]] = {
    "an effect, and an attempt after it": Case(
        _ONE,
        {"a": (Script(Act.EXIT, 0.3, exit_code=137, effect=_CHARGE), Script(after_seconds=0.3, effect=_CHARGE))},
        _ENGRAMS,
    ),
    "an effect that takes long, and others that want it": Case(
        _ONE,
        {"a": (Script(after_seconds=0.3, effect=dataclasses.replace(_CHARGE, before_seconds=3.0)),)},
        _ENGRAMS,
        strays=(Stray(0.5, "a", _CHARGE), Stray(0.9, "a", dataclasses.replace(_CHARGE, wait_seconds=9.0))),
    ),
    "an effect that fails": Case(
        _ONE,
        {"a": (Script(effect=dataclasses.replace(_CHARGE, raises=True)), Script(after_seconds=0.3, effect=_CHARGE))},
        _ENGRAMS,
        actions=(Action(0.1, Verb.KILL, value=1.0),),
        strays=(Stray(0.5, "a", _CHARGE),),
    ),
    "an effect whose container dies": Case(_ONE, {"a": (Script(after_seconds=0.3, effect=_CHARGE),)}),
    "a claim of an earlier StepRun": Case(
        _ONE,
        {"a": (Script(after_seconds=0.3, effect=_CHARGE),)},
        _ENGRAMS,
        actions=(Action(0.01, Verb.KILL, value=3.0), Action(0.0, Verb.MAKE_CLAIM, "a", "charge")),
    ),
    "an effect that is redriven": Case(
        _ONE,
        {"a": (Script(after_seconds=0.3, effect=_CHARGE),)},
        _ENGRAMS,
        actions=(Action(2.0, Verb.REDRIVE, value="t"),),
    ),
}
"""The cases that are hunted, and killed at every await."""

DIES: Final = tuple((Trouble(client_kills=(stop,), heals=True), 0) for stop in range(4, 14))
FREEZES: Final = tuple((Trouble(client_freezes={stop: 9.0}, heals=True), 0) for stop in range(1, 9))
LOST: Final = tuple(
    (Trouble(client_faults=dict.fromkeys(range(first, 40, 3), Fault.LOST_ANSWER), heals=True), 0) for first in (1, 2)
)
TROUBLES: Final = {
    "an effect, and an attempt after it": (*DIES, *LOST),
    "an effect whose container dies": DIES[2:4],
    "an effect that takes long, and others that want it": (*FREEZES, *DIES[:3], *LOST),
}
"""The troubles with which the bugs of a case are hunted: containers die or are frozen, and answers are lost."""


def _always(value: Any) -> Callable[[Any], Any]:
    return lambda sound: lambda *args, **more: value


def _greedy(sound: Any) -> Any:
    def wrong(*args: Any) -> ClaimFound:
        found: ClaimFound = sound(*args)
        return ClaimFound.EXPIRED if found is ClaimFound.HELD else found

    return wrong


def _uncounted(sound: Any) -> Any:
    def wrong(claim: Any, *args: Any) -> Any:
        taken = sound(claim, *args)
        taken["spec"].pop("leaseTransitions", None)
        return taken

    return wrong


def _blind(sound: Any) -> Any:
    """A write is based on the newest version, whatever the writer has seen."""

    def wrong(self: Any, claim: Any, *args: Any) -> Any:
        newest = self.read(claim["metadata"]["name"]) or claim
        return sound(self, {**claim, "metadata": newest["metadata"]}, *args)

    return wrong


def _released(sound: Any) -> Any:
    def wrong(self: Any, held: Any, details: Any) -> Any:
        held.release()
        return held.claim | {"spec": held.claim["spec"] | {"details": details}}

    return wrong


def _own_key(sound: Any) -> Any:
    return property(lambda identity: f"{sound.fget(identity)}/{identity.pod}")


def _nobody(sound: Any) -> Any:
    async def nobody(*args: Any) -> None:
        return None

    return nobody


def _late(sound: Any) -> Any:
    async def wrong(self: Any, key: Any) -> Any:
        await trio.sleep(1.5)
        return await sound(self, key)

    return wrong


def _for_ever(sound: Any) -> Any:
    return lambda *args: dataclasses.replace(sound(*args), changes_at=None)


_AGAIN: Final = ("an effect, and an attempt after it",)
_WANTED: Final = ("an effect that takes long, and others that want it",)

_UNASKED: Final = (admission, "validate", _always([]))
"""Admission refuses nothing, so that only the SDK keeps the promises."""

BUGS_WITHOUT_ADMISSION: Final = (
    ("a lease that lasts is taken over, and nobody refuses", _WANTED, (_UNASKED, (claims, "judge", _greedy))),
    ("what was completed is done again, and nobody refuses", _AGAIN,
     (_UNASKED, (claims, "is_completed", _always(False)))),
)  # fmt: skip
BUGS: Final[tuple[tuple[str, tuple[str, ...], Any, str, Callable[[Any], Any]], ...]] = (
    ("a lease that lasts is taken over", _WANTED, claims, "judge", _greedy),
    ("a claim is written over, whatever has happened to it", _WANTED, ClaimStore, "replace", _blind),
    ("a takeover is not counted", _AGAIN, claims, "taken_over", _uncounted),
    ("an effect begins on a lease that has ended", _WANTED, sdk, "_in_time", lambda sound: lambda held: held),
    ("a lease is not renewed", _WANTED, Renewal, "start", _always(None)),
    ("an effect that has happened is released", _AGAIN, Effects, "_complete", _released),
    ("what was completed is not looked at", _AGAIN, claims, "is_completed", _always(False)),
    ("each attempt has its own idempotency key", _AGAIN, Identity, "idempotency_key", _own_key),
    ("a failed effect keeps its claim", ("an effect that fails",), HeldClaim, "release", _always(None)),
    ("claims are shown late", _AGAIN, EffectClaimReconciler, "reconcile", _late),
    ("renewals are written", _WANTED, effectclaim, "is_as_shown", _always(False)),
    ("the end of a lease is not seen", ("an effect whose container dies",), effectclaim, "standing_of", _for_ever),
    ("claims of another StepRun stay", ("a claim of an earlier StepRun",), effectclaim, "_is_meant", _always(True)),
    ("claims go before their StepRun", _AGAIN, EffectClaimReconciler, "_step_run_of", _nobody),
)  # fmt: skip
