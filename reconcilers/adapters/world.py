"""One informer for each watched kind, and the indexes with which owners find their objects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import trio

from core.api import keys, pinned_story
from core.api.conditions import is_true
from core.api.objects import Object, ReadOnlyObject, controller_of, has_ended, is_being_deleted, owners_of
from core.api.phases import ConditionType
from core.api.resource import (
    CONTROLLER_REVISION,
    ENGRAM,
    ENGRAM_TEMPLATE,
    JOB,
    POD,
    REFERENCE_GRANT,
    ROLE,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
    STEP_RUN,
    STORY,
    STORY_RUN,
    STREAM_DEPLOYMENT,
    STREAM_STATEFUL_SET,
    TRANSPORT,
    TRANSPORT_BINDING,
    WORKER_DEPLOYMENT,
    WORKER_LEASE,
    WORKER_POD,
    Resource,
)
from core.engine.step.assignment import assignment_of
from core.engine.step.worker_observation import exit_of
from core.kube.client import KubeClient
from core.kube.errors import NotFoundError
from core.kube.informer import Informer
from core.story.story import read_story
from core.workloads import story_runner, stream_workload
from core.workloads.live_run import is_live_run
from core.workloads.restored import is_alien
from reconcilers.adapters.rest_note import rest_note
from reconcilers.adapters.watched_kind import WatchedKind, merged, slim

OWNER_UID: Final = "controller-uid"
"""Index: UID of the controller owner reference."""
LIVE_STEP_RUNS: Final = "live-step-runs"
"""Index of StepRuns that have not ended: UID of their controller owner."""
RESTORED_FROM_BACKUP: Final = "restored-from-backup"
"""Index of StepRuns and StoryRuns that another run controls, or none, than the one that has created them: namespace,
and name of that run as a label. Only a restore from a backup makes such objects.
"""
HELD_BY_REFERENCE: Final = "held-by-reference"
"""Index of StepRuns: ``namespace/name`` of the run that controls them, if they have the reference's finalizer."""
PACKET_PARENT: Final = "packet-parent-uid"
"""Index of StoryRuns: UID of the realtime run whose packet has started it."""
STEP_RUN_NAME: Final = "step-run"
"""Index of Pods: ``namespace/name`` of their StepRun."""
STORY_KEY: Final = "story"
"""Index of StoryRuns, Impulses, pinned Stories and accounts of Stories: ``namespace/name`` of their Story."""
LIVE_RUNS: Final = "live-runs"
"""Like ``STORY_KEY``, without runs that have ended or are being deleted: a Story may have thousands of these."""
LIVE_RUNS_KEPT: Final = "live-runs-kept"
"""Like ``STORY_KEY``, only the runs that the operator keeps for a Story that is always on, ended ones included."""
ENGRAM_KEYS: Final = "engrams"
"""Index of Stories and StepRuns: ``namespace/name`` of each Engram that they refer to."""
WORKER: Final = "worker"
"""Index of StepRuns: ``namespace/name`` of the Pod of the warm worker that has not let go of them."""
POOL: Final = "pool"
"""Index of Pods and Leases of warm workers, and of StepRuns that have not ended: ``namespace/name`` of their pool."""
TEMPLATE_NAME: Final = "template"
"""Index of Engrams and Impulses: the name of their template."""

STUCK_SECONDS: Final = 300.0
"""After this time, readiness reports a kind that cannot be followed; replacing an API server may take a while."""

_OBJECT_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LONGEST_NAME: Final = 253
_OWN_ACCESS: Final = f"{keys.LABEL_APP_MANAGED_BY}={keys.FIELD_MANAGER}"
"""Selects the accounts that are kept for many runs, and their rights."""
_JOB_ENDS: Final = ("Complete", "Failed")


