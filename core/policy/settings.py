"""The operator's settings: frozen values with their built-in defaults. Each is read somewhere, and does something.

A setting that is absent from the operator ConfigMap has the value written here. Security defaults, and metrics, are
those of the shipped configuration: losing the ConfigMap must not relax or hide anything. Source: operator contract 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

FALLBACK_STEP_TIMEOUT: Final = timedelta(minutes=30)
"""Of a step for which no layer sets one."""
DEFAULT_QUEUE: Final = "default"
"""Where runs wait whose Story names no queue."""


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
    FILE = "file"


class PullPolicy(StrEnum):
    ALWAYS = "Always"
    NEVER = "Never"
    IF_NOT_PRESENT = "IfNotPresent"


class RestartPolicy(StrEnum):
    """Of a Job's pods; ``Always`` is not one of them, and is refused where it is written."""

    NEVER = "Never"
    ON_FAILURE = "OnFailure"


class LoweredBy(StrEnum):
    """Whose definitions may ask for less security than the layer below them."""

    NOBODY = "nobody"
    TEMPLATES = "templates"
    EVERYBODY = "everybody"


KEYED_TOLERATIONS: Final = "keyed"
"""In ``SecuritySettings.tolerations``: every toleration that names the key of a taint."""
ANY_TOLERATION: Final = "*"
"""There: every toleration."""


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
    """Empty: the run's own runner account."""
    lowered_by: LoweredBy = LoweredBy.TEMPLATES
    tolerations: tuple[str, ...] = (KEYED_TOLERATIONS,)
    """Keys of the taints that tenants' workloads may tolerate, or one of the words above."""


@dataclass(frozen=True, slots=True)
class JobSettings:
    backoff_limit: int = 0
    ttl_seconds_after_finished: int = 3600
    restart_policy: RestartPolicy = RestartPolicy.NEVER


@dataclass(frozen=True, slots=True)
class TimeoutSettings:
    """None: the next wider setting, at last ``FALLBACK_STEP_TIMEOUT``."""

    default_step: timedelta | None = None
    approval_default: timedelta | None = None
    external_data_default: timedelta | None = None


@dataclass(frozen=True, slots=True)
class TemplatingSettings:
    evaluation_timeout: timedelta = timedelta(seconds=30)
    """Zero: no wall-time bound."""
    max_output_bytes: int = 65536
    """Zero: unbounded."""
    deterministic: bool = False
    offloaded_data_policy: OffloadedDataPolicy = OffloadedDataPolicy.INJECT
    max_steps: int = 100_000
    """Parts of an expression evaluated, loops counted each time."""
    max_input_bytes: int = 8 << 20
    """Of the data that one condition in CEL reads."""
    max_depth: int = 128
    """Nesting of values."""
    max_include_depth: int = 100
    max_collection_items: int = 100_000
    max_range_items: int = 10_000
    worker_timeout: timedelta = timedelta(seconds=10)
    """For one evaluation or schema validation in a process of its own."""
    worker_memory_bytes: int = 1 << 30
    workers: int = 2
    namespace_budget: timedelta = timedelta(seconds=30)
    """Of the time of threads and worker processes, for the expressions and schemas of one namespace in a minute. Zero:
    as much as its turns give it."""


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


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """The object store that workloads get when no policy names another."""

    provider: StorageProvider = StorageProvider.NONE
    s3_bucket: str = ""
    s3_region: str = ""
    s3_endpoint: str = ""
    s3_use_path_style: bool = False
    s3_auth_secret_name: str = ""
    s3_credential_namespaces: tuple[str, ...] = ()
    """Namespaces whose steps get the credentials in that Secret; ``*`` is all of them. None but the operator's own."""
    file_path: str = ""
    file_volume_claim_name: str = ""


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """One scheduling queue; zero concurrency means unlimited."""

    concurrency: int = 0
    default_priority: int = 0
    priority_aging_seconds: int = 60
    """Waiting so long raises the priority by one. Zero: never, and important work can keep out the rest for ever."""
    max_priority: int = 100
    """The most that a Story may ask for; where ``default_priority`` is more, that. With aging, it says how long a step
    can be kept waiting by work that came later: so many aging periods."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    max_inline_inputs_size_bytes: int = 1024
    global_concurrency: int = 0
    retention_seconds: int | None = None
    """None: one day. Zero keeps finished runs for ever, a negative number deletes them at once."""
    cleanup_timeout: timedelta = timedelta(minutes=10)
    """For the compensations of a run whose Story sets none, and the same again for its ``finally``."""
    max_story_depth: int = 10
    """Runs that ``executeStory`` may start inside each other; the run that somebody started is at depth 0."""
    queues: Mapping[str, QueueSettings] = field(default_factory=lambda: {DEFAULT_QUEUE: QueueSettings()})
    max_priorities: Mapping[str, int] = field(default_factory=dict)
    """Namespace → the most that its runs may have in any queue."""


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """How one kind's work queue behaves. Zero stands for the common value, ``OperatorSettings.controllers``."""

    max_concurrent_reconciles: int
    base_delay: timedelta
    max_delay: timedelta


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """One consistent snapshot of everything the operator ConfigMap may say."""

    reconcile_timeout: timedelta = timedelta(seconds=30)
    max_story_with_block_size_bytes: int = 65536
    pull_policy: PullPolicy = PullPolicy.IF_NOT_PRESENT
    default_resources: ResourceSettings = ResourceSettings("100m", "500m", "128Mi", "512Mi")
    engram_resources: ResourceSettings = ResourceSettings()
    max_retries: int = 3
    timeouts: TimeoutSettings = TimeoutSettings()
    security: SecuritySettings = SecuritySettings()
    job: JobSettings = JobSettings()
    templating: TemplatingSettings = TemplatingSettings()
    cross_namespace_policy: CrossNamespacePolicy = CrossNamespacePolicy.DENY
    engram: EngramSettings = EngramSettings()
    storage: StorageSettings = StorageSettings()
    runs: RunSettings = RunSettings()
    verbose_logging: bool = False
    step_output_logging: bool = False
    metrics_enabled: bool = True
    controllers: ControllerSettings = ControllerSettings(10, timedelta(), timedelta())
    """What a controller's own zero stands for; delays of zero are the built-in ones."""
    story_run: ControllerSettings = ControllerSettings(8, timedelta(milliseconds=50), timedelta(minutes=5))
    story: ControllerSettings = ControllerSettings(5, timedelta(milliseconds=200), timedelta(minutes=1))
    engram_controller: ControllerSettings = ControllerSettings(5, timedelta(milliseconds=200), timedelta(minutes=1))
    template: ControllerSettings = ControllerSettings(2, timedelta(milliseconds=500), timedelta(minutes=10))
