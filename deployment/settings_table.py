"""What each key of the operator's ConfigMap does, and when a change of it counts; ``settings_page`` renders it.

Types, bounds and defaults are not here: they come from ``core.policy``. A test requires a row for each key. Source:
operator contract 3.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Counts(StrEnum):
    """When a change of a setting applies; the values are the words of the page."""

    LIVE = "live"
    NEW_CONTAINERS = "new containers"
    START = "start"


class KeyRow(NamedTuple):
    """``does`` is Markdown."""

    key: str
    counts: Counts
    does: str


class Section(NamedTuple):
    """Keys that belong together; ``text`` stands before their table."""

    heading: str
    text: str
    keys: tuple[KeyRow, ...]


_LIVE, _NEW, _START = Counts.LIVE, Counts.NEW_CONTAINERS, Counts.START
_GRPC: Final = "of the streams of realtime steps"

_RUNS: Final = (
    KeyRow(
        "storyrun.global-concurrency",
        _LIVE,
        "How many steps with a container run at once, cluster-wide; 0: no limit ([slots](scheduling.md#slots)).",
    ),
    KeyRow(
        "storyrun.retention-seconds",
        _LIVE,
        "How long a finished run is kept, but not shorter than its StepRuns (`job.ttl-seconds-after-finished`); "
        "0: for ever; -1: it is deleted at once. "
        "A Story's `policy.execution.job.storyRunRetentionSeconds` has priority.",
    ),
    KeyRow(
        "realtime.ttl-seconds-after-finished",
        _LIVE,
        "How long the objects of a finished realtime run are kept; unset: as long as the run.",
    ),
    KeyRow(
        "storyrun.max-inline-inputs-size",
        _LIVE,
        "Larger inputs of a run are refused, or stored if there is a store.",
    ),
    KeyRow(
        "storyrun.cleanup-timeout",
        _LIVE,
        "Longest duration of the compensations of a run whose Story sets none; `finally` has the same time once more.",
    ),
    KeyRow(
        "storyrun.restored",
        _LIVE,
        "Runs under way that a backup brings back: `end` them (reason `Restored`), or `resume` them, if the old "
        "cluster had stopped before the backup. See [backup and restore](backup-and-restore.md).",
    ),
    KeyRow(
        "storyrun.max-story-depth",
        _LIVE,
        "How deeply `executeStory` may be nested; a run that a user has started has depth 0.",
    ),
    KeyRow(
        "controller.max-story-with-block-size-bytes",
        _LIVE,
        "Largest `with` of a step, its branches included; admission refuses larger ones.",
    ),
    KeyRow(
        "storytrigger.retention-seconds",
        _LIVE,
        "How long an answered StoryTrigger is kept, at least as long as its run; 0: for ever.",
    ),
    KeyRow(
        "storytrigger.pending-timeout",
        _LIVE,
        "How long a StoryTrigger waits for something that it needs, such as its Story; 0: no limit.",
    ),
)

_STEPS: Final = (
    KeyRow(
        "retry.max-retries",
        _LIVE,
        "Retries of a step whose policy sets no `maxRetries`. See [retries](steps.md#retries).",
    ),
    KeyRow(
        "retry.exponential-backoff-base",
        _LIVE,
        "Delay before the first retry of steps without a policy and a recommendation of their template. "
        "A policy that names no delay has `1s`.",
    ),
    KeyRow(
        "retry.exponential-backoff-max",
        _LIVE,
        "Longest delay between two retries with exponential back-off, if neither policy nor template sets one.",
    ),
    KeyRow("timeout.default-step", _LIVE, "Timeout of an attempt when nothing more specific sets one."),
    KeyRow(
        "timeout.approval-default",
        _LIVE,
        "Timeout of a `gate` that sets none; unset: it waits for ever. Open gates keep theirs.",
    ),
    KeyRow(
        "timeout.external-data-default",
        _LIVE,
        "Timeout of a `wait` that sets none; unset: it waits for ever. Waiting steps keep theirs.",
    ),
    KeyRow("job.backoff-limit", _NEW, "Restarts by Kubernetes itself, within one attempt of a step."),
    KeyRow(
        "job.ttl-seconds-after-finished",
        _NEW,
        "How long Jobs are kept after their end, and the StepRuns of a batch run after the end of the run.",
    ),
    KeyRow("job.restart-policy", _NEW, "Restart policy of the Pods of Jobs."),
    KeyRow("images.pull-policy", _NEW, "Pull policy of containers whose definitions set none."),
    KeyRow(
        "images.default-engram",
        _LIVE,
        "Image of Engrams whose EngramTemplate names none; empty: such a template cannot be used.",
    ),
    KeyRow(
        "images.default-impulse",
        _LIVE,
        "Image of Impulses whose ImpulseTemplate names none; empty: such a template cannot be used.",
    ),
    KeyRow(
        "resources.default.cpu-request",
        _NEW,
        "CPU request of containers while `resources.engram.cpu-request` is empty.",
    ),
    KeyRow("resources.default.cpu-limit", _NEW, "CPU limit of containers while `resources.engram.cpu-limit` is empty."),
    KeyRow(
        "resources.default.memory-request",
        _NEW,
        "Memory request of containers while `resources.engram.memory-request` is empty.",
    ),
    KeyRow(
        "resources.default.memory-limit",
        _NEW,
        "Memory limit of containers while `resources.engram.memory-limit` is empty.",
    ),
    KeyRow("resources.engram.cpu-request", _NEW, "CPU request of containers of steps and Impulses."),
    KeyRow("resources.engram.cpu-limit", _NEW, "CPU limit of containers of steps and Impulses."),
    KeyRow("resources.engram.memory-request", _NEW, "Memory request of containers of steps and Impulses."),
    KeyRow("resources.engram.memory-limit", _NEW, "Memory limit of containers of steps and Impulses."),
)

_SECURITY: Final = (
    KeyRow(
        "security.run-as-non-root",
        _NEW,
        "`runAsNonRoot` of containers; also a minimum that Engrams, Stories and steps cannot lower.",
    ),
    KeyRow("security.read-only-root-filesystem", _NEW, "`readOnlyRootFilesystem`, likewise."),
    KeyRow("security.allow-privilege-escalation", _NEW, "`allowPrivilegeEscalation`, likewise."),
    KeyRow("security.drop-capabilities", _NEW, "Linux capabilities that containers must drop."),
    KeyRow("security.run-as-user", _NEW, "User ID of containers, and `fsGroup` of their volumes."),
    KeyRow(
        "security.service-account-name",
        _NEW,
        "ServiceAccount of all steps; empty: the one of `controller.runner-identity`.",
    ),
    KeyRow(
        "controller.runner-identity",
        _NEW,
        "Whose ServiceAccount containers have: one for all runs of a Story, or one of each run "
        "([accounts](permissions.md#accounts-of-containers)).",
    ),
    KeyRow(
        "security.lowered-by",
        _LIVE,
        "Who may use weaker security settings than the layer below: templates, nobody, everybody.",
    ),
    KeyRow(
        "security.tolerations", _LIVE, "Taints that workloads may tolerate; `keyed`: every toleration that names a key."
    ),
    KeyRow("security.priority-classes", _LIVE, "PriorityClasses that definitions other than templates may name."),
    KeyRow("security.runtime-classes", _LIVE, "RuntimeClasses that definitions other than templates may name."),
    KeyRow("scripts.images", _LIVE, "Images that [script steps](steps.md#which-images) may use."),
    KeyRow("scripts.default-image", _LIVE, "Image of script steps that name none; empty: they must name one."),
    KeyRow(
        "references.cross-namespace-policy",
        _LIVE,
        "References to other namespaces: refused, allowed by a ReferenceGrant, or always allowed.",
    ),
)

_STORAGE: Final = (
    KeyRow(
        "controller.storage.provider",
        _LIVE,
        "The object store of the operator, and of steps that name no other; empty: none.",
    ),
    KeyRow(
        "controller.storage.delete-with-run",
        _LIVE,
        "Whether the stored data of a run is deleted when the run is deleted.",
    ),
    KeyRow("controller.storage.s3.bucket", _LIVE, "Bucket; required with `s3`."),
    KeyRow(
        "controller.storage.s3.region",
        _LIVE,
        "Region; empty: `AWS_REGION` or `AWS_DEFAULT_REGION` of the environment, else `us-east-1`.",
    ),
    KeyRow("controller.storage.s3.endpoint", _LIVE, "URL of the service; empty: AWS."),
    KeyRow(
        "controller.storage.s3.use-path-style",
        _LIVE,
        "Whether the bucket is in the path of URLs instead of the host name.",
    ),
    KeyRow(
        "controller.storage.s3.auth-secret-name",
        _LIVE,
        "Secret with the credentials, in the operator's namespace; empty: the operator's environment.",
    ),
    KeyRow("controller.storage.s3.credential-namespaces", _LIVE, "Namespaces whose steps get a copy of that Secret."),
    KeyRow("controller.storage.gcs.bucket", _LIVE, "Bucket; required with `gcs`."),
    KeyRow("controller.storage.gcs.endpoint", _LIVE, "URL of the service; empty: Google's."),
    KeyRow(
        "controller.storage.gcs.auth-secret-name",
        _LIVE,
        "Secret with the credentials, in the operator's namespace; empty: workload identity or environment.",
    ),
    KeyRow("controller.storage.gcs.credential-namespaces", _LIVE, "Namespaces whose steps get a copy of that Secret."),
    KeyRow("controller.storage.azure.account", _LIVE, "Storage account; required with `azure`."),
    KeyRow("controller.storage.azure.container", _LIVE, "Container; required with `azure`."),
    KeyRow(
        "controller.storage.azure.endpoint", _LIVE, "URL of the service; empty: the account's host in the public cloud."
    ),
    KeyRow(
        "controller.storage.azure.auth-secret-name",
        _LIVE,
        "Secret with the credentials, in the operator's namespace; empty: workload identity or environment.",
    ),
    KeyRow(
        "controller.storage.azure.credential-namespaces", _LIVE, "Namespaces whose steps get a copy of that Secret."
    ),
    KeyRow("controller.storage.file.path", _LIVE, "Folder of the store in all containers; required with `file`."),
    KeyRow(
        "controller.storage.file.volume-claim-name",
        _LIVE,
        "Claim with the data, in each namespace; required with `file`.",
    ),
)

_TEMPLATING: Final = (
    KeyRow("templating.evaluation-timeout", _LIVE, "Wall time of one expression; 0: no limit."),
    KeyRow("templating.max-output-bytes", _LIVE, "Size of the result of one expression; 0: no limit."),
    KeyRow(
        "templating.deterministic",
        _LIVE,
        "Whether functions are refused whose result changes from call to call: `now`, `uuidv4`, `randInt` and others.",
    ),
    KeyRow(
        "templating.missing-key",
        _LIVE,
        "What a [missing key](expressions.md#missing-keys) inside a longer template does; `text` renders `<no value>`.",
    ),
    KeyRow(
        "templating.offloaded-data-policy",
        _LIVE,
        "What an expression does with [stored data](stored-data.md#which-data-the-operator-reads).",
    ),
    KeyRow("templating.max-steps", _LIVE, "Evaluated parts of one expression; each iteration of a loop counts."),
    KeyRow("templating.max-input-bytes", _LIVE, "Size of the data that one condition in CEL reads."),
    KeyRow("templating.max-depth", _LIVE, "Nesting of values."),
    KeyRow("templating.max-include-depth", _LIVE, "Nesting of templates that include each other."),
    KeyRow("templating.max-collection-items", _LIVE, "Items of a list or map that a function builds."),
    KeyRow("templating.max-range-items", _LIVE, "Iterations of `range` over a number; items of `until` and `seq`."),
    KeyRow(
        "templating.worker-timeout", _LIVE, "Processor time of one evaluation or schema check in a separate process."
    ),
    KeyRow("templating.worker-memory-bytes", _LIVE, "Memory (address space) of such a process."),
    KeyRow("templating.workers", _LIVE, "Number of these processes."),
    KeyRow(
        "templating.namespace-budget",
        _LIVE,
        "Time that the expressions and schemas of one namespace may use in a minute; 0: no limit, only "
        "[turns](scheduling.md#between-namespaces).",
    ),
)

_CONTAINERS: Final = (
    KeyRow(
        "engram.default-max-inline-size",
        _NEW,
        "An output above this size goes into the object store. `maxInlineSize` of an Engram or step has priority.",
    ),
    KeyRow("engram.default-max-recursion-depth", _NEW, "Nesting in which references to stored data are followed."),
    KeyRow("engram.default-storage-timeout-seconds", _NEW, "Time limit of one operation on the object store."),
    KeyRow(
        "engram.default-graceful-shutdown-timeout-seconds",
        _LIVE,
        "How long steps of a canceled run may finish their work; containers that start later get the new value.",
    ),
    KeyRow("engram.default-termination-grace-period-seconds", _NEW, "Time between SIGTERM and SIGKILL of a Pod."),
    KeyRow("engram.default-grpc-port", _NEW, "Port that containers may listen on, as `BUBU_GRPC_PORT`."),
    KeyRow("engram.default-max-recv-msg-bytes", _NEW, f"Largest received message {_GRPC}."),
    KeyRow("engram.default-max-send-msg-bytes", _NEW, f"Largest sent message {_GRPC}."),
    KeyRow("engram.default-dial-timeout-seconds", _NEW, f"Time to connect {_GRPC}."),
    KeyRow("engram.default-channel-buffer-size", _NEW, f"Messages that an SDK holds {_GRPC}; these get at least 64."),
    KeyRow(
        "engram.default-reconnect-max-retries",
        _NEW,
        "Attempts to connect again, for batch steps; realtime steps try without end.",
    ),
    KeyRow(
        "engram.default-reconnect-base-backoff-millis",
        _NEW,
        "First pause before an attempt to connect again; realtime steps pause 100 ms at most.",
    ),
    KeyRow(
        "engram.default-reconnect-max-backoff-seconds",
        _NEW,
        "Longest such pause; realtime steps pause 2 s at most.",
    ),
    KeyRow(
        "engram.default-hang-timeout-seconds",
        _NEW,
        "A client that receives nothing from the hub for this time opens another connection; 0: never; "
        "realtime steps then use 60 s.",
    ),
    KeyRow(
        "engram.default-message-timeout-seconds", _NEW, f"Time limit of one message {_GRPC}; these get at least 600 s."
    ),
    KeyRow(
        "engram.default-grpc-heartbeat-interval-seconds",
        _NEW,
        "Pause between two heartbeats on the data call of a realtime step.",
    ),
    KeyRow("controller.transport.heartbeat-interval", _NEW, "The same on its control call."),
    KeyRow(
        "controller.transport.heartbeat-timeout",
        _LIVE,
        "How long the hub may be silent, in its Lease, before its streams count as not connected; never shorter than "
        "the Lease lasts (60 s).",
    ),
    KeyRow(
        "controller.transport.hub-endpoint",
        _NEW,
        "The hub, as containers dial it; empty: `bobrapet-hub.<operator's namespace>.svc:9000`.",
    ),
    KeyRow(
        "controller.transport.grpc.default-tls-secret",
        _NEW,
        "TLS Secret of Engrams that name none; used in namespaces where it exists.",
    ),
)

_CONTROLLERS: Final = (
    KeyRow(
        "controller.max-concurrent-reconciles",
        _START,
        "Workers of each controller whose own key is 0, and of those without keys.",
    ),
    KeyRow("controller.requeue-base-delay", _START, "First pause after an error, of controllers whose own key is 0."),
    KeyRow("controller.requeue-max-delay", _START, "Longest such pause."),
    KeyRow("controller.reconcile-timeout", _LIVE, "Time limit of one pass over one object; 0: no limit."),
    *(
        described
        for name, what in (
            ("storyrun", "StoryRuns"),
            ("story", "Stories"),
            ("engram", "Engrams"),
            ("impulse", "Impulses"),
            ("template", "EngramTemplates and ImpulseTemplates"),
        )
        for described in (
            KeyRow(f"{name}.max-concurrent-reconciles", _START, f"Workers for {what}; 0: the common value."),
            KeyRow(
                f"{name}.rate-limiter.base-delay",
                _START,
                "First pause after an error; 0: the common value, if it is set.",
            ),
            KeyRow(f"{name}.rate-limiter.max-delay", _START, "Longest such pause; 0: likewise."),
        )
    ),
    KeyRow(
        "storyrun.binding.max-mutations-per-reconcile",
        _LIVE,
        "How many TransportBindings of one run are written at once; 0: no limit.",
    ),
    KeyRow("storyrun.binding.throttle-requeue-delay", _LIVE, "Pause until the same number of writes is allowed again."),
    KeyRow(
        "story.binding.max-mutations-per-reconcile",
        _LIVE,
        "The same for all runs of a Story that is [always on](realtime-stories.md#always-on).",
    ),
    KeyRow("story.binding.throttle-requeue-delay", _LIVE, "Pause until the same number of writes is allowed again."),
)

_TELEMETRY: Final = (
    KeyRow("telemetry.enabled", _LIVE, "Whether the operator exports traces of runs by OTLP."),
    KeyRow(
        "telemetry.trace-propagation",
        _LIVE,
        "Whether a run continues the trace of its caller, and containers get theirs as `TRACEPARENT`.",
    ),
)

_DEBUGGING: Final = (
    KeyRow("debug.enable-verbose-logging", _LIVE, "Log level `debug` instead of `info`."),
    KeyRow(
        "debug.enable-step-output-logging",
        _LIVE,
        "Whether the operator logs the names and sizes of the outputs of steps and runs.",
    ),
    KeyRow("debug.enable-metrics", _LIVE, "Whether the series `bobrapet_…` are updated; they are served in any case."),
    KeyRow(
        "debug.max-label-sets",
        _LIVE,
        "How many label sets (a Story and a phase, for example) one metric may have; see "
        "[series that leave](monitoring.md#series-that-leave).",
    ),
)

SECTIONS: Final = (
    Section("Runs and triggers", "", _RUNS),
    Section(
        "Steps",
        "These are defaults; [more specific layers](contract/steprun.md#10-execution-policy) have priority.",
        _STEPS,
    ),
    Section("Security and references", "[Tenants](tenants.md) describes how these work together.", _SECURITY),
    Section("Object store", "[Data in object storage](stored-data.md#the-operators-store) has examples.", _STORAGE),
    Section("Expressions", "[Expressions](expressions.md) describes the limits.", _TEMPLATING),
    Section(
        "Containers and streams",
        "Most of them become [variables](steps.md#variables-of-the-container) of the container.",
        _CONTAINERS,
    ),
    Section("Controllers", "", _CONTROLLERS),
    Section("Telemetry", "[Telemetry](telemetry.md) has the variables that say where to.", _TELEMETRY),
    Section("Debugging", "", _DEBUGGING),
)

FAMILIES: Final = (
    KeyRow(
        "storyrun.queue.<name>.concurrency",
        _LIVE,
        "How many steps of the queue run at once, in all namespaces; 0: no limit.",
    ),
    KeyRow("storyrun.queue.<name>.default-priority", _LIVE, "Priority of runs whose Story sets none."),
    KeyRow(
        "storyrun.queue.<name>.priority-aging-seconds",
        _LIVE,
        "Waiting time after which the priority of a step rises by one; 0: never.",
    ),
    KeyRow(
        "storyrun.queue.<name>.max-priority",
        _LIVE,
        "Highest priority that a run may have, or `default-priority` if that is higher. "
        "A queue without keys has the maximum of `default`.",
    ),
    KeyRow(
        "storyrun.namespace.<name>.max-priority", _LIVE, "Highest priority of the runs of a namespace, in any queue."
    ),
)
"""Keys that have a name in them; they apply to ``QueueSettings`` and to namespaces."""
