"""Settings of runs, their queues, their steps and expressions, and of StoryTriggers. Source: operator contract 3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

from core.policy import config_values as read
from core.policy.setting import NEW, SettingRow, setting

FALLBACK_RETENTION_SECONDS: Final = 86_400
"""How long a finished run is kept where no setting says it."""
FALLBACK_STEP_TIMEOUT: Final = timedelta(minutes=30)
"""The timeout of a step when no layer sets one."""
DEFAULT_QUEUE: Final = "default"
"""The queue of runs whose Story names none."""
MAX_STORY_DEPTH: Final = 100
"""The maximum of ``storyrun.max-story-depth``."""


class OffloadedDataPolicy(StrEnum):
    ERROR = "error"
    INJECT = "inject"
    CONTROLLER = "controller"


class RestartPolicy(StrEnum):
    """Of a Job's Pods; ``Always`` is not allowed, and is refused in every field."""

    NEVER = "Never"
    ON_FAILURE = "OnFailure"


class MissingKey(StrEnum):
    """What a template with a missing key does: it fails, or it renders ``<no value>`` as the reference does."""

    FAIL = "fail"
    TEXT = "text"


class RestoredRuns(StrEnum):
    """What happens to runs that a backup has brought back while they were under way."""

    END = "end"
    RESUME = "resume"
    """The old cluster had stopped before the backup was made."""


@dataclass(frozen=True, slots=True)
class JobSettings:
    backoff_limit: int = setting(
        "job.backoff-limit", 0, read.integer(0), "Restarts by Kubernetes itself, within one attempt of a step.", NEW
    )
    ttl_seconds_after_finished: int = setting(
        "job.ttl-seconds-after-finished",
        3600,
        read.integer(0),
        "How long Jobs are kept after their end, and the StepRuns of a batch run after the end of the run.",
        NEW,
    )
    restart_policy: RestartPolicy = setting(
        "job.restart-policy",
        RestartPolicy.NEVER,
        read.one_of(RestartPolicy),
        "Restart policy of the Pods of Jobs.",
        NEW,
    )


@dataclass(frozen=True, slots=True)
class TimeoutSettings:
    """None: the next more general setting, at last ``FALLBACK_STEP_TIMEOUT``."""

    default_step: timedelta | None = setting(
        "timeout.default-step", None, read.duration(), "Timeout of an attempt when nothing more specific sets one."
    )
    approval_default: timedelta | None = setting(
        "timeout.approval-default",
        None,
        read.duration(),
        "Timeout of a `gate` that sets none; unset: it waits for ever. Open gates keep theirs.",
    )
    external_data_default: timedelta | None = setting(
        "timeout.external-data-default",
        None,
        read.duration(),
        "Timeout of a `wait` that sets none; unset: it waits for ever. Waiting steps keep theirs.",
    )


@dataclass(frozen=True, slots=True)
class TemplatingSettings:
    evaluation_timeout: timedelta = setting(
        "templating.evaluation-timeout",
        timedelta(seconds=30),
        read.duration(zero=True),
        "Wall time of one expression; 0: no limit.",
    )
    max_output_bytes: int = setting(
        "templating.max-output-bytes",
        65536,
        read.integer(0, read.INT64_MAX),
        "Size of the result of one expression; 0: no limit.",
    )
    deterministic: bool = setting(
        "templating.deterministic",
        False,
        read.boolean,
        "Whether functions are refused whose result changes from call to call: `now`, `uuidv4`, `randInt` and others.",
    )
    missing_key: MissingKey = setting(
        "templating.missing-key",
        MissingKey.FAIL,
        read.one_of(MissingKey),
        "What a [missing key](expressions.md#missing-keys) inside a longer template does; `text` renders `<no value>`.",
    )
    offloaded_data_policy: OffloadedDataPolicy = setting(
        "templating.offloaded-data-policy",
        OffloadedDataPolicy.INJECT,
        read.one_of(OffloadedDataPolicy, empty=OffloadedDataPolicy.INJECT),
        "What an expression does with [stored data](stored-data.md#which-data-the-operator-reads).",
    )
    max_steps: int = setting(
        "templating.max-steps",
        100_000,
        read.integer(1000),
        "Evaluated parts of one expression; each iteration of a loop counts.",
    )
    max_input_bytes: int = setting(
        "templating.max-input-bytes", 8 << 20, read.integer(1024), "Size of the data that one condition in CEL reads."
    )
    max_depth: int = setting("templating.max-depth", 128, read.integer(1, 128), "Nesting of values.")
    max_include_depth: int = setting(
        "templating.max-include-depth", 100, read.integer(1, 100), "Nesting of templates that include each other."
    )
    max_collection_items: int = setting(
        "templating.max-collection-items", 100_000, read.integer(1), "Items of a list or map that a function builds."
    )
    max_range_items: int = setting(
        "templating.max-range-items",
        10_000,
        read.integer(1),
        "Iterations of `range` over a number; items of `until` and `seq`.",
    )
    worker_timeout: timedelta = setting(
        "templating.worker-timeout",
        timedelta(seconds=10),
        read.duration(timedelta(seconds=1), timedelta(minutes=5)),
        "Processor time of one evaluation or schema check in a separate process.",
    )
    worker_memory_bytes: int = setting(
        "templating.worker-memory-bytes",
        1 << 30,
        read.integer(256 << 20, read.INT64_MAX),
        "Memory (address space) of such a process.",
    )
    workers: int = setting("templating.workers", 2, read.integer(1, 64), "Number of these processes.")
    namespace_budget: timedelta = setting(
        "templating.namespace-budget",
        timedelta(seconds=30),
        read.duration(timedelta(seconds=1), timedelta(hours=1), zero=True),
        "Time that the expressions and schemas of one namespace may use in a minute; 0: no limit, only "
        "[turns](scheduling.md#between-namespaces).",
    )


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """One scheduling queue; zero concurrency means unlimited."""

    concurrency: int = setting(
        "storyrun.queue.<name>.concurrency",
        0,
        read.integer(0),
        "How many steps of the queue run at once, in all namespaces; 0: no limit.",
    )
    default_priority: int = setting(
        "storyrun.queue.<name>.default-priority", 0, read.integer(0), "Priority of runs whose Story sets none."
    )
    priority_aging_seconds: int = setting(
        "storyrun.queue.<name>.priority-aging-seconds",
        60,
        read.integer(0),
        "Waiting time after which the priority of a step rises by one; 0: never.",
    )
    """Without aging, important work can block all other work for ever."""
    max_priority: int = setting(
        "storyrun.queue.<name>.max-priority",
        100,
        read.integer(0),
        "Highest priority that a run may have, or `default-priority` if that is higher. "
        "A queue without keys has the maximum of `default`.",
    )
    """With aging, it bounds how long later work can delay a step: that many aging periods."""


