"""The operator's settings: frozen values with their built-in defaults. Every setting has an effect.

A setting that is missing in the operator ConfigMap has the value in this module. Security defaults, and metrics, are
those of the shipped configuration: the loss of the ConfigMap must not relax or hide anything. Source: operator contract
3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

from core.telemetry.metrics import MOST_LABEL_SETS

FALLBACK_RETENTION_SECONDS: Final = 86_400
"""How long a finished run is kept where no setting says it."""
FALLBACK_STEP_TIMEOUT: Final = timedelta(minutes=30)
"""The timeout of a step when no layer sets one."""
DEFAULT_QUEUE: Final = "default"
"""The queue of runs whose Story names none."""


class CrossNamespacePolicy(StrEnum):
    DENY = "deny"
    GRANT = "grant"
    ALLOW = "allow"


class OffloadedDataPolicy(StrEnum):
    ERROR = "error"
    INJECT = "inject"
    CONTROLLER = "controller"


class StorageProvider(StrEnum):
    NONE = ""
    S3 = "s3"
    GCS = "gcs"
    AZURE = "azure"
    FILE = "file"


class PullPolicy(StrEnum):
    ALWAYS = "Always"
    NEVER = "Never"
    IF_NOT_PRESENT = "IfNotPresent"


class RestartPolicy(StrEnum):
    """Of a Job's Pods; ``Always`` is not allowed, and is refused in every field."""

    NEVER = "Never"
    ON_FAILURE = "OnFailure"


class MissingKey(StrEnum):
    """What a template with a missing key does: it fails, or it renders ``<no value>`` as the reference does."""

    FAIL = "fail"
    TEXT = "text"


class LoweredBy(StrEnum):
    """The definitions that may set lower security than the layer below them."""

    NOBODY = "nobody"
    TEMPLATES = "templates"
    EVERYBODY = "everybody"


class RunnerIdentity(StrEnum):
    """Whose ServiceAccount the containers of a run have."""

    STORY = "story"
    RUN = "run"


KEYED_TOLERATIONS: Final = "keyed"
"""In ``SecuritySettings.tolerations``: every toleration that names the key of a taint."""
ANY_TOLERATION: Final = "*"
"""In the same setting: every toleration."""


@dataclass(frozen=True, slots=True)
class ResourceSettings:
    """Kubernetes quantities; empty means "not set"."""

    cpu_request: str = ""
    cpu_limit: str = ""
    memory_request: str = ""
    memory_limit: str = ""


@dataclass(frozen=True, slots=True)
class SecuritySettings:
    run_as_non_root: bool = True
    read_only_root_filesystem: bool = True
    allow_privilege_escalation: bool = False
    run_as_user: int | None = 1000
    drop_capabilities: tuple[str, ...] = ("ALL",)
    service_account_name: str = ""
    """Empty: the account that ``OperatorSettings.runner_identity`` says."""
    lowered_by: LoweredBy = LoweredBy.TEMPLATES
    tolerations: tuple[str, ...] = (KEYED_TOLERATIONS,)
    """Keys of the taints that tenants' workloads may tolerate, or one of the words above."""
    priority_classes: tuple[str, ...] = ()
    """Names of the PriorityClasses that tenants may choose; ``*`` in a name stands for any characters."""
    runtime_classes: tuple[str, ...] = ()
    """The same for RuntimeClasses."""


ANY_IMAGE: Final = "*"
"""In ``ScriptSettings.images``: every image."""


@dataclass(frozen=True, slots=True)
class ScriptSettings:
    """Script steps, whose image the author of the Story chooses."""

    images: tuple[str, ...] = ()
    """Patterns of the images that they may use. Empty: there are no script steps."""
    default_image: str = ""
    """The image of script steps that name none; empty: they must name one."""


@dataclass(frozen=True, slots=True)
class JobSettings:
    backoff_limit: int = 0
    ttl_seconds_after_finished: int = 3600
    restart_policy: RestartPolicy = RestartPolicy.NEVER


@dataclass(frozen=True, slots=True)
class TimeoutSettings:
    """None: the next more general setting, at last ``FALLBACK_STEP_TIMEOUT``."""

    default_step: timedelta | None = None
    approval_default: timedelta | None = None
    external_data_default: timedelta | None = None


