"""Containers of steps in one process of Python, in virtual time: each is a thread, and only one thread runs at a time.

A thread stops at every request to the API server and at every pause. There the simulation chooses who continues, by a
seeded generator, and may kill a container: then nothing of it is executed any more, as after ``kill -9``. When every
thread waits, the clock jumps to the next instant for which one waits. A run with the same seed is the same run, if
``os.urandom`` is seeded, too.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bubu_sdk.contract import Identity
from bubu_sdk.effects import Effects
from bubu_sdk.kube import UnreachableError, status_error
from bubu_sdk.steprun import StepRunClient
from bubu_sdk.testing.cluster import InMemoryCluster, step_run_path
from bubu_sdk.timing import Timing

BEGINNING = datetime(2026, 1, 1, 10, 0, 0, 250_000, tzinfo=UTC)
STEP_RUN = step_run_path("default", "sr-1-charge")
CLAIM = "/apis/runs.bubustack.io/v1alpha1/namespaces/default/effectclaims/sr-1-charge-effect-1ceea1f6cb4e8bee"
_FOREVER = float("inf")


class PodKilled(BaseException):
    """The container disappears."""


@dataclass(eq=False)
class Strand:
    """One thread of a container."""

    container: Container
    baton: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    finished: threading.Event = field(default_factory=threading.Event)
    awaited: threading.Event | None = None
    until: float = 0.0

    def is_ready(self, now: float) -> bool:
        awaited = self.awaited is not None and self.awaited.is_set()
        return self.container.killed or awaited or self.until <= now


@dataclass(eq=False)
class Container:
    """One process with the SDK."""

    simulation: Simulation
    name: str
    killed: bool = False
    may_be_killed: Callable[[], bool] = lambda: False
    """Asked at every stop."""

    @property
    def effects(self) -> Effects:
        """Those of a container that has just started."""
        timing = ContainerTiming(self)
        identity = Identity(namespace="default", story_run="run-1", step_run="sr-1-charge", pod=self.name)
        cluster = Connection(self)
        steprun = StepRunClient(cluster, identity, sleep=timing.sleep, monotonic=timing.monotonic)
        return Effects(cluster, steprun, identity, timing=timing, patient_until=self.simulation.patient_until)

    def start(self, work: Callable[[Container], Any], *, at: float = 0.0) -> None:
        self.simulation.spawn(self, lambda: work(self), at)

    def kill(self) -> None:
        """The container is not executed any further; to be called from another one, or between two runs."""
        self.killed = True

    def sleep(self, seconds: float) -> None:
        ContainerTiming(self).sleep(seconds)

    def stop_here(self) -> None:
        """Let others continue."""
        self.simulation.pause(None, 0.0)


class ContainerTiming(Timing):
    """The clocks and threads of a container; all containers have the same time."""

    def __init__(self, container: Container) -> None:
        super().__init__()
        self._container = container
        self._simulation = container.simulation

    def now(self) -> datetime:
        return self._simulation.now

    def monotonic(self) -> float:
        return self._simulation.seconds

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self._simulation.pause(event, seconds)
        return event.is_set()

    def sleep(self, seconds: float) -> None:
        self.wait(threading.Event(), seconds)

    def start(self, work: Callable[[], None], name: str) -> Callable[[], None]:
        strand = self._simulation.spawn(self._container, work)
        return lambda: self._simulation.pause(strand.finished, _FOREVER)


class Connection:
    """A container's connection to the API server."""

    def __init__(self, container: Container) -> None:
        self._container = container

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        timeout_seconds: float = 30.0,
    ) -> dict[str, Any]:
        simulation = self._container.simulation
        self._container.stop_here()
        simulation.fail_before(method, path)
        answer = simulation.cluster.request(method, path, body, content_type=content_type)
        self._container.stop_here()
        simulation.fail_after(method, path, timeout_seconds)
        return answer


