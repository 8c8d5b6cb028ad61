"""Runs a streaming container from its start to its exit code.

    environment → configuration, secrets → the first connection → the function, until it returns → what is left → exit

As in batch, this module is the supervisor, and user code never runs in its thread. Here the supervisor also owns the
stream: heartbeats, receipts and reconnects go on whatever the function does. At SIGTERM no further message is
delivered, an ``async`` source is cancelled, and until the grace period is over the function may end what it has. Then
it is cancelled, and ended by force.

Exit codes: 0 the function has returned; 1 failure; 128 + n after signal n. Source: Streaming contract 11.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Event
from typing import TYPE_CHECKING, Any, Final

from bubu_sdk import contract, logs, preparation
from bubu_sdk.errors import EngramError, ErrorType, Object, as_engram_error, structured
from bubu_sdk.hosting import FunctionCancelledError, Host, host_for
from bubu_sdk.kube import Cluster
from bubu_sdk.signature import HostedFunction
from bubu_sdk.stage import Ending, News, NewsDesk, Stage, Terminated
from bubu_sdk.storage import Store
from bubu_sdk.streaming import driving
from bubu_sdk.streaming import settings as stream_settings
from bubu_sdk.streaming.messages import AsyncMessages, Feed, Messages
from bubu_sdk.streaming.outputs import Outputs
from bubu_sdk.streaming.sockets import Network
from bubu_sdk.streaming.surroundings import LateCluster, Surroundings
from bubu_sdk.timing import utc_now

if TYPE_CHECKING:
    from bubu_sdk.streaming.carrier import Carrier

_LAST_SECONDS: Final = 1.0
"""After the grace period: the longest time that a function has to end once it is cancelled."""
_FAILED_SECONDS: Final = 5.0
"""After a failure of the function: the longest time for what it has sent before."""

log = logging.getLogger(logs.SDK_LOGGER)


@dataclass(frozen=True)
class StreamWorld:
    """Everything outside the process; tests replace it."""

    environ: Mapping[str, str]
    connect: Callable[[Mapping[str, str]], Cluster]
    open_store: Callable[[Mapping[str, str]], Store | None]
    network: Callable[[Mapping[str, str]], Network]
    now: Callable[[], datetime] = utc_now
    monotonic: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random


class WakingDesk(NewsDesk):
    """Its news also end the wait for the network."""

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__()
        self._wake = wake
        self.terminated_at = math.inf
        """By ``time.monotonic``, as ``Stage.ended_at``."""
        self.keeps = True
        """Whether news are kept for ``wait_for``. A run that looks at its stages itself would collect them for ever."""

    def post(self, news: News) -> None:
        if self.keeps:
            super().post(news)
        if isinstance(news, Terminated):
            self.terminated_at = min(self.terminated_at, time.monotonic())
            self.terminated = self.terminated or news
        self._wake()


class StreamRun:
    """One run of one function. Call ``execute`` once. Any thread may call ``terminate``, also a signal handler."""

    def __init__(self, work: HostedFunction, world: StreamWorld) -> None:
        self._work = work
        self._world = world
        self._network = world.network(world.environ)
        self._desk = WakingDesk(self._network.wake)
        self._cancelled = Event()
        self.error: Object | None = None
        """After ``execute``: what was raised, as a structured error (version v1); None if nothing was, and at a signal.
        A failure of the hub or of its connection is none.
        """

    def terminate(self, signal_number: int) -> None:
        """Take no further message, and end within the grace period."""
        self._desk.post(Terminated(signal_number))

    def execute(self) -> Ending:
        """Run all stages. A fault of the function, its configuration or the hub raises no exception."""
        try:
            return self._execute()
        finally:
            self._network.close()

    def _execute(self) -> Ending:
        world = self._world
        try:
            from bubu_sdk.streaming.carrier import Carrier
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in ("h2", "hpack", "hyperframe"):
                raise
            log.error("streaming engrams need the extra: install 'bubu-sdk[streaming]'")  # noqa: TRY400 - the trace says nothing more
            return Ending(1)
        try:
            environment = contract.load(world.environ, now=world.now(), streams=True)
            settings = stream_settings.load(world.environ)
            for warning in (*environment.warnings, *settings.warnings):
                log.warning(warning)
            signature = self._work.signature()
            store = world.open_store(world.environ)
        except (EngramError, OSError, TypeError, NameError) as error:
            log.error("not started: %s", error)  # noqa: TRY400 - a setting is wrong; the trace says nothing more
            return self._failed(error, ErrorType.INITIALIZATION)
        cluster = LateCluster(lambda: world.connect(world.environ))
        surroundings = Surroundings(environment, world.environ, cluster, store, world.now)
        preparing = Stage("config", lambda: preparation.prepare_config(surroundings.sources, signature), self._desk)
        if not self._desk.wait_for(preparing, math.inf):
            return self._terminated()
        if preparing.error is not None:
            log.error("not started: %s", preparing.error)
            return self._failed(preparing.error, ErrorType.INITIALIZATION)
        self._desk.keeps = False
        carrier = Carrier(settings, self._network, self._desk, now=world.monotonic, wall=world.now, chance=world.chance)
        outputs = Outputs(environment.identity, lambda: int(world.now().timestamp() * 1000))
        feed = Feed(carrier.exchange, outputs, signature.inputs_type, strict=environment.strict_unmarshal)
        arguments: dict[str, Any] = {}
        if signature.context is not None:
            config, secrets = preparing.result
            arguments[signature.context] = surroundings.context(
                is_async=self._work.is_async, config=config, secrets=secrets, cancelled=self._cancelled, feed=feed
            )
        if signature.inputs is not None:
            arguments[signature.inputs] = AsyncMessages(feed) if self._work.is_async else Messages(feed)
        source = driving.is_source(signature)
        drive = driving.driver(self._work, arguments, feed, lambda: source and feed.ended)
        log.info("connecting to the hub", extra={"endpoint": str(settings.endpoint)})
        return _Running(self, environment.grace_seconds, carrier, drive, source=source).serve()

    def _failed(self, error: BaseException, stage_type: ErrorType) -> Ending:
        known = as_engram_error(error, stage_type)
        self.error = structured(known, exit_code=1, exit_class=known.exit_class)
        return Ending(1)

    def _terminated(self) -> Ending:
        terminated = self._desk.terminated
        return Ending(128 + (terminated.number if terminated is not None else 15))


class _Running:
    """The stream and the function, from the first connection on."""

    def __init__(
        self, run: StreamRun, grace_seconds: float, carrier: Carrier, drive: Callable[[], Any], *, source: bool
    ) -> None:
        self._run = run
        self._desk = run._desk
        self._now = run._world.monotonic
        self._grace_seconds = grace_seconds
        self._carrier = carrier
        self._drive = drive
        self._source = source
        self._stage: Stage | None = None
        self._host: Host | None = None
        self._deadline = math.inf
        """When the function is cancelled, or what is left is given up."""
        self._cancelled_late = False
        self._ended_by_itself = False
        """The function had ended before the process was asked to."""

    def serve(self) -> Ending:
        """Until the end."""
        carrier = self._carrier
        try:
            while True:
                carrier.carry()
                if self._stage is None and carrier.ready and self._desk.terminated is None:
                    self._host = host_for(self._run._work.function, self._run._work.backend)
                    self._stage = Stage("stream", self._drive, self._desk, self._host)
                    log.info("streaming")
                if self._desk.terminated is not None:
                    self._drain()
                if (ending := self._ending()) is not None:
                    return ending
                carrier.wait(self._deadline)
        finally:
            carrier.close()

    def _drain(self) -> None:
        """Once: deliver nothing more, and set the end of the grace period."""
        if self._run._cancelled.is_set():
            return
        self._run._cancelled.set()
        self._deadline = min(self._deadline, self._now() + self._grace_seconds)
        log.info("ending", extra={"graceSeconds": self._grace_seconds})
        self._carrier.drain()
        if self._source and self._host is not None:
            self._host.cancel()

    def _ending(self) -> Ending | None:
        """How the run has ended; None while it goes on."""
        carrier, stage = self._carrier, self._stage
        now = self._now()
        if stage is None:
            if self._desk.terminated is not None:
                return self._run._terminated()
            if carrier.failure is not None:
                log.error("the stream has failed: %s", carrier.failure)
                return Ending(1)
            return None
        if stage.ended:
            if not carrier.closing:
                self._ended_by_itself = stage.ended_at <= self._desk.terminated_at
                if stage.error is not None and self._ended_by_itself:
                    self._deadline = min(self._deadline, now + _FAILED_SECONDS)
                carrier.end()
            if carrier.closed:
                return self._judged(stage)
            if carrier.failure is not None or now >= self._deadline:
                packets, receipts = carrier.unsent()
                log.error(
                    "the hub has not accepted everything: %d packets, %d receipts: %s",
                    *(packets, receipts, carrier.failure or "the grace period has passed"),
                )
                ending = self._judged(stage)
                return ending if ending.exit_code else Ending(1)
            return None
        return self._ending_by_force(stage, now)

    def _ending_by_force(self, stage: Stage, now: float) -> Ending | None:
        """The function still runs: cancel it when the stream is over or the time is, and then do not wait for long."""
        failure = self._carrier.failure
        if failure is not None and not self._run._cancelled.is_set():
            log.error("the stream has failed: %s", failure)
            self._run._cancelled.set()
            self._deadline = now
        if now < self._deadline:
            return None
        if not self._cancelled_late:
            self._cancelled_late = True
            self._deadline = now + min(_LAST_SECONDS, self._grace_seconds)
            self._carrier.exchange.fail(failure or "the grace period has passed")
            if self._host is not None:
                self._host.cancel()
            return None
        log.error("the function ignored its cancellation and is ended by force")
        code = self._run._terminated().exit_code if self._desk.terminated is not None else 1
        return Ending(code, hung=True)

    def _judged(self, stage: Stage) -> Ending:
        error, terminated = stage.error, self._desk.terminated is not None
        over = self._carrier.failure is not None or self._cancelled_late
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
            if isinstance(error.code, str):
                log.error("the function ended itself: %s", error.code)
            return Ending(code & 0xFF)
        if error is None or (terminated and (over or isinstance(error, FunctionCancelledError))):
            log.info("ended")
            if terminated and not self._ended_by_itself:
                return self._run._terminated()
            return Ending(1 if self._carrier.failure else 0)
        if not over:
            log.error("the function failed: %s", error, exc_info=error)
            return self._run._failed(error, ErrorType.EXECUTION)
        return Ending(1)
