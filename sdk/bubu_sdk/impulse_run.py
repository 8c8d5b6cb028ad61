"""Runs an impulse container from its start to its exit code.

    environment → configuration, secrets → the function, until it returns → calls in progress → counts → exit

As for engrams, this module is the supervisor, and user code never runs in its thread. At SIGTERM the readiness probe
fails, ``ctx.cancelled`` is set, and an ``async def`` is cancelled. Until the grace period is over, the function may end
what it has accepted. Then calls that still wait are cancelled, and a function that still runs is ended by force. A
StoryTrigger that was created is not lost: the operator decides it later.

Exit codes: 0 returned, also after SIGTERM; 1 failure; 128 + n ended by force after signal n.
Source: Trigger contract 5.8.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from bubu_sdk import contract, dehydrate, delivery, logs, preparation, readiness
from bubu_sdk.cancellation import Clock, SystemClock
from bubu_sdk.contract import Environment
from bubu_sdk.counters import ThrottleCounter
from bubu_sdk.errors import EngramError
from bubu_sdk.hosting import FunctionCancelledError, host_for
from bubu_sdk.impulse_context import AsyncImpulseContext, ImpulseContext, ImpulseServices
from bubu_sdk.kube import Cluster
from bubu_sdk.preparation import Sources
from bubu_sdk.secret import Secrets
from bubu_sdk.sessions import Sessions
from bubu_sdk.signature import HostedFunction, Signature
from bubu_sdk.stage import Ending, NewsDesk, Stage, Terminated
from bubu_sdk.storage import Store
from bubu_sdk.storyruns import StoryRuns
from bubu_sdk.storytrigger import Origin
from bubu_sdk.timing import utc_now
from bubu_sdk.trigger_errors import TriggerCancelledError
from bubu_sdk.triggers import Triggers, TriggerSettings

_LAST_SECONDS: Final = 1.0
"""After the grace period: the longest time that a function has to end once its waiting calls are cancelled."""

log = logging.getLogger(logs.SDK_LOGGER)


@dataclass(frozen=True)
class ImpulseWorld:
    """Everything outside the process; tests replace it."""

    environ: Mapping[str, str]
    connect: Callable[[Mapping[str, str]], Cluster]
    open_store: Callable[[Mapping[str, str]], Store | None]
    now: Callable[[], datetime] = utc_now
    sleep: Callable[[float], None] = time.sleep
    clock: Clock = field(default_factory=SystemClock)
    chance: Callable[[], float] = random.random


def log_fields(environ: Mapping[str, str]) -> dict[str, str]:
    """The fields of every log line."""
    origin = Origin.of(environ)
    return {"impulse": origin.impulse, "namespace": origin.namespace}


class ImpulseRun:
    """One run of one impulse. Call ``execute`` once. Any thread may call ``terminate``, also a signal handler."""

    def __init__(self, impulse: HostedFunction, world: ImpulseWorld) -> None:
        self._impulse = impulse
        self._world = world
        self._desk = NewsDesk()
        self._cancelled = threading.Event()
        self._ready = False
        self._over: float | None = None
        """After SIGTERM: the end of the grace period, by ``time.monotonic()``."""

    def terminate(self, signal_number: int) -> None:
        """Stop accepting events, and end within the grace period."""
        self._desk.post(Terminated(signal_number))

    def execute(self) -> Ending:
        """Run all stages. A fault of the impulse, its configuration or the cluster raises no exception."""
        world = self._world
        try:
            environment = contract.load(world.environ, now=world.now())
            for warning in environment.warnings:
                log.warning(warning)
            origin = Origin.of(world.environ)
            settings = TriggerSettings(
                origin=origin,
                policy=delivery.load(world.environ),
                operation_timeout_seconds=environment.operation_timeout_seconds,
                max_inline_bytes=environment.max_inline_bytes,
                max_depth=environment.max_depth,
                input_prefix=world.environ.get("BUBU_STORAGE_INPUT_PREFIX") or dehydrate.INPUT_PREFIX,
            )
            port = readiness.port_of(world.environ.get(readiness.PORT_VARIABLE, ""))
            cluster, store = world.connect(world.environ), world.open_store(world.environ)
            signature = self._impulse.signature()
            probe = None if port is None else readiness.ReadinessServer(port, lambda: self._ready)
        except (EngramError, OSError, TypeError, NameError) as error:
            log.error("not started: %s", error)  # noqa: TRY400 - a setting is wrong; the trace says nothing more
            return Ending(1)
        try:
            return self._work(environment, settings, cluster, store, signature)
        finally:
            if probe is not None:
                probe.close()

    def _work(
        self,
        environment: Environment,
        settings: TriggerSettings,
        cluster: Cluster,
        store: Store | None,
        signature: Signature,
    ) -> Ending:
        # The reference does not tell an Impulse its Pod's namespace; references in the configuration need it.
        environ = {"BUBU_POD_NAMESPACE": settings.origin.namespace, **self._world.environ}
        sources = Sources(environment, environ, cluster, store, resolves_templates=False)
        preparing = Stage("config", lambda: preparation.prepare_config(sources, signature), self._desk)
        if not self._desk.wait_for(preparing, math.inf):
            return Ending(0)
        if preparing.error is not None:
            log.error("not started: %s", preparing.error)
            return Ending(1)
        config, secrets = preparing.result
        triggers = self._triggers(cluster, store, settings)
        context = self._context(config, secrets, cluster, triggers, settings)
        ending = self._call({} if signature.context is None else {signature.context: context}, environment, triggers)
        left = environment.grace_seconds if self._over is None else max(0.0, self._over - time.monotonic())
        triggers.close(0.0 if ending.hung else left)
        return ending

    def _call(self, arguments: Mapping[str, Any], environment: Environment, triggers: Triggers) -> Ending:
        host = host_for(self._impulse.function, self._impulse.backend)
        self._ready = True
        stage = Stage("impulse", lambda: self._impulse.function(**arguments), self._desk, host)
        log.info("accepting events")
        if not self._desk.wait_for(stage, math.inf):
            self._ready = False
            self._cancelled.set()
            log.info("ending", extra={"graceSeconds": environment.grace_seconds})
            host.cancel()
            self._over = time.monotonic() + environment.grace_seconds
            if not self._desk.wait_for(stage, self._over, heed_termination=False):
                triggers.abandon()
                last = min(_LAST_SECONDS, environment.grace_seconds)
                self._desk.wait_for(stage, self._over + last, heed_termination=False)
        self._ready = False
        return self._judged(stage)

    def _judged(self, stage: Stage) -> Ending:
        terminated, error = self._desk.terminated, stage.error
        if not stage.ended:
            log.error("the impulse ignored its cancellation and is ended by force")
            return Ending(128 + (terminated.number if terminated else 15), hung=True)
        if error is None or (terminated and isinstance(error, (FunctionCancelledError, TriggerCancelledError))):
            log.info("ended")
            return Ending(0)
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
            if isinstance(error.code, str):
                log.error("the impulse ended itself: %s", error.code)
            return Ending(code & 0xFF)
        log.error("the impulse failed: %s", error, exc_info=error)
        return Ending(1)

    def _triggers(self, cluster: Cluster, store: Store | None, settings: TriggerSettings) -> Triggers:
        world, origin = self._world, settings.origin
        counter = ThrottleCounter(
            cluster, origin.impulse_namespace or origin.namespace, origin.impulse, now=world.now, sleep=world.sleep
        )
        return Triggers(cluster, store, settings, counter, clock=world.clock, chance=world.chance)

    def _context(
        self,
        config: Callable[[], Any],
        secrets: Secrets,
        cluster: Cluster,
        triggers: Triggers,
        settings: TriggerSettings,
    ) -> ImpulseContext | AsyncImpulseContext:
        world, origin = self._world, settings.origin
        runs = StoryRuns(cluster, origin, timeout_seconds=settings.operation_timeout_seconds, sleep=world.sleep)
        kind = AsyncImpulseContext if self._impulse.is_async else ImpulseContext
        return kind(
            name=origin.impulse,
            namespace=origin.namespace,
            story=origin.story,
            story_namespace=origin.story_namespace or origin.namespace,
            _config=config,
            secrets=secrets,
            logger=logging.getLogger(logs.IMPULSE_LOGGER),
            cancelled=self._cancelled,
            _services=ImpulseServices(
                triggers, runs, Sessions(cluster, triggers, runs, now=world.now), self._set_ready
            ),
        )

    def _set_ready(self, ready: bool) -> None:
        self._ready = ready and not self._cancelled.is_set()