NAMESPACE_PRIORITY: Final = SettingRow(
    "storyrun.namespace.<name>.max-priority",
    read.integer(0),
    "Highest priority of the runs of a namespace, in any queue.",
)


@dataclass(frozen=True, slots=True)
class RunSettings:
    max_inline_inputs_size_bytes: int = setting(
        "storyrun.max-inline-inputs-size",
        1024,
        read.integer(1),
        "Larger inputs of a run are refused, or stored if there is a store.",
    )
    global_concurrency: int = setting(
        "storyrun.global-concurrency",
        0,
        read.integer(0),
        "How many steps with a container run at once, cluster-wide; 0: no limit ([slots](scheduling.md#slots)).",
    )
    retention_seconds: int | None = setting(
        "storyrun.retention-seconds",
        None,
        read.integer(-1),
        "How long a finished run is kept, but not shorter than its StepRuns (`job.ttl-seconds-after-finished`);"
        " 0: for ever; -1: it is deleted at once. A Story's `policy.execution.job.storyRunRetentionSeconds` has"
        " priority.",
    )
    """None: one day."""
    realtime_ttl_seconds: int | None = setting(
        "realtime.ttl-seconds-after-finished",
        None,
        read.integer(0),
        "How long the objects of a finished realtime run are kept; unset: as long as the run.",
    )
    cleanup_timeout: timedelta = setting(
        "storyrun.cleanup-timeout",
        timedelta(minutes=10),
        read.duration(),
        "Longest duration of the compensations of a run whose Story sets none; `finally` has the same time once more.",
    )
    max_story_depth: int = setting(
        "storyrun.max-story-depth",
        10,
        read.integer(1, MAX_STORY_DEPTH),
        "How deeply `executeStory` may be nested; a run that a user has started has depth 0.",
    )
    restored: RestoredRuns = setting(
        "storyrun.restored",
        RestoredRuns.END,
        read.one_of(RestoredRuns),
        "Runs under way that a backup brings back: `end` them (reason `Restored`), or `resume` them, if the old"
        " cluster had stopped before the backup. See [backup and restore](backup-and-restore.md).",
    )
    """Also for StoryTriggers without an answer."""
    queues: Mapping[str, QueueSettings] = field(default_factory=lambda: {DEFAULT_QUEUE: QueueSettings()})
    max_priorities: Mapping[str, int] = field(default_factory=dict)
    """Namespace → the highest priority of its runs in any queue; see ``NAMESPACE_PRIORITY``."""


@dataclass(frozen=True, slots=True)
class TriggerSettings:
    """StoryTriggers."""

    retention_seconds: int = setting(
        "storytrigger.retention-seconds",
        86_400,
        read.integer(0),
        "How long an answered StoryTrigger is kept, at least as long as its run; 0: for ever.",
    )
    pending_timeout: timedelta = setting(
        "storytrigger.pending-timeout",
        timedelta(hours=24),
        read.duration(zero=True),
        "How long a StoryTrigger waits for something that it needs, such as its Story; 0: no limit.",
    )
