"""Every label, annotation, finalizer and field-manager string of the contract, defined once.

Source: StoryRun contract 1.2 to 1.4, StepRun contract 12, 18.3 and 20, Trigger contract 1.
"""

from __future__ import annotations

from typing import Final

DOMAIN: Final = "bubustack.io/"
"""The domain in all our labels and annotations. On StepRuns only the operator writes them."""

# Labels.
LABEL_STORY_RUN: Final = "bubustack.io/storyrun"
LABEL_STEP_RUN: Final = "bubustack.io/steprun"
LABEL_STORY_NAME: Final = "bubustack.io/story-name"
LABEL_STORY: Final = "bubustack.io/story"
"""Of the Pods of realtime steps, beside the other one."""
LABEL_STEP: Final = "bubustack.io/step"
LABEL_ENGRAM: Final = "bubustack.io/engram"
LABEL_PARENT_STEP: Final = "bubustack.io/parent-step"
LABEL_PARENT_STORY_RUN: Final = "bubustack.io/parent-storyrun"
LABEL_QUEUE: Final = "bubustack.io/queue"
LABEL_QUEUE_PRIORITY: Final = "bubustack.io/queue-priority"
LABEL_CORRELATION_ID: Final = "bubustack.io/correlation-id"
LABEL_MATERIALIZE: Final = "bubustack.io/materialize"
LABEL_APP_NAME: Final = "app.kubernetes.io/name"
LABEL_APP_COMPONENT: Final = "app.kubernetes.io/component"
LABEL_APP_INSTANCE: Final = "app.kubernetes.io/instance"
LABEL_APP_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_JOB_NAME: Final = "job-name"
LABEL_JOB_UID: Final = "batch.kubernetes.io/controller-uid"
LABEL_WORKER_POOL: Final = "bubustack.io/worker-pool"
"""An extension, on StepRuns and on the objects of a pool of warm workers: the name of the pool."""
LABEL_WORKER: Final = "bubustack.io/worker"
"""An extension, on a StepRun: the name of the Pod whose worker carries out its attempt."""
LABEL_RUNNER_GRANTS: Final = "bubustack.io/aggregate-to-runner-grants"
"""An extension, on ClusterRoles: the operator gets their rules, to grant them to runs whose templates request them."""
LABEL_RUNNER_OF_STORY: Final = "bubustack.io/runner-of-story"
"""An extension, on the account of a Story's containers, its Role and its RoleBindings: the name of the Story."""

# Backup and restore (extensions, and keys of Velero).
ANNOTATION_CREATED: Final = "bubustack.io/created"
"""On StoryRuns and StoryTriggers, by admission: the name of the object, and the instant of its creation. A restored
object keeps it, and gets a later ``creationTimestamp``.
"""
ANNOTATION_CREATED_BY_RUN: Final = "runs.bubustack.io/created-by-run"
"""On StepRuns and child StoryRuns: the UID of the run that created them. A restored run has another UID."""
ANNOTATION_RESTORED_AT: Final = "runs.bubustack.io/restored-at"
"""On StoryRuns and StepRuns that were restored from a backup: when the operator took them over, RFC 3339."""
ANNOTATION_LOST_ATTEMPT: Final = "runs.bubustack.io/lost-attempt"
"""On restored StepRuns: the attempt that was under way in the backup, or ``unknown`` if the backup has no status."""
LABEL_VELERO_RESTORE: Final = "velero.io/restore-name"
"""Velero sets it on each object that it restores."""
LABEL_VELERO_EXCLUDE: Final = "velero.io/exclude-from-backup"
"""Velero leaves out objects on which it is ``true``."""
ANNOTATION_VELERO_STATUS: Final = "velero.io/restore-status"
"""Velero restores the status of objects on which it is ``true``."""

