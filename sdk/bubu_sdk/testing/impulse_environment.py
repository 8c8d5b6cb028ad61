"""Runs an impulse in a unit test exactly as in its container, without a container, a cluster or a store.

    environment = ImpulseEnvironment(config={"city": "Oslo"}, story="forecast")
    outcome = environment.run(main, until=lambda: len(environment.triggers) == 3)
    assert outcome.exit_code == 0
    assert environment.triggers[0]["spec"]["inputs"] == {"city": "Oslo"}

The environment consists of the environment variables of the contract, of an API server and a store in memory, and of an
operator in memory that decides StoryTriggers; all other code is the production code. Pauses between attempts, and
those of the throttle, take no time.
"""

from __future__ import annotations

import dataclasses
import io
import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bubu_contract import canonical
from bubu_sdk import hosting, logs
from bubu_sdk.errors import Object
from bubu_sdk.impulse_context import AsyncImpulseContext, ImpulseContext
from bubu_sdk.impulse_run import ImpulseRun, ImpulseWorld, log_fields
from bubu_sdk.impulses import Impulse
from bubu_sdk.kube import ENGRAMS_API
from bubu_sdk.testing.cluster import InMemoryCluster
from bubu_sdk.testing.impulse_operator import InMemoryOperator
from bubu_sdk.testing.store import InMemoryStore

IMPULSE = "impulse"
NAMESPACE = "default"


class VirtualClock:
    """A ``bubu_sdk.cancellation.Clock`` on which a limited wait takes no time: it moves the clock."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        """The pauses that nothing interrupted, in order."""
        self._now = 0.0
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        with self._lock:
            return self._now

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        if seconds is None:
            return event.wait()
        if not event.is_set():
            with self._lock:
                self._now += seconds
                self.waits.append(seconds)
        return event.is_set()


@dataclass(frozen=True)
class ImpulseOutcome:
    """How an impulse ended."""

    exit_code: int
    logs: list[Object]
    """The log lines, decoded."""
    hung: bool
    """The function ignored its cancellation; its thread is still running."""
    timed_out: bool
    """The test's time was up before ``until`` was true."""


