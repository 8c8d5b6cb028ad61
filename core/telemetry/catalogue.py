"""All metrics of the operator, with the names, labels and buckets that dashboards use. Data only.

The series of streams, ``bobravoz_grpc_…``, belong to the hub (``hub_catalogue``).
Source: operator contract 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class SeriesKind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Series:
    """One metric; ``buckets`` are the upper bounds of a histogram, in the metric's unit."""

    name: str
    kind: SeriesKind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    stays: bool = False
    """A label set is about something that lives, and is dropped with it; the bound on label sets does not apply."""


_LONG: Final = (1, 5, 15, 30, 60, 300, 600, 1800, 3600)
_RECONCILE: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def _counter(name: str, text: str, *labels: str) -> Series:
    return Series(name, SeriesKind.COUNTER, text, labels)


def _gauge(name: str, text: str, *labels: str, stays: bool = True) -> Series:
    return Series(name, SeriesKind.GAUGE, text, labels, stays=stays)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Series:
    return Series(name, SeriesKind.HISTOGRAM, text, labels, buckets)


# StoryRun and Story.
STORY_RUNS = _counter("bobrapet_storyruns_total", "Finished StoryRuns.", "namespace", "story", "phase")
STORY_RUN_DURATION = _histogram(
    "bobrapet_storyrun_duration_seconds",
    "Duration of StoryRuns, from start to end.",
    _LONG,
    "namespace",
    "story",
    "phase",
)
STORY_RUN_STEPS_ACTIVE = _gauge(
    "bobrapet_storyrun_steps_active", "Running steps of all live runs of a Story.", "namespace", "story"
)
STORY_RUN_STEPS_COMPLETED = _gauge(
    "bobrapet_storyrun_steps_completed", "Completed steps of live runs.", "namespace", "story"
)
STORY_RUN_WINDOW = _gauge(
    "bobrapet_storyrun_window_seconds", "Retention times in use.", "namespace", "story", "window", stays=False
)
"""Set again whenever retention looks at a finished run of the Story."""
STORY_RUN_QUEUE_AGE = _histogram(
    "bobrapet_storyrun_queue_age_seconds", "How long a step waited for a slot.", _LONG, "namespace", "queue"
)
STORY_RUN_QUEUE_DEPTH = _gauge(
    "bobrapet_storyrun_queue_depth", "Steps of a run that wait for a slot.", "namespace", "storyrun", "queue"
)
STORY_RUN_DEPENDENTS_DELETED = _counter(
    "bobrapet_storyrun_dependents_deleted_total", "Children deleted.", "namespace", "storyrun", "resource"
)
STORY_RUN_RBAC_OPERATIONS = _counter(
    "bobrapet_storyrun_rbac_operations_total",
    "Writes of ServiceAccounts, Roles and RoleBindings.",
    "resource",
    "operation",
)
STORY_DIRTY_MARKS = _counter(
    "bobrapet_story_dirty_marks_total", "Stories marked to be counted again.", "namespace", "story", "reason"
)
DAG_ITERATION_STEPS = _histogram(
    "bobrapet_dag_iteration_steps", "Steps decided per pass.", (0, 1, 2, 5, 10, 20, 40), "controller", "type"
)
SUBSTORY_REFRESH = _counter("bobrapet_substory_refresh_total", "Sub-stories that changed state.", "controller")

# StepRun.
STEP_RUNS = _counter("bobrapet_stepruns_total", "Finished StepRuns.", "namespace", "engram", "phase")
STEP_RUN_DURATION = _histogram(
    "bobrapet_steprun_duration_seconds",
    "Duration of StepRuns, from Pending to their end.",
    (0.1, 0.5, 1, 5, 15, 30, 60, 300),
    "namespace",
    "engram",
    "phase",
)
STEP_RUN_RETRIES = _counter("bobrapet_steprun_retries_total", "Retries scheduled.", "namespace", "engram", "reason")
STEP_RUN_CACHE_LOOKUPS = _counter(
    "bobrapet_steprun_cache_lookups_total", "Lookups in the output cache.", "namespace", "engram", "result"
)
CHILD_STEP_RUNS_CREATED = _counter(
    "bobrapet_child_stepruns_created_total", "StepRuns created.", "namespace", "storyrun", "engram"
)