@dataclass(frozen=True, slots=True)
class TemplatingSettings:
    evaluation_timeout: timedelta = timedelta(seconds=30)
    """Zero: no limit of wall time."""
    max_output_bytes: int = 65536
    """Zero: no limit."""
    deterministic: bool = False
    missing_key: MissingKey = MissingKey.FAIL
    offloaded_data_policy: OffloadedDataPolicy = OffloadedDataPolicy.INJECT
    max_steps: int = 100_000
    """Evaluated parts of an expression; each iteration of a loop counts."""
    max_input_bytes: int = 8 << 20
    """Size of the data that one condition in CEL reads."""
    max_depth: int = 128
    """Nesting of values."""
    max_include_depth: int = 100
    max_collection_items: int = 100_000
    max_range_items: int = 10_000
    worker_timeout: timedelta = timedelta(seconds=10)
    """For one evaluation or schema validation in a separate process."""
    worker_memory_bytes: int = 1 << 30
    workers: int = 2
    namespace_budget: timedelta = timedelta(seconds=30)
    """Time of threads and worker processes for the expressions and schemas of one namespace, per minute. Zero: no limit
    except its turns.
    """


@dataclass(frozen=True, slots=True)
class EngramSettings:
    """Defaults rendered into the environment of every Engram container."""

    max_inline_size_bytes: int = 4096
    max_recursion_depth: int = 32
    grpc_port: int = 50051
    storage_timeout_seconds: int = 300
    graceful_shutdown_timeout_seconds: int = 20
    termination_grace_period_seconds: int = 30
    max_recv_msg_bytes: int = 10_485_760
    max_send_msg_bytes: int = 10_485_760
    dial_timeout_seconds: int = 10
    channel_buffer_size: int = 16
    reconnect_max_retries: int = 10
    reconnect_base_backoff_millis: int = 500
    reconnect_max_backoff_seconds: int = 30
    hang_timeout_seconds: int = 0
    message_timeout_seconds: int = 30
    grpc_heartbeat_interval_seconds: int = 10
    """Of the Data call of realtime steps."""


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """Streams of realtime steps."""

    hub_endpoint: str = ""
    """``host:port`` of the hub, as containers dial it; empty: its Service in the operator's namespace."""
    default_tls_secret: str = ""
    """The TLS Secret of Engrams that name none; it is used in namespaces where it exists."""
    heartbeat_interval: timedelta = timedelta(seconds=30)
    """Of the Control call."""
    heartbeat_timeout: timedelta = timedelta(minutes=2)
    """How long the hub may be silent before its streams count as not connected."""


@dataclass(frozen=True, slots=True)
class BindingLimit:
    """How many TransportBindings are created or changed at once."""

    max_mutations: int
    """In a burst, and again in each ``delay``. Zero: no limit."""
    delay: timedelta


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """The object store of workloads when no policy names another."""

    provider: StorageProvider = StorageProvider.NONE
    s3_bucket: str = ""
    s3_region: str = ""
    s3_endpoint: str = ""
    s3_use_path_style: bool = False
    s3_auth_secret_name: str = ""
    s3_credential_namespaces: tuple[str, ...] = ()
    """Namespaces whose steps get the credentials in that Secret; ``*`` means all. The operator's own needs no
    entry.
    """
    delete_with_run: bool = True
    """Whether the stored data of a run is deleted with it."""
    gcs_bucket: str = ""
    gcs_endpoint: str = ""
    gcs_auth_secret_name: str = ""
    gcs_credential_namespaces: tuple[str, ...] = ()
    azure_account: str = ""
    azure_container: str = ""
    azure_endpoint: str = ""
    azure_auth_secret_name: str = ""
    azure_credential_namespaces: tuple[str, ...] = ()
    file_path: str = ""
    file_volume_claim_name: str = ""


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """One scheduling queue; zero concurrency means unlimited."""

    concurrency: int = 0
    default_priority: int = 0
    priority_aging_seconds: int = 60
    """The wait that raises the priority by one. Zero: never; then important work can block all other work for ever."""
    max_priority: int = 100
    """The highest priority that a Story may set; ``default_priority``, if that is higher. With aging, it bounds how
    long later work can delay a step: that many aging periods.
    """


