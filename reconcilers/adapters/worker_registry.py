"""The warm workers of all pools: who is ready, who has room, who is lost; and who waits for them.

Everything follows from the informers of Pods, Leases and StepRuns. What this process adds is what no object says yet:
places that are kept while a write is under way, the line of those who wait, and how long ago a heartbeat was seen. A
restarted process has none of it and needs none. The API server is asked before a worker counts as lost, because a watch
may be late. Source: StepRun contract 3.5; docs/warm-workers.md.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import trio

from core.api import keys
from core.api.objects import NamespacedName, Object, controller_of, has_ended, is_being_deleted, step_path
from core.api.resource import STORY_RUN, WORKER_DEPLOYMENT, WORKER_LEASE, WORKER_POD
from core.engine.errors import GoneError, PortError
from core.engine.step.assignment import Assignment, assignment_of
from core.engine.step.worker_observation import exit_of
from core.kube.client import KubeClient
from core.kube.informer import Change
from reconcilers.adapters.observation import why_not_running
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.worker_facts import PoolFacts, WorkerFacts, is_misconfigured, is_of_its_pool
from reconcilers.adapters.worker_heartbeats import Heartbeat, Heartbeats, is_of_worker
from reconcilers.adapters.worker_leftovers import Leftover, WorkerLeftovers
from reconcilers.adapters.worker_line import AwaitedRoom, WorkerLine
from reconcilers.adapters.worker_use import PoolUse, PoolUses, WorkerLoad
from reconcilers.adapters.world import POOL, WORKER, World, assigned_worker, pool_key

Wake = Callable[[NamespacedName, str | None], None]
"""``Supervisor.wake``."""

PLACE_KEPT_SECONDS: Final = 30.0
"""How long a place is kept for a step that was woken: it may be writing, or waiting for an API server."""
ASK_AGAIN_SECONDS: Final = 5.0
"""When the API server did not answer the question whether a worker is alive."""
_KILLED: Final = 137
_GONE_REMEMBERED: Final = 4096
"""A forgotten one costs one request."""


class PoolKey(NamedTuple):
    """Namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class WorkerPlace(NamedTuple):
    """Room for one step in one worker."""

    worker: str
    """Name of its Pod."""
    uid: str