# Resolver, controllers, triggers.
RESOLVER_STAGE = _counter("bobrapet_resolver_stage_total", "Resolver stages.", "layer", "stage", "mode", "outcome")
RESOLVER_STAGE_DURATION = _histogram(
    "bobrapet_resolver_stage_duration_seconds",
    "Duration of resolver stages.",
    (0.001, 0.01, 0.05, 0.1, 0.5, 1, 2),
    "layer",
    "stage",
)
RESOLVER_SERVICE_ACCOUNT_FALLBACK = _counter(
    "bobrapet_resolver_service_account_fallback_total", "Runs that use the ServiceAccount of the run.", "storyrun"
)
CONTROLLER_RECONCILE = _counter("bobrapet_controller_reconcile_total", "Reconciles.", "controller", "result")
CONTROLLER_RECONCILE_DURATION = _histogram(
    "bobrapet_controller_reconcile_duration_seconds", "Duration of reconciles.", _RECONCILE, "controller"
)
CONTROLLER_RECONCILE_ERRORS = _counter(
    "bobrapet_controller_reconcile_errors_total", "Failed reconciles.", "controller", "error_type"
)
CONTROLLER_MAPPER_FAILURES = _counter(
    "bobrapet_controller_mapper_failures_total",
    "Events for which no object to reconcile was found.",
    "controller",
    "mapper",
)
CONTROLLER_INDEX_FALLBACK = _counter(
    "bobrapet_controller_index_fallback_total", "Searches without an index.", "controller", "index"
)
TRIGGER_BACKFILL_LOOPS = _counter(
    "bobrapet_trigger_backfill_loops_total", "Backfill passes.", "controller", "namespace", "resource", "pending"
)
TRIGGER_BACKFILL_MARKED = _counter(
    "bobrapet_trigger_backfill_marked_total", "Triggers marked.", "controller", "namespace", "resource"
)
IMPULSE_THROTTLED_TRIGGERS = _gauge(
    "bobrapet_impulse_throttled_triggers_total", "Throttled triggers, as reported by Impulses.", "namespace", "impulse"
)

# Evaluation and clean-up.
CEL_EVALUATION_DURATION = _histogram(
    "bobrapet_cel_evaluation_duration_seconds",
    "Duration of evaluations of expressions.",
    (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1),
    "expression_type",
)
CEL_EVALUATION = _counter("bobrapet_cel_evaluation_total", "Expressions evaluated.", "expression_type", "result")
CEL_CACHE_HITS = _counter("bobrapet_cel_cache_hits_total", "Compiled expressions reused.", "cache_type")
RESOURCE_CLEANUP = _counter("bobrapet_resource_cleanup_total", "Objects cleaned up.", "resource_type", "result")
RESOURCE_CLEANUP_DURATION = _histogram(
    "bobrapet_resource_cleanup_duration_seconds", "Duration of clean-ups.", (0.1, 0.5, 1, 5, 10, 30), "resource_type"
)
JOB_EXECUTION = _counter("bobrapet_job_execution_total", "Jobs finished.", "namespace", "image", "result")
JOB_EXECUTION_DURATION = _histogram(
    "bobrapet_job_execution_duration_seconds",
    "Duration of Jobs.",
    (1, 5, 15, 30, 60, 300, 600, 1800),
    "namespace",
    "image",
)
BINDINGS_TOTAL = _gauge("bobrapet_transport_bindings_total", "TransportBindings of a Transport.", "transport")
BINDINGS_READY = _gauge("bobrapet_transport_bindings_ready", "Those whose step is served by a hub.", "transport")
BINDINGS_PENDING = _gauge("bobrapet_transport_bindings_pending", "Those that wait for their step.", "transport")
BINDINGS_FAILED = _gauge(
    "bobrapet_transport_bindings_failed", "Those that cannot work, or were left by a dead hub.", "transport"
)