# Annotations of TransportBindings, and of the Pods of realtime steps.
ANNOTATION_ROUTING_MODE: Final = "transport.bubustack.io/routing-mode"
ANNOTATION_DOWNSTREAM_STEPS: Final = "transport.bubustack.io/downstream-steps"
ANNOTATION_TRANSPORT_BINDING: Final = "transport.bubustack.io/binding"
ANNOTATION_CONNECTOR_GENERATION: Final = "bubustack.io/connector-generation"
"""On a binding, an extension: the lowest generation that the hub admits."""
ANNOTATION_STREAM_FINISHED: Final = "transport.bubustack.io/finished"
"""An extension, on a binding: ``true`` if no client of its step will connect again, so what it has sent is all."""
ANNOTATION_STREAM_JOBS: Final = "transport.bubustack.io/jobs"
"""An extension, on a binding: ``true`` if no client serves its step, because the hub starts a Job for each packet."""
ANNOTATION_STREAM_MAY_RETURN: Final = "transport.bubustack.io/may-return"
"""An extension, on the binding of a source: ``status.stream.returning`` of the client that may connect again, because
the step has not finished.
"""
ANNOTATION_STREAM_WATCHED_UNTIL: Final = "transport.bubustack.io/watched-until"
"""Until this instant the hub reports every second; written by the commands that show the stream to users."""
ANNOTATION_STREAM_CONSOLE: Final = "transport.bubustack.io/console"
"""An extension, on a binding: the beginning of the annotations that ask the hub for a console,
``transport.bubustack.io/console.<id>``. Each command has one of its own, so commands do not disturb each other.
"""
ANNOTATION_STREAM_ENDING: Final = "transport.bubustack.io/ending"
"""An extension, on a binding: why the operator removes the workload of its step, which has not ended by itself:
``drained`` (the step has got everything that it needs) or ``canceled``.
"""
ANNOTATION_UPSTREAM_STEPS: Final = "transport.bubustack.io/upstream-steps"
"""An extension, on a binding: the steps whose packets its step gets, with commas between them; absent for a source."""
ANNOTATION_WITH_IN_PACKETS: Final = "transport.bubustack.io/with-in-packets"
"""An extension, on a binding: ``true`` if the hub is to send ``with`` beside each packet to the step, whose container
knows of it.
"""
ANNOTATION_STEP_RUN_UID: Final = "runs.bubustack.io/step-run-uid"
"""An extension, on the Pods of Jobs and realtime steps: the UID of their StepRun."""

# Annotations of StoryRuns.
ANNOTATION_REDRIVE_TOKEN: Final = "storyrun.bubustack.io/redrive-token"
ANNOTATION_REDRIVE_OBSERVED: Final = "storyrun.bubustack.io/redrive-observed"
ANNOTATION_REDRIVE_FROM_STEP: Final = "storyrun.bubustack.io/redrive-from-step"
ANNOTATION_REDRIVE_FROM_STEP_OBSERVED: Final = "storyrun.bubustack.io/redrive-from-step-observed"
ANNOTATION_GRACEFUL_CANCEL_OBSERVED_AT: Final = "storyrun.bubustack.io/graceful-cancel-observed-at"
ANNOTATION_TRIGGER_TOKEN: Final = "storyrun.bubustack.io/trigger-token"
ANNOTATION_TRIGGER_INPUT_HASH: Final = "storyrun.bubustack.io/trigger-input-hash"
ANNOTATION_TRIGGER_REQUEST_NAME: Final = "storyrun.bubustack.io/trigger-request-name"
ANNOTATION_TRIGGER_REQUEST_UID: Final = "storyrun.bubustack.io/trigger-request-uid"
"""With the name: the StoryTrigger that the run was created for, its origin."""
ANNOTATION_CANCEL_REASON: Final = "storyrun.bubustack.io/cancel-reason"
"""An extension: why a user asked to cancel the run."""
ANNOTATION_STEP_TIMERS: Final = "runs.bubustack.io/step-timers"
ANNOTATION_STEP_PATH: Final = "runs.bubustack.io/step-path"
"""An extension, on StepRuns of branches and on child StoryRuns: the full name of their step, ``fan/a``."""
ANNOTATION_INPUT_LEFT: Final = "runs.bubustack.io/input-left-to-container"
"""An extension: ``true`` on the StepRun of a branch whose ``spec.input`` has templates that its container must
resolve.
"""
ANNOTATION_STORY_REVISION: Final = "runs.bubustack.io/story-revision"
"""An extension: the name of the stored Story that a run executes. On its StepRuns; and on the run
itself when timers are stored before ``status.storyRevision``.
"""
ANNOTATION_PARENT_STORY_REVISION: Final = "runs.bubustack.io/parent-story-revision"
"""An extension, on child StoryRuns: the same of the parent run."""
ANNOTATION_STORY_DEPTH: Final = "runs.bubustack.io/story-depth"
"""An extension, on child StoryRuns: the number of ``executeStory`` steps above them."""
ANNOTATION_PACKET_DEPTH: Final = "runs.bubustack.io/packet-depth"
"""An extension, on StoryRuns that packets of a stream have started: the same as the story depth, written by the hub.
It stays as the run was created with it: a user who could lower it could let Stories call each other without end.
"""
ANNOTATION_PACKET_STEP: Final = "runs.bubustack.io/packet-step"
"""An extension, on StoryRuns that packets have started for a step whose Engram runs as a Job: the name of that step.
The run executes nothing but this step of its owner's Story. Only the hub writes it, and it stays.
"""
PACKET_RUN_MANAGER: Final = "bobrapet-hub"
"""Value of ``LABEL_APP_MANAGED_BY`` on those StoryRuns."""
LABEL_LIVE_RUN_OF: Final = "bubustack.io/live-run-of"
"""An extension, on the StoryRuns that the operator keeps for a Story that is always on: the name of the Story."""
ANNOTATION_LIVE_STORY_UID: Final = "storyrun.bubustack.io/live-story-uid"
"""An extension, on these runs: the UID of the Story. The mark by which engine and admission recognize them."""
ANNOTATION_LIVE_GENERATION: Final = "storyrun.bubustack.io/live-story-generation"
"""The generation of the Story that the run was made for."""
ANNOTATION_LIVE_PREDECESSOR: Final = "storyrun.bubustack.io/live-predecessor"
"""The UID of the ended run that it follows; absent if there was none."""
ANNOTATION_LIVE_RESTARTS: Final = "storyrun.bubustack.io/live-restarts"
"""How many predecessors in a row have failed within ten minutes."""
ANNOTATION_LIVE_REPLACED: Final = "storyrun.bubustack.io/live-replaced"
"""Why the operator, and no person, has canceled the run."""
ANNOTATION_CORRELATION_ID: Final = "bubustack.io/correlation-id"
ANNOTATION_TRACE_PARENT: Final = "bubustack.io/traceparent"
"""An extension, on StoryTriggers and StoryRuns: the span that has started the run (W3C Trace Context)."""
ANNOTATION_TRACE_STATE: Final = "bubustack.io/tracestate"
ANNOTATION_BAGGAGE: Final = "bubustack.io/baggage"
TRACE_ANNOTATIONS: Final = (ANNOTATION_TRACE_PARENT, ANNOTATION_TRACE_STATE, ANNOTATION_BAGGAGE)
ANNOTATION_PARENT_SCHEDULING: Final = "runs.bubustack.io/parent-scheduling"
"""An extension, on child StoryRuns: queue and priority of the parent, ``gpu/7``, which the child inherits."""