class WorkerRegistry:
    """Call ``connect`` when the informers are filled, and keep ``run`` running."""

    def __init__(self, client: KubeClient, world: World) -> None:
        self._client = client
        self._pods = world.informer(WORKER_POD)
        self._leases = world.informer(WORKER_LEASE)
        self._deployments = world.informer(WORKER_DEPLOYMENT)
        self._step_runs = world.step_runs
        self._heartbeats = Heartbeats()
        self._lines: dict[PoolKey, WorkerLine] = defaultdict(WorkerLine)
        self._facts = PoolFacts(self._deployments, self._pods)
        self._kept: Counter[str] = Counter()
        """``namespace/name`` of a worker → the places kept in it."""
        self._leftovers = WorkerLeftovers()
        self._gone: set[str] = set()
        """UIDs of Pods that do not exist any more, as the API server has said."""
        self._emptied: set[PoolKey] = set()
        self._uses = PoolUses()
        self._wake: Wake = lambda run, step: None
        self._look_at: Callable[[PoolKey], None] = lambda pool: None
        self._doubt: Callable[[str, str], None] = lambda namespace, name: None
        self._sleeps_until = float("inf")
        self._earlier = trio.Event()

    # Wiring.

    def connect(self, wake: Wake) -> None:
        """Hear all changes from now on, and wake the steps that they concern."""
        self._wake = wake
        self._pods.add_handler(self._pod_changed)
        self._leases.add_handler(self._lease_changed)
        self._deployments.add_handler(self._deployment_changed)
        self._step_runs.add_handler(self._step_run_changed)

    def when_needed(self, look_at: Callable[[PoolKey], None]) -> None:
        """Call ``look_at`` with the pool whenever another step waits for a worker, or a worker is lost."""
        self._look_at = look_at

    def when_misconfigured(self, doubt: Callable[[str, str], None]) -> None:
        """Call ``doubt`` with namespace and name of a pool when one of its Pods lacks what its container refers to. The
        steps that wait for the pool are woken after that.
        """
        self._doubt = doubt

    async def run(self) -> None:
        """Notice silent workers, and keep no place for ever. Sleeps until something is due."""
        while True:
            self._sleeps_until, self._earlier = self._next_due(), trio.Event()
            with trio.move_on_at(self._sleeps_until):
                await self._earlier.wait()
            await self._settle_what_is_due()

    # Room.

    @contextmanager
    def place_for(
        self, pool: PoolKey, step_run: NamespacedName, waiting: AwaitedRoom | None = None
    ) -> Iterator[WorkerPlace | None]:
        """A place in the ready worker with the most room, kept until the block ends; None: there is none for this step.

        Inside the block the caller stores the assignment, which takes the place from then on. With ``waiting``, a step
        without a place waits in line, and is woken when it may have one.
        """
        line = self._lines[pool]
        workers = self._room(pool)
        if not line.may_take(step_run, sum(workers.values())):
            if waiting is not None:
                is_new = step_run not in line
                line.join(step_run, waiting)
                self._due_at(line.next_due)
                if is_new:
                    self._note_use(pool)
                    self._look_at(pool)
            self._forget_if_empty(pool)
            yield None
            return
        self._forget_if_empty(pool)
        place = max(workers, key=lambda each: (workers[each], each.worker))
        held = f"{pool.namespace}/{place.worker}"
        self._kept[held] += 1
        try:
            yield place
        finally:
            self._kept[held] -= 1
            if not self._kept[held]:
                del self._kept[held]
            self._advance(pool)  # the write may have failed

    def leave(self, pool: PoolKey, step_run: NamespacedName) -> None:
        """The step does not come for the place that it waits for."""
        if pool in self._lines:
            self._lines[pool].leave(step_run)
            self._advance(pool)
            self._forget_if_empty(pool)

    def is_served(self, pool: PoolKey) -> bool:
        """Whether a worker is ready; it need not have room."""
        return any(map(self._is_usable, self._facts.workers(pool)))

    def why_no_place(self, pool: PoolKey) -> str:
        """For people; changes seldom, because it is recorded."""
        if self.is_served(pool):
            return f"all workers of pool {pool.name} are at work"
        for pod in self._pods_of(pool):
            status = pod.get("status") or {}
            state = next((each.get("state") or {} for each in status.get("containerStatuses") or ()), {})
            if words := why_not_running(status, state):
                return f"no worker of pool {pool.name} is ready: {': '.join(filter(None, words.values()))}"
        return f"no worker of pool {pool.name} is ready"

    def has_waited_too_long(self, pool: PoolKey, step_run: NamespacedName, now: float) -> bool:
        """Whether the time of a step that waits is over, and no worker is ready. It does not wait any longer then."""
        line = self._lines.get(pool)
        if line is None or now < line.gives_up_at(step_run) or self.is_served(pool):
            return False
        line.leave(step_run)
        self._forget_if_empty(pool)
        return True

    # What the controller of pools asks.

    def demand(self, pool: PoolKey) -> int:
        """The steps of the pool that have not ended, and those that wait for it."""
        unfinished = self._step_runs.keys_by_index(POOL, str(pool))
        line = self._lines.get(pool)
        return len(unfinished) + (sum(each not in unfinished for each in line) if line is not None else 0)

    def is_at_work(self, pool: PoolKey) -> bool:
        """Whether a worker has not let go of a step, or will be given one."""
        return any(self._load(_full_name(pod)) for pod in self._pods_of(pool) if not self._is_lost_pod(pod))

    def use_of(self, pool: PoolKey) -> PoolUse:
        """How much of the pool was needed lately."""
        return self._uses.of(pool, self.demand(pool), trio.current_time())

    def retire(self, pool: PoolKey, replicas: int, wanted: int) -> list[WorkerPlace]:
        """Give no step any more to the workers that go if only ``wanted`` of the ``replicas`` stay.

        Returns:
            Those of them that are idle: their Pods can be deleted. Call it again when the others have become so.
        """
        loads = [
            WorkerLoad(each.name, each.uid, self._load(each.full_name), self._is_usable(each))
            for each in self._facts.workers(pool)
            if each.is_there
        ]
        idle = self._uses.retire(pool, loads, replicas, wanted)
        self._advance(pool)  # one that was to go may stay
        return [WorkerPlace(each.name, each.uid) for each in idle]

    def keep_all(self, pool: PoolKey) -> None:
        """All workers of the pool get steps again."""
        if self._uses.keep_all(pool):
            self._advance(pool)

    @contextmanager
    def emptying(self, pool: PoolKey) -> Iterator[bool]:
        """Whether the pool may lose its workers: nobody needs it, and inside the block nobody gets a place."""
        self._emptied.add(pool)
        try:
            yield not self.demand(pool) and not self.is_at_work(pool)
        finally:
            self._emptied.discard(pool)
            self._advance(pool)

    # What the executor asks.

    async def is_lost(self, namespace: str, assignment: Assignment) -> bool:
        """Whether nothing runs any more in the worker of an assignment.

        Raises:
            UnavailableError: the API server does not say whether its Pod exists.
        """
        uid = assignment.worker_uid
        pod = self._pods.get(namespace, assignment.worker)
        if uid in self._gone or self._heartbeats.is_lost(uid):
            return True
        if pod is not None:
            return bool(pod["metadata"]["uid"] != uid) or has_ended(pod)
        try:
            with port_errors():
                pod = await self._client.get(WORKER_POD, assignment.worker, namespace)
        except GoneError:
            pod = None
        if pod is not None and pod["metadata"]["uid"] == uid and pool_key(pod):
            self._pods.remember(pod)
            return has_ended(pod)
        if len(self._gone) >= _GONE_REMEMBERED:
            self._gone.clear()
        self._gone.add(uid)
        return True

    def lingers(self, step_run: NamespacedName) -> bool:
        """Whether a worker may still run something for a StepRun of that name, which exists or is gone."""
        if step_run in self._leftovers:
            return True
        stored = self._step_runs.get(*step_run)
        worker = next(iter(assigned_worker(stored)), "") if stored is not None else ""
        pod = self._pods.get(step_run.namespace, worker.partition("/")[2]) if worker else None
        return pod is not None and not self._is_lost_pod(pod)

    # Changes.

    def _pod_changed(self, change: Change) -> None:
        pod = change.object
        metadata = pod["metadata"]
        uid = str(metadata["uid"])
        if change.new is None:
            self._heartbeats.pod_gone(uid)
            if (pool := _pool_of(pod)) is not None:
                self._facts.forget(pool)
        else:
            self._expect(pod)
        if change.new is None or has_ended(pod):
            self._settle_leftovers()
            self._wake_assigned(metadata["namespace"], metadata["name"])
        elif is_misconfigured(pod) and not (change.old is not None and is_misconfigured(change.old)):
            self._doubt_pool_of(pod)
        self._advance_of(pod)

    def _expect(self, pod: Object) -> None:
        metadata, now = pod["metadata"], trio.current_time()
        if self._heartbeats.expect(pod, now):
            lease = self._leases.get(metadata["namespace"], metadata["name"])  # it may have come before its Pod
            if lease is not None:
                self._heartbeats.heard(lease, now)
        self._due_at(self._heartbeats.next_due)

    def _doubt_pool_of(self, pod: Object) -> None:
        pool = _pool_of(pod)
        if pool is not None and is_of_its_pool(pod):
            self._doubt(*pool)
            self._wake_everybody(pool)

    def _lease_changed(self, change: Change) -> None:
        if change.new is None:
            self._heartbeats.lease_gone(change.object)
            return
        if self._heartbeats.heard(change.new, trio.current_time()):
            self._advance_of(change.new)
        self._settle_leftovers()

    def _deployment_changed(self, change: Change) -> None:
        """A pool that is gone is made again by those who wait for it."""
        if change.new is None or is_being_deleted(change.new):
            metadata = change.object["metadata"]
            pool = PoolKey(metadata["namespace"], metadata["name"])
            self._facts.forget(pool)
            self._uses.forget(pool)
            self._wake_everybody(pool)

    def _step_run_changed(self, change: Change) -> None:
        old, new = change.old, change.new
        had = assigned_worker(old) if old is not None else []
        if had and old is not None and (new is None or assigned_worker(new) != had):
            if new is None:
                self._leftovers.note(old, trio.current_time())
                self._settle_leftovers()  # the worker may be lost already
            else:
                self._doubt_if_killed(new)
            self._advance_of(old)
        is_over = new is None or has_ended(new)
        if is_over:
            self._leave(change.object)
        if (pool := _pool_of(change.object)) is not None and not (is_over and (old is None or has_ended(old))):
            self._note_use(pool)

    def _doubt_if_killed(self, step_run: Object) -> None:
        """Give nothing to a worker that may be starting again: it would be killed, too, before it had begun."""
        assignment = assignment_of(step_run)
        ended = None if assignment is None else exit_of(step_run, assignment)
        if assignment is not None and ended is not None and ended.exit_code == _KILLED:
            self._heartbeats.doubt(assignment.worker_uid)

    def _note_use(self, pool: PoolKey) -> None:
        """A step that waits and has a StepRun counts twice: that is fast, and all workers are needed then."""
        steps = len(self._step_runs.keys_by_index(POOL, str(pool))) + len(self._lines.get(pool, ()))
        self._uses.note(pool, steps, trio.current_time())

    def _leave(self, step_run: Object) -> None:
        metadata = step_run["metadata"]
        key = NamespacedName(metadata["namespace"], metadata["name"])
        for pool in [pool for pool, line in self._lines.items() if key in line]:
            self.leave(pool, key)

    def _settle_leftovers(self) -> None:
        """What a worker ran for a StepRun that is gone has ended: its place is free, and its step may go on."""
        for left in self._leftovers.settle(self._has_lost, self._renewed_at):
            run, pool = _run_of(left.step_run), _pool_of(left.step_run)
            if run is not None:
                self._wake(run, step_path(left.step_run) or None)
            if pool is not None:
                self._note_use(pool)
                self._advance(pool)
                self._look_at(pool)

    def _has_lost(self, left: Leftover) -> bool:
        pod = self._pods.get(left.key.namespace, left.assignment.worker)
        return pod is None or pod["metadata"]["uid"] != left.assignment.worker_uid or self._is_lost_pod(pod)

    def _renewed_at(self, left: Leftover) -> float:
        return self._heartbeats.renewed_at(left.assignment.worker_uid)

    # Timers.

    def _due_at(self, due: float) -> None:
        if due < self._sleeps_until:
            self._earlier.set()

    def _next_due(self) -> float:
        lines = min((line.next_due for line in self._lines.values()), default=float("inf"))
        return min(lines, self._heartbeats.next_due)

    async def _settle_what_is_due(self) -> None:
        now = trio.current_time()
        for pool, line in [*self._lines.items()]:
            for waiting in line.expire(now):
                self._tell(waiting)
            self._advance(pool)
            self._forget_if_empty(pool)
        for uid, beat in self._heartbeats.suspects(now):
            if not self._load(f"{beat.namespace}/{beat.name}"):
                self._heartbeats.lose(uid)  # it takes nothing until it is heard again
            else:
                await self._confirm_lost(uid, beat)
        await trio.lowlevel.checkpoint()

    async def _confirm_lost(self, uid: str, beat: Heartbeat) -> None:
        """The watch may be late: the Lease itself says whether the worker has renewed it."""
        renewed = beat.renewed
        try:
            with port_errors():
                lease = await self._client.get(WORKER_LEASE, beat.name, beat.namespace)
        except GoneError:
            lease = None
        except PortError:
            self._heartbeats.ask_later(uid, trio.current_time() + ASK_AGAIN_SECONDS)
            return
        is_its_own = lease is not None and is_of_worker(lease, uid, beat.pool)
        if lease is not None and is_its_own and lease["spec"].get("renewTime") not in (None, renewed):
            self._leases.remember(lease)
            self._heartbeats.ask_later(uid, trio.current_time() + ASK_AGAIN_SECONDS)
            return
        self._heartbeats.lose(uid)
        self._settle_leftovers()
        self._wake_assigned(beat.namespace, beat.name)
        self._look_at(PoolKey(beat.namespace, beat.pool))

    # Workers.

    def _room(self, pool: PoolKey) -> dict[WorkerPlace, int]:
        """The ready workers that have room, and how much."""
        standing = self._facts.standing(pool)
        if standing is None or not standing.replicas or pool in self._emptied:
            return {}
        found: dict[WorkerPlace, int] = {}
        for worker in self._facts.workers(pool):
            room = standing.warm.concurrency - self._load(worker.full_name)
            if room > 0 and self._is_usable(worker) and not self._uses.is_retiring(pool, worker.uid):
                found[WorkerPlace(worker.name, worker.uid)] = room
        return found

    def _pods_of(self, pool: PoolKey) -> Iterator[Object]:
        return self._pods.each_by_index(POOL, str(pool))

    def _is_usable(self, worker: WorkerFacts) -> bool:
        return worker.is_ready and self._heartbeats.is_usable(worker.uid)

    def _is_lost_pod(self, pod: Object) -> bool:
        return has_ended(pod) or self._heartbeats.is_lost(str(pod["metadata"]["uid"]))

    def _load(self, worker: str) -> int:
        """The steps that take the room of the worker ``namespace/name``."""
        unfinished = len(self._step_runs.keys_by_index(WORKER, worker))
        return unfinished + self._kept[worker] + self._leftovers.load(worker)

    # Waking.

    def _advance_of(self, obj: Object) -> None:
        pool = _pool_of(obj)
        if pool is not None:
            self._advance(pool)

    def _advance(self, pool: PoolKey) -> None:
        """Wake as many of those who wait as there is room for."""
        line = self._lines.get(pool)
        if not line:
            return
        for waiting in line.call(sum(self._room(pool).values()), trio.current_time() + PLACE_KEPT_SECONDS):
            self._tell(waiting)
        self._due_at(line.next_due)

    def _wake_everybody(self, pool: PoolKey) -> None:
        line = self._lines.get(pool)
        for waiting in line.waiters() if line is not None else ():
            self._tell(waiting)

    def _tell(self, waiting: AwaitedRoom) -> None:
        if waiting.on_ready is not None:
            waiting.on_ready()
        else:
            self._wake(waiting.run, waiting.step)

    def _wake_assigned(self, namespace: str, worker: str) -> None:
        """Wake the steps of a worker that is gone."""
        for step_run in self._step_runs.each_by_index(WORKER, f"{namespace}/{worker}"):
            run = _run_of(step_run)
            if run is not None:
                self._wake(run, step_path(step_run) or None)

    def _forget_if_empty(self, pool: PoolKey) -> None:
        if pool in self._lines and not self._lines[pool]:
            del self._lines[pool]


def _pool_of(obj: Object) -> PoolKey | None:
    name = (obj["metadata"].get("labels") or {}).get(keys.LABEL_WORKER_POOL)
    return PoolKey(obj["metadata"]["namespace"], str(name)) if name else None


def _full_name(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _run_of(step_run: Object) -> NamespacedName | None:
    owner = controller_of(step_run)
    if owner is None or owner.get("kind") != STORY_RUN.kind:
        return None
    return NamespacedName(step_run["metadata"]["namespace"], str(owner["name"]))