# Names of the contract for what this operator does otherwise, or not at all: they exist, and never change.
DOWNSTREAM_MUTATIONS = _counter(
    "bobrapet_downstream_target_mutations_total",
    "Changes of spec.downstreamTargets, which this operator does not make.",
    *("namespace", "step", "action", "hashes"),
)
BINDING_OPERATIONS = _counter(
    "bobrapet_transport_binding_operations_total",
    "Writes of TransportBindings; see rest_client_requests_total.",
    *("controller", "result", "mutated", "binding_alias"),
)
BINDING_OPERATION_DURATION = _histogram(
    "bobrapet_transport_binding_operation_duration_seconds",
    "Duration of such writes; see rest_client_request_duration_seconds.",
    (0.01, 0.05, 0.1, 0.5, 1, 2, 5),
    *("controller", "mutated", "binding_alias"),
)
BINDING_READ_FALLBACKS = _counter(
    "bobrapet_transport_binding_read_fallbacks_total",
    "Reads of bindings beside the cache, which this operator does not make.",
    *("namespace", "reader"),
)
BINDING_SANITIZE_FAILURES = _counter(
    "bobrapet_transport_binding_annotation_sanitize_failures_total",
    "References to bindings that fit into no annotation, which this operator does not write.",
    *("namespace", "story_run", "step"),
)
QUOTA_VIOLATIONS = _counter(
    "bobrapet_quota_violation_total", "Not in use.", "namespace", "resource_type", "violation_type"
)
QUOTA_USAGE = _gauge("bobrapet_resource_quota_usage", "Not in use.", "namespace", "resource_type")
QUOTA_LIMIT = _gauge("bobrapet_resource_quota_limit", "Not in use.", "namespace", "resource_type")

# Names that dashboards for Kubernetes operators commonly use.
CLIENT_REQUESTS = _counter("rest_client_requests_total", "Requests to the API server.", "code", "method", "host")
CLIENT_REQUEST_DURATION = _histogram(
    "rest_client_request_duration_seconds",
    "Duration of requests to the API server, without watches.",
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30),
    "verb",
    "host",
)
LEADER_STATUS = _gauge("leader_election_master_status", "1 while this process holds the lease.", "name")
RUNTIME_RECONCILE = _counter(
    "controller_runtime_reconcile_total", "Reconciles: success, error, requeue_after.", "controller", "result"
)
RUNTIME_RECONCILE_ERRORS = _counter("controller_runtime_reconcile_errors_total", "Failed reconciles.", "controller")
RUNTIME_TERMINAL_ERRORS = _counter(
    "controller_runtime_terminal_reconcile_errors_total",
    "Reconciles that failed and are not repeated before the object changes.",
    "controller",
)
RUNTIME_PANICS = _counter(
    "controller_runtime_reconcile_panics_total", "Reconciles that ended with a bug; they are repeated.", "controller"
)
RUNTIME_RECONCILE_TIME = _histogram(
    "controller_runtime_reconcile_time_seconds", "Duration of reconciles.", (*_RECONCILE, 30, 60), "controller"
)
RUNTIME_WORKERS = _gauge(
    "controller_runtime_max_concurrent_reconciles", "Keys that may be processed at a time.", "controller"
)
RUNTIME_ACTIVE_WORKERS = _gauge("controller_runtime_active_workers", "Keys that are processed now.", "controller")
WORK_QUEUE_DEPTH = _gauge("workqueue_depth", "Keys waiting.", "name", "controller", "priority")
WORK_QUEUE_UNFINISHED = _gauge(
    "workqueue_unfinished_work_seconds",
    "Time spent on the keys that are processed now.",
    "name",
    "controller",
)
WORK_QUEUE_LONGEST = _gauge(
    "workqueue_longest_running_processor_seconds", "The longest of these.", "name", "controller"
)
WORK_QUEUE_ADDS = _counter("workqueue_adds_total", "Keys added.", "name", "controller")
WORK_QUEUE_RETRIES = _counter("workqueue_retries_total", "Keys added again after an error.", "name", "controller")
WORK_QUEUE_WAIT = _histogram(
    "workqueue_queue_duration_seconds", "Time that keys wait in the queue.", _RECONCILE, "name", "controller"
)
WORK_QUEUE_WORK = _histogram(
    "workqueue_work_duration_seconds", "Time to process a key.", _RECONCILE, "name", "controller"
)
WEBHOOK_REQUESTS = _counter("controller_runtime_webhook_requests_total", "Reviews answered.", "webhook", "code")
WEBHOOK_LATENCY = _histogram(
    "controller_runtime_webhook_latency_seconds", "Duration of reviews.", _RECONCILE, "webhook"
)
WEBHOOK_IN_FLIGHT = _gauge("controller_runtime_webhook_requests_in_flight", "Reviews in progress.", "webhook")