RUN_ANNOTATIONS_OF_OPERATOR: Final = (
    ANNOTATION_STEP_TIMERS,
    ANNOTATION_STEP_PATH,
    ANNOTATION_STORY_REVISION,
    ANNOTATION_PARENT_STORY_REVISION,
    ANNOTATION_STORY_DEPTH,
    ANNOTATION_PARENT_SCHEDULING,
    ANNOTATION_GRACEFUL_CANCEL_OBSERVED_AT,
    ANNOTATION_REDRIVE_OBSERVED,
    ANNOTATION_REDRIVE_FROM_STEP_OBSERVED,
    ANNOTATION_TRIGGER_REQUEST_NAME,
    ANNOTATION_TRIGGER_REQUEST_UID,
    ANNOTATION_LIVE_STORY_UID,
    ANNOTATION_LIVE_GENERATION,
    ANNOTATION_LIVE_PREDECESSOR,
    ANNOTATION_LIVE_RESTARTS,
    ANNOTATION_LIVE_REPLACED,
    ANNOTATION_CREATED_BY_RUN,
    ANNOTATION_RESTORED_AT,
)
"""On StoryRuns: the operator acts on them, so only it may write them. The other annotations of runs are requests of
users: redrive tokens, the reason of a cancel, the correlation id, the context of a trace, and the trigger token with
its hash, which stay.
"""

# Annotations of StepRuns.
ANNOTATION_STORY_NAMESPACE: Final = "runs.bubustack.io/story-namespace"
"""An extension: the namespace of the Story when it differs from that of the run."""
ANNOTATION_CANCEL_REQUESTED: Final = "bubustack.io/cancel-requested"
ANNOTATION_JOB_UID: Final = "runs.bubustack.io/job-uid"
ANNOTATION_RESTART_COUNT: Final = "runs.bubustack.io/restart-count"
ANNOTATION_RESTARTED_AT: Final = "runs.bubustack.io/restarted-at"
ANNOTATION_ASSIGNMENT: Final = "runs.bubustack.io/assignment"
"""An extension: the attempt that a warm worker carries out, as JSON (``core.engine.step.assignment``)."""

# Annotations of pools of warm workers (extensions).
ANNOTATION_POOL_ENGRAM: Final = "bubustack.io/worker-pool-engram"
"""On the Deployment of a pool: ``namespace/name`` of its Engram."""
ANNOTATION_POOL_WORKERS: Final = "bubustack.io/worker-pool-workers"
"""On the Deployment of a pool: how many workers it has and when, as JSON (``core.workloads.worker_pool``)."""
ANNOTATION_POOL_EMPTY_SINCE: Final = "bubustack.io/worker-pool-empty-since"
"""On the Deployment of a pool: since when it has had no worker, RFC 3339; a day later it is deleted."""
ANNOTATION_POOL_ACCOUNT: Final = "bubustack.io/worker-pool-account"
"""On the Pods of a pool whose account was made again: UID of the account."""

# Annotations of the Leases of warm workers (extensions).
ANNOTATION_WORKER_STATE: Final = "bubustack.io/worker-state"
"""``ready``, or ``draining``: it takes no new attempts. Only the worker writes it."""

