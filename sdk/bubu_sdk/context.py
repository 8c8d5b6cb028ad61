"""The context of an engram: facts about its run, and methods to report to it.

``Context`` for plain functions, ``AsyncContext`` for ``async def``: the same facts; the methods of the second are
awaited. The runner creates both; tests get one from ``bubu_sdk.testing``. Source: SDK contract 11, 17, 18.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic

from bubu_sdk import hosting, instant, signals
from bubu_sdk.contract import Identity
from bubu_sdk.effects import DEFAULT_LEASE_SECONDS, EffectLease, EffectOutcome, Effects
from bubu_sdk.errors import EffectsUnavailableError, Object, SignalsUnavailableError
from bubu_sdk.secret import Secrets
from bubu_sdk.steprun import StepRunClient

if TYPE_CHECKING:  # a type checker knows this module without its being installed
    from typing_extensions import TypeVar

    ConfigT = TypeVar("ConfigT", default=Any)
else:
    from typing import TypeVar

    ConfigT = TypeVar("ConfigT")


@dataclass(frozen=True)
class Services:
    """What the verbs of a context are made of. ``None`` outside a StepRun."""

    steprun: StepRunClient | None
    effects: Effects | None
    max_signal_bytes: int = signals.DEFAULT_MAX_PAYLOAD_BYTES
    now: Callable[[], datetime] = instant.utc_now


@dataclass(frozen=True, repr=False)
class Knowledge(Generic[ConfigT]):
    """The part of a context that is told, not done."""

    identity: Identity
    _config: Callable[[], ConfigT]
    secrets: Secrets
    attempt: int
    """1 for the first attempt, 2 for the first retry, …"""
    started_at: datetime
    """Aware UTC; of the first attempt."""
    deadline: datetime
    """Aware UTC; past it the step has timed out, whatever it returns."""
    transports: tuple[Object, ...]
    logger: logging.Logger
    """Writes JSON lines to stdout; ``extra={...}`` adds fields."""
    cancelled: threading.Event
    """Set at the deadline and at SIGTERM: a plain function should look at it now and then, and return."""
    _services: Services

    @property
    def config(self) -> ConfigT:
        """The step's ``with`` as configuration, overridden by ``BUBU_CONFIG_<key>``.

        With the annotation ``Context[Config]`` it was decoded before the function began, and a mismatch has failed the
        step. Without, it is plain JSON, read when it is first asked for.

        Raises:
            EngramError: it holds a template or a reference that cannot be resolved.
        """
        return self._config()

    @property
    def story(self) -> str:
        """Name of the Story."""
        return self.identity.story

    @property
    def story_run(self) -> str:
        """Name of the StoryRun."""
        return self.identity.story_run

    @property
    def step(self) -> str:
        """Name of the step in its Story."""
        return self.identity.step

    @property
    def step_run(self) -> str:
        """Name of the StepRun."""
        return self.identity.step_run

    @property
    def namespace(self) -> str:
        """Namespace of all of them."""
        return self.identity.namespace

    @property
    def idempotency_key(self) -> str:
        """Stable over retries; pass it to services that know idempotency keys."""
        return self.identity.idempotency_key

    def remaining(self) -> timedelta:
        """Time until the deadline; never negative."""
        return max(timedelta(), self.deadline - self._services.now())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.identity!r}, attempt={self.attempt}, secrets={self.secrets!r})"

    def _emit(self, key: str, value: Any) -> None:
        steprun = self._steprun(SignalsUnavailableError("signals unavailable: this process has no StepRun"))
        services = self._services
        change = signals.update(key, value, now=services.now(), max_payload_bytes=services.max_signal_bytes)
        steprun.update(change, signals.PATCH_TIMEOUT_SECONDS)

    def _signal_events(self, after: int) -> list[Object]:
        steprun = self._steprun(SignalsUnavailableError("signals unavailable: this process has no StepRun"))
        events = (steprun.read().get("status") or {}).get("signalEvents") or []
        return sorted((event for event in events if event["seq"] > after), key=lambda event: int(event["seq"]))

    def _effects(self) -> Effects:
        if self._services.effects is None:
            raise EffectsUnavailableError("effects unavailable: this process has no StepRun")
        return self._services.effects

    def _steprun(self, otherwise: Exception) -> StepRunClient:
        if self._services.steprun is None:
            raise otherwise
        return self._services.steprun


class Context(Knowledge[ConfigT]):
    """The context of a plain function; its verbs block, and are safe to call from several threads."""

    def emit_signal(self, key: str, value: Any) -> None:
        """Tell the run something while the step goes on; ``None`` deletes the key.

        Values appear as size, hash and type; ``bubu_sdk.text_signal`` makes one that may be read.

        Raises:
            SignalsUnavailableError: outside a StepRun.
            KubeError: the status could not be written within 3 s.
        """
        self._emit(key, value)

    def signal_events(self, after: int = 0) -> list[Object]:
        """Events of this StepRun with a higher ``seq`` than ``after``, also of earlier attempts; ascending."""
        return self._signal_events(after)

    def record_effect(self, key: str, status: str = "succeeded", details: Any = None) -> None:
        """Record that something outside was changed; compensations read it. A known key is not recorded twice."""
        self._effects().record(key, status, details)

    def has_effect(self, key: str) -> bool:
        """Whether an effect is recorded, by this attempt or an earlier one."""
        return self._effects().has(key)

    def execute_once(
        self,
        key: str,
        effect: Callable[[EffectLease], Mapping[str, Any] | None],
        *,
        lease_seconds: int = DEFAULT_LEASE_SECONDS,
        wait_seconds: float = 0.0,
    ) -> EffectOutcome:
        """Run ``effect`` unless it has happened already; see ``bubu_sdk.effects`` for what a crash leaves behind.

        Raises:
            EffectInProgressError: another holder is still at it after ``wait_seconds``.
            EffectLostError: the lease was lost while the effect ran.
        """
        return self._effects().execute_once(key, effect, lease_seconds=lease_seconds, wait_seconds=wait_seconds)


class AsyncContext(Knowledge[ConfigT]):
    """The context of an ``async def`` function; each verb is that of ``Context``, awaited."""

    async def emit_signal(self, key: str, value: Any) -> None:
        """See ``Context.emit_signal``."""
        await hosting.in_thread(lambda: self._emit(key, value))

    async def signal_events(self, after: int = 0) -> list[Object]:
        """See ``Context.signal_events``."""
        events: list[Object] = await hosting.in_thread(lambda: self._signal_events(after))
        return events

    async def record_effect(self, key: str, status: str = "succeeded", details: Any = None) -> None:
        """See ``Context.record_effect``."""
        await hosting.in_thread(lambda: self._effects().record(key, status, details))

    async def has_effect(self, key: str) -> bool:
        """See ``Context.has_effect``."""
        return bool(await hosting.in_thread(lambda: self._effects().has(key)))

    async def execute_once(
        self,
        key: str,
        effect: Callable[[EffectLease], Awaitable[Mapping[str, Any] | None]],
        *,
        lease_seconds: int = DEFAULT_LEASE_SECONDS,
        wait_seconds: float = 0.0,
    ) -> EffectOutcome:
        """See ``Context.execute_once``; a lost lease or a cancelled caller cancels ``effect``."""
        effects = self._effects()

        def blocking(callback: Callable[..., Any], stop: Callable[[], None]) -> EffectOutcome:
            return effects.execute_once(
                key, callback, lease_seconds=lease_seconds, wait_seconds=wait_seconds, on_lost=stop
            )

        outcome: EffectOutcome = await hosting.in_thread_with_callback(blocking, effect)
        return outcome