# Own names, for values without a name in the contract.
STORY_RUNS_LIVE = _gauge("bobrapet_storyruns_live", "Live runs that this process executes.", "namespace")
QUEUE_OLDEST_WAIT = _gauge(
    "bobrapet_queue_oldest_wait_seconds", "How long the oldest step in the queue has waited for a slot.", "queue"
)
API_WRITES = _counter(
    "bobrapet_api_writes_total",
    "Writes that were sent to the API server, whatever the answer; the resource includes the subresource.",
    "verb",
    "resource",
)
READY = _gauge("bobrapet_ready", "1 while a check of /readyz passes, else 0.", "check")
INFORMER_STUCK = _gauge(
    "bobrapet_informer_stuck_seconds", "For how long a kind could not be listed or watched; 0: it can be.", "resource"
)
ADMISSION_DECISIONS = _counter(
    "bobrapet_admission_decisions_total", "Reviews that were decided: allowed, denied.", "webhook", "decision"
)
QUEUE_STEPS_RUNNING = _gauge("bobrapet_queue_steps_running", "Engram steps that have a slot.", "queue")
WATCH_RESTARTS = _counter("bobrapet_watch_restarts_total", "Watches opened again.", "resource", "reason")
INFORMER_RELISTS = _counter("bobrapet_informer_relists_total", "Full lists of a kind.", "resource")
OBJECTS_UNREADABLE = _counter(
    "bobrapet_unreadable_objects_total",
    "Versions of objects with an unreadable part, which was left out.",
    "resource",
)
OBJECTS_LEFT_OUT = _counter(
    "bobrapet_objects_left_out_total",
    "Versions of objects that were ignored because their names could not be read.",
    "resource",
)
INFORMER_OBJECTS = _gauge("bobrapet_informer_objects", "Objects held in memory.", "resource")
RESYNC_RUNS = _counter(
    "bobrapet_resync_runs_total",
    "Live runs that a resync has checked, by what it found: nothing, lost-event, not-in-hand.",
    "found",
)
EVENTS_WRITTEN = _counter("bobrapet_events_total", "Kubernetes Events by outcome.", "outcome")
EVALUATION_WORKERS_STARTED = _counter(
    "bobrapet_evaluation_workers_started_total", "Processes started for costly evaluations."
)
EVALUATION_WORKERS_ENDED = _counter(
    "bobrapet_evaluation_workers_ended_total",
    "Such processes that ended, by cause: time, memory, busy, crash.",
    "limit",
)
EVALUATION_WAIT = _histogram(
    "bobrapet_evaluation_wait_seconds",
    "Time that work outside the event loop waits for its turn and for the budget of its namespace, by lane: thread, "
    "process, analysis.",
    (0.01, 0.1, 0.5, 1, 5, 15, 60, 300),
    "lane",
)
WEBHOOK_SHED = _counter(
    "bobrapet_webhook_shed_total",
    "Reviews that were not decided, by the limit that was reached: requests, bytes, turns, time.",
    "reason",
)
CERTIFICATE_EXPIRY = _gauge(
    "bobrapet_certificate_expiry_timestamp_seconds", "When the certificate in use expires, as Unix time.", "certificate"
)
CERTIFICATE_ROTATIONS = _counter("bobrapet_certificate_rotations_total", "Certificates created or restored.", "step")
CERTIFICATE_FAILURES = _counter(
    "bobrapet_certificate_failures_total", "Certificates that could not be read, stored or published.", "operation"
)
CERTIFICATE_READS = _counter("certwatcher_read_certificate_total", "Reads of mounted certificate files.")
CERTIFICATE_READ_ERRORS = _counter(
    "certwatcher_read_certificate_errors_total", "Mounted certificate files that could not be used."
)

LABEL_SETS_REMOVED = _counter(
    "bobrapet_metric_label_sets_removed_total",
    "Label sets that left a full metric to make room for others, by metric.",
    "metric",
)
TRACE_SPANS = _counter(
    "bobrapet_trace_spans_total",
    "Spans of traces, by what became of them: exported, refused by the collector, dropped.",
    "outcome",
)

CATALOGUE: Final[tuple[Series, ...]] = tuple(value for value in list(globals().values()) if isinstance(value, Series))
"""All series of this module."""
CLIENT_CATALOGUE: Final = (
    *(CLIENT_REQUESTS, CLIENT_REQUEST_DURATION, LEADER_STATUS, WATCH_RESTARTS, INFORMER_RELISTS, INFORMER_OBJECTS),
    *(API_WRITES, OBJECTS_UNREADABLE, OBJECTS_LEFT_OUT, CERTIFICATE_EXPIRY, CERTIFICATE_READS, CERTIFICATE_READ_ERRORS),
    LABEL_SETS_REMOVED,
)
"""The series of a client of an API server that follows a few kinds, holds a Lease and serves a certificate."""