# Annotations of Jobs (extensions).
ANNOTATION_CACHE_KEY: Final = "cache.bubustack.io/key"
"""On a StepRun with an output cache: the SHA-256 that equal executions have in common."""
ANNOTATION_CACHE_MODE: Final = "cache.bubustack.io/mode"
ANNOTATION_CACHE_TTL: Final = "cache.bubustack.io/ttl-seconds"
ANNOTATION_CACHE_STATUS: Final = "cache.bubustack.io/status"
"""``hit``: its output comes from the cache; ``stored``: it was put there."""
ANNOTATION_CACHE_LOOKUP: Final = "cache.bubustack.io/lookup"
"""On a StoryRun: ``false``: its steps use no entry, and store theirs."""
ANNOTATION_CACHE_REUSE: Final = "cache.bubustack.io/reuse-from"
"""On a StoryRun: the name of an earlier run of its namespace; outputs of equal steps of that run are taken."""
ANNOTATION_ATTEMPT: Final = "runs.bubustack.io/attempt"
"""The attempt of a Job and its Pods: 0 for the first, then the StepRun's ``status.retries``."""
ANNOTATION_DEADLINE_AT: Final = "runs.bubustack.io/deadline-at"
"""RFC 3339 instant at which the attempt times out; stored before the operator waits for it."""
ANNOTATION_EXECUTION_KEY: Final = "runs.bubustack.io/execution-key"
ANNOTATION_NOT_WARM: Final = "runs.bubustack.io/not-warm"
"""On a Job: why the step does not run in a warm worker, although it asks for one; for people."""
"""What equal executions have in common, as hexadecimal SHA-256."""
ANNOTATION_RESULT: Final = "runs.bubustack.io/container-result"
"""How the result of a container without an SDK is read."""

# Annotations of Pods (extensions).
ANNOTATION_INPUTS: Final = "runs.bubustack.io/inputs"
"""The inputs of a container without an SDK; mounted as a file."""

# Annotations of Stories and Engrams.
ANNOTATION_CONTROLLER_RESOLVE: Final = "bubustack.io/controller-resolve"
ANNOTATION_TLS_SECRET: Final = "bubustack.io/tls-secret"
ANNOTATION_ENGRAM_TLS_SECRET: Final = "engram.bubustack.io/tls-secret"
ANNOTATION_MANAGED_STORAGE: Final = "runs.bubustack.io/managed-storage-annotations"
ANNOTATION_RUNNER_OF_STORY: Final = LABEL_RUNNER_OF_STORY
"""The same as an annotation: ``namespace/name`` of the Story, which is never cut."""
ANNOTATION_RUNNER_RETIRED: Final = "bubustack.io/runner-retired"
"""An extension, on the account of a Story: no run needs it, and the operator is about to delete it. A run that needs
it again removes the annotation, which prevents the deletion.
"""
ANNOTATION_STORY_CONVERSION: Final = "bubustack.io/v1beta1-conversion"
"""An extension: the parts of a Story that its other version cannot express; set only while it is needed."""

# Annotations of Impulses and of the objects that run them (extensions).
ANNOTATION_SUSPEND: Final = "bubustack.io/suspend"
"""On Impulses: while it is ``true``, the workload has no replicas."""
ANNOTATION_SUSPENDED_REPLICAS: Final = "bubustack.io/suspended-replicas"
"""On workloads: the number of replicas before the suspension."""
ANNOTATION_TEMPLATE_HASH: Final = "bubustack.io/template-hash"
"""On workloads: a hash of the Pod template that the operator has written; another hash means a rollout."""
ANNOTATION_MANAGED_KEYS: Final = "bubustack.io/managed-keys"
"""On Services: the labels and annotations that the operator has written; it leaves the others alone."""

# Annotations of Stories and StoryRuns (extensions).
ANNOTATION_KEEP_STORED_DATA: Final = "bubustack.io/keep-stored-data"
"""``true``: the stored data of a run stays when the run is deleted."""

# Finalizers.
FINALIZER_STORY_RUN: Final = "storyrun.bubustack.io/finalizer"
FINALIZER_STEP_RUN: Final = "steprun.bubustack.io/finalizer"
FINALIZER_STORY: Final = "story.bubustack.io/finalizer"

# Field managers.
FIELD_MANAGER: Final = "bobrapet"
STORY_RUN_CONTROLLER: Final = "storyrun-controller"
STEP_RUN_CONTROLLER: Final = "steprun-controller"
STORY_CONTROLLER: Final = "story-controller"
IMPULSE_CONTROLLER: Final = "impulse-controller"
ENGRAM_CONTROLLER: Final = "engram-controller"
STORY_TRIGGER_CONTROLLER: Final = "storytrigger-controller"