class ImpulseEnvironment:
    """One Impulse and its environment. A second ``run`` on the same environment is a restart of its Pod.

    Args:
        config: the ``with`` of the Impulse.
        secrets: logical name → key → value, as if mounted by the template's secret schema.
        story, story_namespace: the Story of the Impulse.
        grace: the time that a cancelled function has to end, a Go duration.
        inline_bytes: inputs above this are offloaded to the store in memory; ``None`` disables storage.
        environ: further environment variables, e.g. ``BUBU_TRIGGER_DEDUPE_MODE``; they override everything above.
    """

    def __init__(
        self,
        *,
        config: Mapping[str, Any] | None = None,
        secrets: Mapping[str, Mapping[str, str]] | None = None,
        story: str = "story",
        story_namespace: str = NAMESPACE,
        grace: str = "5s",
        inline_bytes: int | None = 1024,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.cluster = InMemoryCluster()
        self.store = InMemoryStore()
        self.operator = InMemoryOperator(self.cluster)
        self.clock = VirtualClock()
        self._storage = inline_bytes is not None
        self._running: ImpulseRun | None = None
        self._until: Callable[[], bool] = lambda: False
        self.cluster.after = self._observe
        self.environ: dict[str, str] = {
            "BUBU_IMPULSE_NAME": IMPULSE,
            "BUBU_IMPULSE_NAMESPACE": NAMESPACE,
            "BUBU_TARGET_STORY_NAME": story,
            "BUBU_TARGET_STORY_NAMESPACE": story_namespace,
            "BUBU_STEP_CONFIG": canonical.encode(dict(config or {})).decode(),
            "BUBU_GRPC_GRACEFUL_SHUTDOWN_TIMEOUT": grace,
            "BUBU_MAX_INLINE_SIZE": str(1_000_000 if inline_bytes is None else inline_bytes),
            "BUBU_MAX_RECURSION_DEPTH": "32",
        }
        for logical, values in (secrets or {}).items():
            self.environ[f"BUBU_SECRET_{logical}"] = f"env:{logical}_"
            self.environ |= {f"{logical}_{key}": value for key, value in values.items()}
        self.environ |= environ or {}
        self.cluster.add(
            self.impulse_path, {"kind": "Impulse", "metadata": {"creationTimestamp": "2025-01-01T00:00:00Z"}}
        )

    @property
    def impulse_path(self) -> str:
        """The path of the Impulse in ``cluster``."""
        namespace = self.environ.get("BUBU_IMPULSE_NAMESPACE", NAMESPACE)
        return f"{ENGRAMS_API}/namespaces/{namespace}/impulses/{self.environ.get('BUBU_IMPULSE_NAME', IMPULSE)}"

    @property
    def triggers(self) -> list[Object]:
        """The StoryTriggers, in the order of their creation."""
        return self._objects("storytriggers")

    @property
    def story_runs(self) -> list[Object]:
        """The StoryRuns, in the order of their creation."""
        return self._objects("storyruns")

    def end_story_run(self, name: str, phase: str = "Succeeded") -> None:
        """Let a StoryRun end."""
        path = next(path for path in self.cluster.objects if path.endswith(f"/storyruns/{name}"))
        self.cluster.add(path, {**self.cluster.objects[path], "status": {"phase": phase}})

    def run(
        self,
        work: Impulse | Callable[..., Any],
        *,
        until: Callable[[], bool] | None = None,
        timeout_seconds: float = 10.0,
    ) -> ImpulseOutcome:
        """Run an impulse until its function returns; blocks.

        Args:
            until: checked after every request to the API server; once true, the impulse gets a SIGTERM.
            timeout_seconds: after this time it gets a SIGTERM, too.
        """
        impulse = work if isinstance(work, Impulse) else Impulse(work)
        stream = io.StringIO()
        run = ImpulseRun(impulse, self._world())
        timed_out = threading.Event()

        def give_up() -> None:
            timed_out.set()
            run.terminate(signal.SIGTERM)

        timer = threading.Timer(timeout_seconds, give_up)
        timer.daemon = True
        handler = logs.JsonLines(log_fields(self.environ), stream)
        with logs.Attached(handler, debug=self.environ.get("BUBU_DEBUG", "") == "true", root=False):
            self._running, self._until = run, until or (lambda: False)
            timer.start()
            try:
                ending = run.execute()
            finally:
                timer.cancel()
                self._running, self._until = None, lambda: False
        return ImpulseOutcome(
            exit_code=ending.exit_code,
            logs=[json.loads(line) for line in stream.getvalue().splitlines()],
            hung=ending.hung,
            timed_out=timed_out.is_set(),
        )

    async def run_async(
        self,
        work: Impulse | Callable[..., Any],
        *,
        until: Callable[[], bool] | None = None,
        timeout_seconds: float = 10.0,
    ) -> ImpulseOutcome:
        """``run`` for tests that are coroutines, under asyncio or Trio.

        Cancellation: waits until the impulse ends; call ``stop`` to end it earlier.
        """
        outcome: ImpulseOutcome = await hosting.in_thread(
            lambda: self.run(work, until=until, timeout_seconds=timeout_seconds)
        )
        return outcome

    def stop(self) -> None:
        """Do what SIGTERM does to the container; call it from another thread or from the impulse itself."""
        if self._running is not None:
            self._running.terminate(signal.SIGTERM)

    @contextmanager
    def context(self) -> Iterator[ImpulseContext]:
        """A context for parts of an impulse, without a run: its methods may be called until the end of the block."""
        given: list[ImpulseContext] = []
        ready, done = threading.Event(), threading.Event()

        def hold(ctx: ImpulseContext) -> None:
            given.append(ctx)
            ready.set()
            done.wait()

        def execute() -> None:
            run.execute()
            ready.set()

        run = ImpulseRun(Impulse(hold), self._world())
        thread = threading.Thread(target=execute, name="bubu-context", daemon=True)
        thread.start()
        ready.wait()
        try:
            if not given:
                raise RuntimeError("the environment is not valid; see the log")
            yield given[0]
        finally:
            done.set()
            thread.join()

    @contextmanager
    def async_context(self) -> Iterator[AsyncImpulseContext]:
        """The same for parts of an ``async def`` impulse, under asyncio or Trio."""
        with self.context() as ctx:
            yield AsyncImpulseContext(**{item.name: getattr(ctx, item.name) for item in dataclasses.fields(ctx)})

    def _world(self) -> ImpulseWorld:
        return ImpulseWorld(
            environ=self.environ,
            connect=lambda _: self.cluster,
            open_store=lambda _: self.store if self._storage else None,
            sleep=lambda _: None,
            clock=self.clock,
            chance=lambda: 0.5,
        )

    def _observe(self, method: str, path: str, _: Any) -> None:
        self.operator.observe(method, path)
        if self._until():
            self.stop()

    def _objects(self, plural: str) -> list[Object]:
        return [item for path, item in list(self.cluster.objects.items()) if f"/{plural}/" in path]
