"""The SDK blocks, the model is asynchronous: each thread of the SDK runs only while a task of Trio waits for it.

A thread stops at each request and at each wait. There its task continues: it sends the request, or lets virtual time
pass, and then resumes the thread. So only one thread runs at a time, and an execution is as repeatable as without
threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import Any, Final

import trio

from bubu_sdk.kube import KubeError
from bubu_sdk.timing import Timing
from core.api.objects import Object
from fuzz.engine.clients.api import ClientRequest, Connection
from fuzz.engine.clients.fate import Fates

_LONGEST_RUN_SECONDS: Final = 60.0
"""Of a thread between two stops, in real time."""


class ClientKilled(BaseException):
    """The process of a client no longer exists."""


@dataclass(frozen=True)
class _Pause:
    event: threading.Event
    seconds: float


class _Strand:
    """One thread of a client."""

    def __init__(self, client: Client, work: Callable[[], None], name: str) -> None:
        self.finished = threading.Event()
        self.wanted: ClientRequest | _Pause | None = None
        """What it waits for since its last stop."""
        self.answer: Any = None
        self.error: KubeError | None = None
        self._client = client
        self._work = work
        self._may_run, self._has_stopped = threading.Lock(), threading.Lock()
        self._may_run.acquire()
        self._has_stopped.acquire()
        threading.Thread(target=self._body, name=name, daemon=True).start()

    def run_on(self) -> None:
        """Run the thread until its next stop or its end; from then on, the caller runs.

        Raises:
            RuntimeError: the thread waits for something that the model does not know.
        """
        self._may_run.release()
        if not self._has_stopped.acquire(timeout=_LONGEST_RUN_SECONDS):
            raise RuntimeError("a thread of the SDK neither stops nor ends: it waits outside of its ports")

    def stop(self, wanted: ClientRequest | _Pause) -> Any:
        """Stop here until the answer is there. Called by the thread.

        Raises:
            ClientKilled: the client has been killed; also at every later stop.
            KubeError: the answer is an error.
        """
        if self._client.dead:
            raise ClientKilled
        self.wanted, self.error = wanted, None
        self._has_stopped.release()
        self._may_run.acquire()
        if self._client.dead:
            raise ClientKilled
        if self.error is not None:
            raise self.error
        return self.answer

    def _body(self) -> None:
        self._may_run.acquire()
        try:
            if not self._client.dead:
                self._work()
        except ClientKilled:
            pass
        except BaseException as error:  # a bug of the SDK, or of the model
            self._client.crashed(error)
        finally:
            self.finished.set()
            self._has_stopped.release()


@dataclass(eq=False)
class Client:
    """One process that uses the SDK: an Impulse, or a container of a step."""

    connection: Connection
    fates: Fates
    name: str
    crashed: Callable[[BaseException], None]
    dead: bool = False
    progress: int = 0
    """Counts what the client does outside of the cluster."""
    was_killed: bool = False
    running: _Strand | None = None
    seconds: float = 0.0
    """The time of Trio's clock when a thread was resumed last; the threads cannot read it themselves."""
    instant: datetime | None = None
    """The same for the wall clock."""
    newest: int = 0
    """The same for the number of the last write."""
    frozen_until: float = 0.0
    """Until then, nothing of the process is executed: its node sleeps."""
    _scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    _waiting: dict[threading.Event, trio.Event] = field(default_factory=dict)
    _nursery: trio.Nursery | None = None
    _starting: list[_Strand] = field(default_factory=list)

    async def run(self, work: Callable[[], None]) -> None:
        """Execute ``work``, which blocks, until it has ended; nothing of the process exists afterwards."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    await self._drive(_Strand(self, work, self.name))
                    nursery.cancel_scope.cancel()
        finally:
            self.dead = True

    def kill(self) -> None:
        """The process disappears, as after ``kill -9``."""
        self.dead = self.was_killed = True
        self._scope.cancel()

    # The ports of the SDK. Called by its threads.

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        timeout_seconds: float = 30.0,
    ) -> Object:
        """``bubu_sdk.kube.Cluster``."""
        found: Object = self._current.stop(ClientRequest(method, path, body, content_type, timeout_seconds))
        return found

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        """``bubu_sdk.cancellation.Clock``; without ``seconds`` there is no limit."""
        self._current.stop(_Pause(event, inf if seconds is None else seconds))
        return event.is_set()

    def sleep(self, seconds: float) -> None:
        self.wait(threading.Event(), seconds)

    def monotonic(self) -> float:
        return self.seconds

    def start_thread(self, work: Callable[[], None], name: str) -> Callable[[], None]:
        """Start another thread; returns a function that waits until it has ended."""
        strand = _Strand(self, work, name)
        self._starting.append(strand)
        return lambda: self._join(strand)

    def _join(self, strand: _Strand) -> None:
        self.wait(strand.finished, None)

    @property
    def _current(self) -> _Strand:
        assert self.running is not None
        return self.running

    # Its tasks.

    def resume(self, strand: _Strand) -> None:
        """Let one thread run until it stops."""
        cluster = self.connection.cluster
        self.running, self.seconds = strand, trio.current_time()
        self.instant, self.newest = cluster.now(), cluster.newest
        strand.run_on()
        for event, woken in self._waiting.items():
            if event.is_set():
                woken.set()
        while self._starting and self._nursery is not None:
            self._nursery.start_soon(self._drive, self._starting.pop())

    async def _drive(self, strand: _Strand) -> None:
        """Execute one thread until it ends."""
        try:
            self.resume(strand)
            while not strand.finished.is_set():
                wanted = strand.wanted
                await self._live()
                try:
                    strand.answer = await self._perform(wanted)
                except KubeError as error:
                    strand.error = error
                await self._live()
                self.resume(strand)
        finally:
            if not strand.finished.is_set():
                self.dead = True
                strand.run_on()

    async def _perform(self, wanted: ClientRequest | _Pause | None) -> Object | None:
        if isinstance(wanted, ClientRequest):
            return await self.connection.send(self.name, wanted)
        assert wanted is not None
        if not wanted.event.is_set():
            woken = self._waiting.setdefault(wanted.event, trio.Event())
            with trio.move_on_after(wanted.seconds):
                await woken.wait()
            self._waiting.pop(wanted.event, None)
        return None

    async def _live(self) -> None:
        """One of the moments at which the process may die or be frozen."""
        fate = self.fates.next_stop(self.name, (self.connection.cluster.newest, self.progress), trio.current_time())
        if fate.dies:
            self.kill()
        self.frozen_until = max(self.frozen_until, trio.current_time() + fate.frozen_seconds)
        await trio.sleep_until(self.frozen_until)


class ClientTiming(Timing):
    """The clocks, pauses and threads of a client, for the SDK's effects."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client

    def now(self) -> datetime:
        assert self._client.instant is not None
        return self._client.instant

    def monotonic(self) -> float:
        return self._client.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return self._client.wait(event, seconds)

    def start(self, work: Callable[[], None], name: str) -> Callable[[], None]:
        return self._client.start_thread(work, name)