class World:
    """Everything that the operator knows without a request.

    Args:
        informers: one for each kind; at least those of ``WATCHED``.
    """

    def __init__(self, informers: Iterable[Informer]) -> None:
        self._informers = {informer.resource: informer for informer in informers}
        self.stories = self.informer(STORY)
        self.engrams = self.informer(ENGRAM)
        self.engram_templates = self.informer(ENGRAM_TEMPLATE)
        self.story_runs = self.informer(STORY_RUN)
        self.step_runs = self.informer(STEP_RUN)
        self.jobs = self.informer(JOB)
        self.pods = self.informer(POD)
        self.reference_grants = self.informer(REFERENCE_GRANT)
        self.story_revisions = self.informer(CONTROLLER_REVISION)
        """Stories as they were when runs started with them, without their specs."""

    @classmethod
    def watching(cls, client: KubeClient, kinds: Iterable[WatchedKind] = ()) -> World:
        """Informers of ``WATCHED`` and of ``kinds`` that do not run yet; ``run`` starts them.

        Raises:
            ValueError: see ``merged``.
        """
        return cls(kind.informer(client) for kind in merged((*WATCHED, *kinds)))

    def informer(self, resource: Resource) -> Informer:
        """The informer of a kind.

        Raises:
            LookupError: the kind is not watched.
        """
        try:
            return self._informers[resource]
        except KeyError:
            raise LookupError(
                f"{resource.title} are not watched; declare the kind in the informers of a controller's registration"
            ) from None

    def watches(self, resource: Resource) -> bool:
        return resource in self._informers

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """Handlers that are added in this block get the known objects at its end. Each object is read only once."""
        with ExitStack() as stack:
            for informer in self:
                stack.enter_context(informer.gathering_handlers())
            yield

    def __iter__(self) -> Iterator[Informer]:
        return iter(self._informers.values())

    @property
    def changes(self) -> int:
        """The number of changes of all kinds together."""
        return sum(informer.changes for informer in self)

    @property
    def trouble(self) -> str:
        """The kinds that cannot be listed now, and the type of error; empty while all is well."""
        failing = [(informer.resource.title, informer.last_error) for informer in self]
        return ", ".join(f"{plural} ({type(error).__name__})" for plural, error in failing if error is not None)

    @property
    def stuck(self) -> str:
        """The kinds that can no longer be followed, for how long and why; empty while all can be."""
        return stuck_kinds(self)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch every kind; ``started`` is called when all stores are filled."""
        async with trio.open_nursery() as nursery:
            for informer in self:
                nursery.start_soon(informer.run, name=f"informer {informer.resource.title}")
            for informer in self:
                await informer.wait_until_synced()
            task_status.started()


def stuck_kinds(informers: Iterable[Informer]) -> str:
    """The kinds without news for longer than ``STUCK_SECONDS``, each with the type of error."""
    stuck = [informer for informer in informers if informer.stuck_seconds > STUCK_SECONDS]
    return ", ".join(
        f"{informer.resource.title} for {informer.stuck_seconds:.0f} s"
        + (f" ({type(informer.last_error).__name__})" if informer.last_error is not None else "")
        for informer in stuck
    )


async def find(client: KubeClient, informer: Informer, resource: Resource, namespace: str, name: str) -> Object | None:
    """Reads from the informer; a missing object is requested once, because it may have been created a moment ago.

    Names come from users' objects: for a text that is not a valid name, there is no object.
    """
    known = informer.get(namespace, name)
    if known is not None:
        return known
    if not is_object_name(name) or (namespace and not is_object_name(namespace)):
        return None
    try:
        return await client.get(resource, name, namespace or None)
    except NotFoundError:
        return None


def is_object_name(text: str) -> bool:
    """Whether an object can have this name: a DNS-1123 subdomain."""
    return len(text) <= _LONGEST_NAME and _OBJECT_NAME.fullmatch(text) is not None


def step_references(story: Object) -> Iterator[ReadOnlyObject]:
    """Every step of a Story that has a ``ref``: in the three lists, and in branches of ``parallel`` steps."""
    return (step.declared for step in read_story(story).every_step() if step.declared.get("ref"))


def engram_key(reference: Object, default_namespace: str) -> str:
    return f"{reference.get('namespace') or default_namespace}/{reference.get('name', '')}"


def story_of(run: Object, world: World) -> Object | None:
    """The Story of a run as it is now; None: it does not exist."""
    reference = run["spec"].get("storyRef") or {}
    namespace = reference.get("namespace") or run["metadata"]["namespace"]
    return world.stories.get(namespace, reference.get("name", ""))


def owner_uid(obj: Object) -> list[str]:
    """For the index ``OWNER_UID``."""
    owner = controller_of(obj)
    return [owner["uid"]] if owner else []


def live_owner_uid(step_run: Object) -> list[str]:
    """For the index ``LIVE_STEP_RUNS``."""
    return [] if has_ended(step_run) else owner_uid(step_run)


def held_by_reference(step_run: Object) -> list[str]:
    """For the index ``HELD_BY_REFERENCE``."""
    owner = controller_of(step_run)
    if owner is None or keys.FINALIZER_STEP_RUN not in (step_run["metadata"].get("finalizers") or ()):
        return []
    return [f"{step_run['metadata']['namespace']}/{owner['name']}"]


def alien(child: Object) -> list[str]:
    """For the index ``RESTORED_FROM_BACKUP``."""
    if not is_alien(child):
        return []
    metadata = child["metadata"]
    labels = metadata.get("labels") or {}
    run = labels.get(keys.LABEL_PARENT_STORY_RUN) or labels.get(keys.LABEL_STORY_RUN)
    return [f"{metadata['namespace']}/{run}"] if run else []


def packet_parent(run: Object) -> list[str]:
    """For the index ``PACKET_PARENT``."""
    if (run["metadata"].get("labels") or {}).get(keys.LABEL_APP_MANAGED_BY) != keys.PACKET_RUN_MANAGER:
        return []
    return [owner["uid"] for owner in owners_of(run) if owner.get("kind") == STORY_RUN.kind]


def story_key(run: Object) -> list[str]:
    """For the index ``STORY_KEY``."""
    return [engram_key((run.get("spec") or {}).get("storyRef") or {}, run["metadata"]["namespace"])]


def live_story_key(run: Object) -> list[str]:
    """For the index ``LIVE_RUNS``."""
    return [] if has_ended(run) or is_being_deleted(run) else story_key(run)


def live_run_key(run: Object) -> list[str]:
    """For the index ``LIVE_RUNS_KEPT``."""
    return story_key(run) if is_live_run(run) else []


def _pinned_story_key(revision: Object) -> list[str]:
    place = pinned_story.story_of(revision)
    return ["/".join(place)] if place else []


def _runner_story_key(obj: Object) -> list[str]:
    return [place] if (place := story_runner.story_of_runner(obj)) else []


def _story_engrams(story: Object) -> list[str]:
    namespace = story["metadata"]["namespace"]
    return sorted({engram_key(step["ref"], namespace) for step in step_references(story)})


def _step_run_engram(step_run: Object) -> list[str]:
    reference = (step_run.get("spec") or {}).get("engramRef")
    return [engram_key(reference, step_run["metadata"]["namespace"])] if reference else []


def template_name(engram: Object) -> list[str]:
    """For the index ``TEMPLATE_NAME``."""
    reference = (engram.get("spec") or {}).get("templateRef") or {}
    return [reference["name"].strip()] if reference.get("name") else []


def step_run_of_pod(pod: Object) -> str:
    """Name of the StepRun that the Pod works for; empty when it is none of ours.

    That of a Job has the name of the Job, which is that of the StepRun. The label remains without the owner: a Pod
    whose Job was deleted with ``--cascade=orphan`` still works for its step. That of a realtime step has it as a label.
    """
    owner, labels = controller_of(pod), pod["metadata"].get("labels") or {}
    if owner is not None and owner.get("kind") == JOB.kind:
        return str(owner["name"])
    if labels.get(keys.LABEL_APP_NAME) == stream_workload.APP_NAME:
        return str(labels.get(keys.LABEL_STEP_RUN, ""))
    return str(labels.get(keys.LABEL_JOB_NAME, "")) if owner is None else ""


def assigned_worker(step_run: Object) -> list[str]:
    """For the index ``WORKER``."""
    assignment = assignment_of(step_run)
    if assignment is None or exit_of(step_run, assignment) is not None:
        return []
    return [f"{step_run['metadata']['namespace']}/{assignment.worker}"]


def pool_key(obj: Object) -> list[str]:
    """For the index ``POOL`` of Pods and Leases."""
    pool = (obj["metadata"].get("labels") or {}).get(keys.LABEL_WORKER_POOL)
    return [f"{obj['metadata']['namespace']}/{pool}"] if pool else []


def _pool_of_unfinished(step_run: Object) -> list[str]:
    return [] if has_ended(step_run) else pool_key(step_run)


def _step_run_of_pod(pod: Object) -> list[str]:
    name = step_run_of_pod(pod)
    return [f"{pod['metadata']['namespace']}/{name}"] if name else []


def _without_template(workload: Object) -> Object:
    """Only metadata, status and limits of a workload are read; its template has the inputs of the step."""
    spec = {key: value for key, value in workload.get("spec", {}).items() if key != "template"}
    return {**slim(workload), "spec": spec}


def _without_containers(pod: Object) -> Object:
    node = pod.get("spec", {}).get("nodeName")
    return {**slim(pod), "spec": {"nodeName": node} if node else {}}


def _is_over(obj: Object) -> bool:
    return has_ended(obj) and not is_being_deleted(obj)


def _is_settled(step_run: Object) -> bool:
    """Whether it has ended and the operator has recorded that; until then it is read and written again."""
    conditions = (step_run.get("status") or {}).get("conditions") or ()
    return _is_over(step_run) and bool(conditions) and not is_true(conditions, ConditionType.PROGRESSING)


def job_has_ended(job: Object) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(is_true(conditions, ended) for ended in _JOB_ENDS)


WATCHED: Final = (
    WatchedKind(STORY, {ENGRAM_KEYS: _story_engrams}),
    WatchedKind(ENGRAM, {TEMPLATE_NAME: template_name}),
    WatchedKind(ENGRAM_TEMPLATE),
    WatchedKind(REFERENCE_GRANT, why="Grants say which namespaces may refer to which objects."),
    WatchedKind(
        STORY_RUN,
        {
            STORY_KEY: story_key,
            LIVE_RUNS: live_story_key,
            LIVE_RUNS_KEPT: live_run_key,
            OWNER_UID: owner_uid,
            PACKET_PARENT: packet_parent,
            RESTORED_FROM_BACKUP: alien,
        },
        is_at_rest=_is_over,
        rest_note=rest_note,
    ),
    WatchedKind(
        STEP_RUN,
        {
            OWNER_UID: owner_uid,
            LIVE_STEP_RUNS: live_owner_uid,
            ENGRAM_KEYS: _step_run_engram,
            HELD_BY_REFERENCE: held_by_reference,
            WORKER: assigned_worker,
            RESTORED_FROM_BACKUP: alien,
            POOL: _pool_of_unfinished,
        },
        is_at_rest=_is_settled,
    ),
    WatchedKind(
        CONTROLLER_REVISION,
        {STORY_KEY: _pinned_story_key},
        label_selector=pinned_story.SELECTOR,
        trim=pinned_story.without_spec,
        why="Finds the stored versions of Stories that runs use; the operator only lists its own, by label.",
    ),
    WatchedKind(
        JOB,
        label_selector=f"{keys.LABEL_APP_NAME}=bobrapet,{keys.LABEL_APP_COMPONENT}=engram",
        trim=_without_template,
        is_at_rest=lambda job: job_has_ended(job) and not is_being_deleted(job),
        why="The operator only lists its own Jobs, by label.",
    ),
    WatchedKind(
        POD,
        {STEP_RUN_NAME: _step_run_of_pod},
        label_selector=keys.LABEL_STEP_RUN,
        trim=_without_containers,
        is_at_rest=_is_over,  # a Pod has the same words for its ends as a run
        why="A step ends when its container ends; the operator only lists Pods of steps.",
    ),
    WatchedKind(
        WORKER_DEPLOYMENT,
        label_selector=keys.LABEL_WORKER_POOL,
        trim=_without_template,
        why="The operator only lists the Deployments of warm workers, by label, and scales them.",
    ),
    WatchedKind(
        WORKER_POD,
        {POOL: pool_key},
        label_selector=keys.LABEL_WORKER_POOL,
        trim=_without_containers,
        is_at_rest=has_ended,
        why="Steps are assigned to ready workers, and lost with them; the operator only lists these Pods, by label.",
    ),
    WatchedKind(
        WORKER_LEASE,
        {POOL: pool_key},
        label_selector=keys.LABEL_WORKER_POOL,
        why="The heartbeats of warm workers; the operator only lists these Leases, by label.",
    ),
    *(
        WatchedKind(
            resource,
            {STORY_KEY: _runner_story_key},
            label_selector=_OWN_ACCESS,
            why="The accounts of Stories and of pools of warm workers, and their rights: while they are there, a run "
            "writes and reads none of them. The operator only lists these, by label.",
        )
        for resource in (SERVICE_ACCOUNT, ROLE, ROLE_BINDING)
    ),
    WatchedKind(TRANSPORT),
    WatchedKind(TRANSPORT_BINDING, {OWNER_UID: owner_uid}),
    *(
        WatchedKind(
            resource,
            {OWNER_UID: owner_uid},
            label_selector=stream_workload.SELECTOR,
            trim=_without_template,
            why="The operator only lists the objects that run realtime steps, by label, and reacts to their changes.",
        )
        for resource in (STREAM_DEPLOYMENT, STREAM_STATEFUL_SET)
    ),
)
"""The kinds that the engine reads, and every controller may. A controller declares more kinds and indexes in its
row.
"""