class Simulation:
    """Containers that work for one StepRun."""

    def __init__(self, seed: int = 0, *, faults: float = 0.0) -> None:
        self.chance = random.Random(seed)
        self.cluster = InMemoryCluster()
        self.seconds = 0.0
        self.errors: list[BaseException] = []
        """What ended a container."""
        self.after: Callable[[str, str], None] | None = None
        """Called with method and path before the answer to a request is given; may raise a ``KubeError``."""
        self.patient_until = 0.0
        """In seconds of the simulation: until then, containers wait for an API server that is away."""
        self._faults = faults
        self._strands: list[Strand] = []
        self._current: Strand | None = None
        self._baton = threading.Semaphore(0)
        self.cluster.add(
            STEP_RUN,
            {
                "metadata": {"name": "sr-1-charge", "namespace": "default", "uid": "uid-1"},
                "spec": {"idempotencyKey": "idem"},
                "status": {"phase": "Running", "retries": 0},
            },
        )

    @property
    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self.seconds)

    @property
    def claim(self) -> dict[str, Any]:
        """The spec of the claim; empty if there is none."""
        return dict(self.cluster.objects.get(CLAIM, {}).get("spec", {}))

    @property
    def recorded(self) -> list[dict[str, Any]]:
        return list(self.cluster.objects[STEP_RUN]["status"].get("effects", []))

    @property
    def at_work(self) -> bool:
        """Whether a container has not ended."""
        return bool(self._strands)

    def container(self, name: str) -> Container:
        return Container(self, name)

    def spawn(self, container: Container, work: Callable[[], Any], at: float = 0.0) -> Strand:
        strand = Strand(container, until=max(at, self.seconds))
        self._strands.append(strand)

        def body() -> None:
            strand.baton.acquire()
            try:
                if not container.killed:
                    work()
            except PodKilled:
                pass
            except BaseException as error:
                self.errors.append(error)
            finally:
                self._strands.remove(strand)
                strand.finished.set()
                self._baton.release()

        threading.Thread(target=body, name=container.name, daemon=True).start()
        return strand

    def pause(self, event: threading.Event | None, seconds: float) -> None:
        """Called by the running strand: stop until ``event`` is set or ``seconds`` have passed.

        Raises:
            PodKilled: its container has been killed meanwhile.
        """
        strand = self._current
        assert strand is not None
        strand.awaited, strand.until = event, self.seconds + seconds
        self._baton.release()
        strand.baton.acquire()
        if strand.container.killed:
            raise PodKilled

    def run(self, *, until: float = _FOREVER) -> None:
        """Let all containers work to their ends, or until that second."""
        while self._strands:
            ready = [strand for strand in self._strands if strand.is_ready(self.seconds)]
            if not ready:
                soonest = min(strand.until for strand in self._strands)
                if soonest > until:
                    break
                assert soonest < _FOREVER, "every thread waits for another"
                self.seconds = soonest
                continue
            self._continue(self.chance.choice(ready))
        self.seconds = max(self.seconds, until) if until < _FOREVER else self.seconds

    def _continue(self, strand: Strand) -> None:
        container = strand.container
        container.killed = container.killed or container.may_be_killed()
        self._current = strand
        strand.baton.release()
        self._baton.acquire()
        self._current = None

    # Faults.

    def fail_before(self, method: str, path: str) -> None:
        """The server refuses a request, or cannot be reached."""
        if self.chance.random() < self._faults:
            raise self.chance.choice(
                [
                    UnreachableError(f"{method} {path}: refused"),
                    status_error(500, "internal error"),
                    status_error(429, "too many requests", retry_after_seconds=1.0),
                ]
            )

    def fail_after(self, method: str, path: str, timeout_seconds: float) -> None:
        """The server has done what was requested, and the answer is lost."""
        if self.after is not None:
            self.after(method, path)
        if self.chance.random() < self._faults:
            raise UnreachableError(f"{method} {path}: no answer within {timeout_seconds} s")