class RestoredRuns(StrEnum):
    """What happens to runs that a backup has brought back while they were under way."""

    END = "end"
    RESUME = "resume"
    """The old cluster had stopped before the backup was made."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    max_inline_inputs_size_bytes: int = 1024
    global_concurrency: int = 0
    retention_seconds: int | None = None
    """None: one day. Zero keeps finished runs for ever; a negative number deletes them at once."""
    realtime_ttl_seconds: int | None = None
    """How long the children of a finished realtime run are kept; None: as long as the run."""
    cleanup_timeout: timedelta = timedelta(minutes=10)
    """For the compensations of a run whose Story sets none, and the same again for its ``finally``."""
    max_story_depth: int = 10
    """The nesting of runs by ``executeStory``; a run that a user started has depth 0."""
    restored: RestoredRuns = RestoredRuns.END
    """Also for StoryTriggers without an answer."""
    queues: Mapping[str, QueueSettings] = field(default_factory=lambda: {DEFAULT_QUEUE: QueueSettings()})
    max_priorities: Mapping[str, int] = field(default_factory=dict)
    """Namespace → the highest priority of its runs in any queue."""


@dataclass(frozen=True, slots=True)
class TriggerSettings:
    """StoryTriggers."""

    retention_seconds: int = 86_400
    """How long an answered StoryTrigger is kept, at least; never shorter than its run. Zero: for ever."""
    pending_timeout: timedelta = timedelta(hours=24)
    """How long a StoryTrigger waits for a later change that it needs. Zero: without a limit."""


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """The work queue of one kind's controller. Zero means the common value, ``OperatorSettings.controllers``."""

    max_concurrent_reconciles: int
    base_delay: timedelta
    max_delay: timedelta


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """One consistent snapshot of all settings in the operator ConfigMap."""

    reconcile_timeout: timedelta = timedelta(seconds=30)
    max_story_with_block_size_bytes: int = 65536
    pull_policy: PullPolicy = PullPolicy.IF_NOT_PRESENT
    default_engram_image: str = ""
    """Of EngramTemplates that name none; empty: they must name one."""
    default_impulse_image: str = ""
    """The image of Impulses whose template names none; empty: such a template cannot be used."""
    default_resources: ResourceSettings = ResourceSettings("100m", "500m", "128Mi", "512Mi")
    engram_resources: ResourceSettings = ResourceSettings()
    max_retries: int = 3
    retry_delay: timedelta = timedelta(seconds=1)
    """Delay before the first retry with exponential back-off, if the policy sets none."""
    retry_max_delay: timedelta | None = None
    """Longest delay with exponential back-off, if the policy sets none; None: five minutes."""
    timeouts: TimeoutSettings = TimeoutSettings()
    security: SecuritySettings = SecuritySettings()
    runner_identity: RunnerIdentity = RunnerIdentity.STORY
    job: JobSettings = JobSettings()
    scripts: ScriptSettings = ScriptSettings()
    templating: TemplatingSettings = TemplatingSettings()
    cross_namespace_policy: CrossNamespacePolicy = CrossNamespacePolicy.DENY
    engram: EngramSettings = EngramSettings()
    storage: StorageSettings = StorageSettings()
    transport: TransportSettings = TransportSettings()
    story_run_bindings: BindingLimit = BindingLimit(8, timedelta(seconds=2))
    """For each run that a user or client has started."""
    story_bindings: BindingLimit = BindingLimit(4, timedelta(seconds=3))
    """For all runs together of a Story that is always on."""
    runs: RunSettings = RunSettings()
    triggers: TriggerSettings = TriggerSettings()
    verbose_logging: bool = False
    step_output_logging: bool = False
    metrics_enabled: bool = True
    most_label_sets: int = MOST_LABEL_SETS
    """Of one metric."""
    tracing_enabled: bool = False
    trace_propagation: bool = False
    controllers: ControllerSettings = ControllerSettings(10, timedelta(), timedelta())
    """The values for zeros in a controller's settings; delays of zero mean the built-in ones."""
    story_run: ControllerSettings = ControllerSettings(8, timedelta(milliseconds=50), timedelta(minutes=5))
    story: ControllerSettings = ControllerSettings(5, timedelta(milliseconds=200), timedelta(minutes=1))
    engram_controller: ControllerSettings = ControllerSettings(5, timedelta(milliseconds=200), timedelta(minutes=1))
    impulse_controller: ControllerSettings = ControllerSettings(5, timedelta(milliseconds=200), timedelta(minutes=1))
    template: ControllerSettings = ControllerSettings(2, timedelta(milliseconds=500), timedelta(minutes=10))
