"""The context of an engram: facts about its run, and methods to report to it.

``Context`` is for plain functions, ``AsyncContext`` for ``async def``. Both have the same facts; the methods of
``AsyncContext`` are awaited. The runner creates both; tests get one from ``bubu_sdk.testing``. Source: SDK contract 11,
17, 18.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic

from bubu_sdk import hosting, signals
from bubu_sdk.claims import DEFAULT_LEASE_SECONDS
from bubu_sdk.contract import Identity
from bubu_sdk.effects import EffectLease, EffectOutcome, Effects
from bubu_sdk.errors import EffectsUnavailableError, Object, SignalsUnavailableError, StorageError
from bubu_sdk.secret import Secrets
from bubu_sdk.steprun import StepRunClient
from bubu_sdk.timing import utc_now

if TYPE_CHECKING:  # a type checker knows this module even if it is not installed
    from typing_extensions import TypeVar

    from bubu_sdk.artifacts import Artifacts, AsyncArtifacts

    ConfigT = TypeVar("ConfigT", default=Any)
else:
    from typing import TypeVar

    ConfigT = TypeVar("ConfigT")


@dataclass(frozen=True)
class Services:
    """The clients that the methods of a context use. A client is ``None`` outside a StepRun."""

    steprun: StepRunClient | None
    effects: Effects | None
    artifacts: Callable[[], Artifacts] | None = None
    """Imports what few steps need."""
    max_signal_bytes: int = signals.DEFAULT_MAX_PAYLOAD_BYTES
    now: Callable[[], datetime] = utc_now


@dataclass(frozen=True, repr=False)
class Knowledge(Generic[ConfigT]):
    """The facts of a context; its subclasses add the methods that use the StepRun."""

    identity: Identity
    _config: Callable[[], ConfigT]
    secrets: Secrets
    attempt: int
    """1 for the first attempt, 2 for the first retry, …"""
    started_at: datetime
    """The start of the first attempt, with time zone UTC."""
    deadline: datetime
    """With time zone UTC. After it the step has timed out, whatever the function returns."""
    transports: tuple[Object, ...]
    logger: logging.Logger
    """Writes JSON lines to stdout; ``extra={...}`` adds fields."""
    cancelled: threading.Event
    """Set at the deadline and at SIGTERM. A plain function should check it from time to time, and return."""
    _services: Services
    setup: Any = None
    """What the engram's ``setup`` returned, in this process or in the one that it was forked from."""

    @property
    def config(self) -> ConfigT:
        """The step's ``with`` as configuration, overridden by ``BUBU_CONFIG_<key>``.

        With the annotation ``Context[Config]``, the SDK decodes the configuration before the function starts; a
        mismatch fails the step. Without it, the value is plain JSON, and the SDK reads it at the first access.

        Raises:
            EngramError: the configuration contains a template or a reference that cannot be resolved.
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
        """Namespace of the Story, the StoryRun and the StepRun."""
        return self.identity.namespace

    @property
    def idempotency_key(self) -> str:
        """The same in all attempts; pass it to services that support idempotency keys."""
        return self.identity.idempotency_key

    def remaining(self) -> timedelta:
        """Time until the deadline; never negative."""
        return max(timedelta(), self.deadline - self._services.now())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.identity!r}, attempt={self.attempt}, secrets={self.secrets!r})"

    def _emit(self, key: str, value: Any) -> None:
        steprun = self._steprun(SignalsUnavailableError("signals unavailable: this process has no StepRun"))
        services = self._services
        signals.emit(steprun, key, value, now=services.now(), max_payload_bytes=services.max_signal_bytes)

    def _signal_events(self, after: int) -> list[Object]:
        steprun = self._steprun(SignalsUnavailableError("signals unavailable: this process has no StepRun"))
        events = (steprun.read().get("status") or {}).get("signalEvents") or []
        return sorted((event for event in events if event["seq"] > after), key=lambda event: int(event["seq"]))

    def _artifacts(self) -> Artifacts:
        if self._services.artifacts is None:
            raise StorageError("artifacts unavailable: this process has no StepRun", retryable=False)
        return self._services.artifacts()

    def _effects(self) -> Effects:
        if self._services.effects is None:
            raise EffectsUnavailableError("effects unavailable: this process has no StepRun")
        return self._services.effects

    def _steprun(self, otherwise: Exception) -> StepRunClient:
        if self._services.steprun is None:
            raise otherwise
        return self._services.steprun


class Context(Knowledge[ConfigT]):
    """The context of a plain function. Its methods block, and several threads may call them."""

    @property
    def artifacts(self) -> Artifacts:
        """Files and directories in the object store.

        Raises:
            StorageError: this process has no StepRun.
        """
        return self._artifacts()

    def emit_signal(self, key: str, value: Any) -> None:
        """Publish a value in the status while the step runs; ``None`` deletes the key.

        The status shows a value of at most 256 bytes as compact JSON, unless it contains a credential; of others it
        shows size, hash and type. ``bubu_sdk.text_signal`` makes a longer text that users can read.

        A signal that cannot be stored within 3 s, because the API server is away, busy or its disk is full, is given
        up with a warning in the log.

        Raises:
            SignalsUnavailableError: this process has no StepRun.
            StepRunError: another Pod owns the StepRun.
            KubeError: the API server refuses the signal.
        """
        self._emit(key, value)

    def signal_events(self, after: int = 0) -> list[Object]:
        """Signal events of this StepRun with a ``seq`` above ``after``, also those of earlier attempts; ascending."""
        return self._signal_events(after)

    def record_effect(self, key: str, status: str = "succeeded", details: Any = None) -> None:
        """Record that the step changed something outside; compensations read it. A known key is not recorded twice.

        While the API server is away or its disk is full, this waits until the step's deadline, and at least 30 s.

        Raises:
            ValueError: the key is blank.
            OutputError: the details cannot be written as JSON.
            EffectsUnavailableError: this process has no StepRun.
            StepRunError: another Pod owns the StepRun.
            KubeError: the API server refuses the record, or the outage did not end in time.
        """
        self._effects().record(key, status, details)

    def has_effect(self, key: str) -> bool:
        """Whether this attempt or an earlier one completed or recorded the effect.

        Raises:
            EffectsUnavailableError: this process has no StepRun.
            KubeError: the API server refused the request or did not answer.
        """
        return self._effects().has(key)

    def execute_once(
        self,
        key: str,
        effect: Callable[[EffectLease], Mapping[str, Any] | None],
        *,
        lease_seconds: int = DEFAULT_LEASE_SECONDS,
        wait_seconds: float = 0.0,
    ) -> EffectOutcome:
        """Run ``effect`` unless it has already happened; ``bubu_sdk.effects`` says what follows from a crash.

        An ``EffectInProgressError`` that the function does not catch ends the attempt with exit code 1 and exit class
        ``retry``, so that the operator starts another attempt.

        Args:
            key: the name of the effect within the step, 1 to 256 characters.
            effect: it gets the lease; what it returns is recorded. If it raises, it counts as not happened.
            lease_seconds: how long other attempts wait after this process has vanished; it is renewed meanwhile.
            wait_seconds: how long to wait for another holder; a cancellation of the step ends the wait.
        Raises:
            ValueError: the key is blank or longer than 256 characters, or ``lease_seconds`` is less than 1.
            EffectsUnavailableError: this process has no StepRun.
            EffectInProgressError: another holder still performs the effect after ``wait_seconds``.
            EffectLostError: another holder took the claim over while the effect ran here.
            EngramError: the existing claim belongs to another effect.
            KubeError: the API server refused the claim or the completion, or did not answer.
        """
        return self._effects().execute_once(key, effect, lease_seconds=lease_seconds, wait_seconds=wait_seconds)


class AsyncContext(Knowledge[ConfigT]):
    """The context of an ``async def`` function; it has the methods of ``Context``, to be awaited."""

    @property
    def artifacts(self) -> AsyncArtifacts:
        """See ``Context.artifacts``."""
        from bubu_sdk.artifacts import AsyncArtifacts

        return AsyncArtifacts(self._artifacts())

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
