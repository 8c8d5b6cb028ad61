"""Containers that perform an effect with the SDK: what they do, and what the outside world sees of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from bubu_sdk.contract import Identity
from bubu_sdk.effects import EffectLease, EffectOutcome, Effects
from bubu_sdk.errors import EngramError, ErrorType, as_engram_error
from bubu_sdk.kube import KubeError
from bubu_sdk.steprun import StepRunClient
from core.api.objects import Object
from fuzz.engine.clients.strands import Client, ClientTiming

KILLED_CODE: Final = 137


@dataclass(frozen=True)
class Effect:
    """The effect of a step: the outside world sees it ``before_seconds`` after it begins."""

    key: str = "charge"
    lease_seconds: int = 6
    before_seconds: float = 0.2
    after_seconds: float = 0.3
    """How long it takes after the outside world has seen it."""
    raises: bool = False
    """Whether it fails before the outside world sees anything."""
    wait_seconds: float = 0.0
    """How long a container waits for another one that performs the effect."""


@dataclass(frozen=True)
class Stray:
    """A container that no Job knows: its node was cut off, or its Job started a Pod twice."""

    at: float
    step: str
    effect: Effect = Effect()


@dataclass
class Performance:
    """One time that an effect was begun."""

    client: str
    step_run: str
    key: str
    idempotency_key: str
    began_at: float
    newest: int
    """The number of the last write when it began."""
    seen_at: float | None = None
    """When the outside world saw the effect."""
    failed: bool = False
    """Whether it failed before that."""


@dataclass
class EffectResult:
    """How a container has ended."""

    outcome: EffectOutcome | None = None
    error: EngramError | None = None

    @property
    def retry_at(self) -> str:
        """The instant of the next attempt, if the container asks for one."""
        return str(((self.error.details if self.error else None) or {}).get("retryAt") or "")


@dataclass
class Performer:
    """One container: its identity, and what it does."""

    client: Client
    step_run: Object
    effect: Effect
    begun: Callable[[Performance], None]
    result: EffectResult = field(default_factory=EffectResult)

    def work(self) -> None:
        """Blocks."""
        client, timing = self.client, ClientTiming(self.client)
        metadata, spec = self.step_run["metadata"], self.step_run["spec"]
        run = str((spec.get("storyRunRef") or {}).get("name") or "")
        identity = Identity(namespace=metadata["namespace"], story_run=run, step_run=metadata["name"], pod=client.name)
        steprun = StepRunClient(client, identity, sleep=client.sleep, monotonic=client.monotonic)
        effects = Effects(client, steprun, identity, timing=timing)
        try:
            outcome = effects.execute_once(
                self.effect.key,
                self._perform,
                lease_seconds=self.effect.lease_seconds,
                wait_seconds=self.effect.wait_seconds,
            )
            self.result = EffectResult(outcome)
        except Exception as error:
            self.result = EffectResult(error=_reported(error))

    def _perform(self, lease: EffectLease) -> dict[str, Any]:
        client, effect, metadata = self.client, self.effect, self.step_run["metadata"]
        seen = Performance(
            client.name,
            metadata["name"],
            lease.key,
            lease.idempotency_key,
            client.seconds,
            client.newest,
        )
        self.begun(seen)
        client.progress += 1
        client.sleep(effect.before_seconds)
        if effect.raises or lease.lost.is_set():  # in time, as the SDK asks for
            seen.failed = True
            raise RuntimeError("nothing has happened")
        seen.seen_at = client.seconds
        client.progress += 1
        client.sleep(effect.after_seconds)
        return {"receipt": client.name}


def _reported(error: Exception) -> EngramError:
    """The error that the container reports, as ``bubu_sdk.batch`` does."""
    found = as_engram_error(error, ErrorType.EXECUTION)
    if isinstance(found.__cause__, KubeError) and found.__cause__.retryable:
        return EngramError(found.message, retryable=True)
    return found
