"""Every key of the operator ConfigMap: the setting that it sets, and how its value is read. Source: operator contract
3.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, NamedTuple

from core.policy import config_values as read
from core.policy.settings import (
    LoweredBy,
    MissingKey,
    PullPolicy,
    RestartPolicy,
    RestoredRuns,
    RunnerIdentity,
    StorageProvider,
)

MIN_DELAY: Final = timedelta(milliseconds=10)
"""The minimum delay between two tries of a work queue."""

MAX_STORY_DEPTH: Final = 100
"""The maximum of ``storyrun.max-story-depth``."""

CONTROLLER_FIELDS: Final = {
    "storyrun": "story_run",
    "story": "story",
    "engram": "engram_controller",
    "impulse": "impulse_controller",
    "template": "template",
}
"""Prefix of a controller's keys → field of ``OperatorSettings``."""


class ConfigKey(NamedTuple):
    """``path`` leads to a field of ``OperatorSettings``, through at most one group."""

    path: tuple[str, ...]
    read: read.SettingReader[Any]


_positive = read.integer(1)

KEYS: Final[dict[str, ConfigKey]] = {
    key: ConfigKey(tuple(path.split(".")), reader)
    for key, path, reader in (
        # Controllers.
        (
            "controller.reconcile-timeout",
            "reconcile_timeout",
            read.duration(timedelta(seconds=5), timedelta(minutes=30), zero=True),
        ),
        (
            "controller.max-story-with-block-size-bytes",
            "max_story_with_block_size_bytes",
            read.integer(1024, 1_048_576),
        ),
        ("controller.max-concurrent-reconciles", "controllers.max_concurrent_reconciles", _positive),
        ("controller.requeue-base-delay", "controllers.base_delay", read.duration(MIN_DELAY)),
        ("controller.requeue-max-delay", "controllers.max_delay", read.duration()),
        # Images and resources.
        ("images.pull-policy", "pull_policy", read.one_of(PullPolicy)),
        ("images.default-engram", "default_engram_image", read.text),
        ("images.default-impulse", "default_impulse_image", read.text),
        ("resources.default.cpu-request", "default_resources.cpu_request", read.quantity),
        ("resources.default.cpu-limit", "default_resources.cpu_limit", read.quantity),
        ("resources.default.memory-request", "default_resources.memory_request", read.quantity),
        ("resources.default.memory-limit", "default_resources.memory_limit", read.quantity),
        ("resources.engram.cpu-request", "engram_resources.cpu_request", read.quantity),
        ("resources.engram.cpu-limit", "engram_resources.cpu_limit", read.quantity),
        ("resources.engram.memory-request", "engram_resources.memory_request", read.quantity),
        ("resources.engram.memory-limit", "engram_resources.memory_limit", read.quantity),
        # Retries and timeouts.
        ("retry.max-retries", "max_retries", read.retries),
        ("retry.exponential-backoff-base", "retry_delay", read.duration(MIN_DELAY)),
        ("retry.exponential-backoff-max", "retry_max_delay", read.duration(MIN_DELAY)),
        ("timeout.default-step", "timeouts.default_step", read.duration()),
        ("timeout.approval-default", "timeouts.approval_default", read.duration()),
        ("timeout.external-data-default", "timeouts.external_data_default", read.duration()),
        # Security.
        ("security.run-as-non-root", "security.run_as_non_root", read.boolean),
        ("security.read-only-root-filesystem", "security.read_only_root_filesystem", read.boolean),
        ("security.allow-privilege-escalation", "security.allow_privilege_escalation", read.boolean),
        ("security.drop-capabilities", "security.drop_capabilities", read.capabilities),
        ("security.run-as-user", "security.run_as_user", read.integer(1, read.INT64_MAX)),
        ("security.service-account-name", "security.service_account_name", read.text),
        # About security, and not in the reference.
        ("security.lowered-by", "security.lowered_by", read.one_of(LoweredBy)),
        ("security.tolerations", "security.tolerations", read.tolerations),
        ("security.priority-classes", "security.priority_classes", read.class_patterns),
        ("security.runtime-classes", "security.runtime_classes", read.class_patterns),
        ("controller.runner-identity", "runner_identity", read.one_of(RunnerIdentity)),
        # Script steps; not in the reference.
        ("scripts.images", "scripts.images", read.image_patterns),
        ("scripts.default-image", "scripts.default_image", read.text),
        # Jobs and retention.
        ("job.backoff-limit", "job.backoff_limit", read.integer(0)),
        ("job.ttl-seconds-after-finished", "job.ttl_seconds_after_finished", read.integer(0)),
        ("job.restart-policy", "job.restart_policy", read.one_of(RestartPolicy)),
        ("realtime.ttl-seconds-after-finished", "runs.realtime_ttl_seconds", read.integer(0)),
        ("storyrun.retention-seconds", "runs.retention_seconds", read.integer(-1)),
        # Runs.
        ("storyrun.max-inline-inputs-size", "runs.max_inline_inputs_size_bytes", _positive),
        ("storyrun.global-concurrency", "runs.global_concurrency", read.integer(0)),
        # About runs, and not in the reference.
        ("storyrun.cleanup-timeout", "runs.cleanup_timeout", read.duration()),
        ("storyrun.restored", "runs.restored", read.one_of(RestoredRuns)),
        ("storyrun.max-story-depth", "runs.max_story_depth", read.integer(1, MAX_STORY_DEPTH)),
        # StoryTriggers; not in the reference.
        ("storytrigger.retention-seconds", "triggers.retention_seconds", read.integer(0)),
        ("storytrigger.pending-timeout", "triggers.pending_timeout", read.duration(zero=True)),
        # Templating, references, debugging.
        ("templating.evaluation-timeout", "templating.evaluation_timeout", read.duration(zero=True)),
        ("templating.max-output-bytes", "templating.max_output_bytes", read.integer(0, read.INT64_MAX)),
        ("templating.deterministic", "templating.deterministic", read.boolean),
        ("templating.offloaded-data-policy", "templating.offloaded_data_policy", read.offloaded_data_policy),
        ("templating.missing-key", "templating.missing_key", read.one_of(MissingKey)),
        # Limits of evaluation that are not in the reference.
        ("templating.max-steps", "templating.max_steps", read.integer(1000)),
        ("templating.max-input-bytes", "templating.max_input_bytes", read.integer(1024)),
        ("templating.max-depth", "templating.max_depth", read.integer(1, 128)),
        ("templating.max-include-depth", "templating.max_include_depth", read.integer(1, 100)),
        ("templating.max-collection-items", "templating.max_collection_items", _positive),
        ("templating.max-range-items", "templating.max_range_items", _positive),
        (
            "templating.worker-timeout",
            "templating.worker_timeout",
            read.duration(timedelta(seconds=1), timedelta(minutes=5)),
        ),
        ("templating.worker-memory-bytes", "templating.worker_memory_bytes", read.integer(256 << 20, read.INT64_MAX)),
        ("templating.workers", "templating.workers", read.integer(1, 64)),
        (
            "templating.namespace-budget",
            "templating.namespace_budget",
            read.duration(timedelta(seconds=1), timedelta(hours=1), zero=True),
        ),
        ("references.cross-namespace-policy", "cross_namespace_policy", read.cross_namespace_policy),
        ("debug.enable-verbose-logging", "verbose_logging", read.boolean),
        ("debug.enable-step-output-logging", "step_output_logging", read.boolean),
        ("debug.enable-metrics", "metrics_enabled", read.boolean),
        ("debug.max-label-sets", "most_label_sets", read.integer(100, 20_000)),
        ("telemetry.enabled", "tracing_enabled", read.boolean),
        ("telemetry.trace-propagation", "trace_propagation", read.boolean),
        # Values for containers.
        ("engram.default-max-inline-size", "engram.max_inline_size_bytes", _positive),
        ("engram.default-max-recursion-depth", "engram.max_recursion_depth", _positive),
        ("engram.default-grpc-port", "engram.grpc_port", read.integer(1, 65535)),
        ("engram.default-storage-timeout-seconds", "engram.storage_timeout_seconds", _positive),
        ("engram.default-graceful-shutdown-timeout-seconds", "engram.graceful_shutdown_timeout_seconds", _positive),
        ("engram.default-termination-grace-period-seconds", "engram.termination_grace_period_seconds", _positive),
        ("engram.default-max-recv-msg-bytes", "engram.max_recv_msg_bytes", _positive),
        ("engram.default-max-send-msg-bytes", "engram.max_send_msg_bytes", _positive),
        ("engram.default-dial-timeout-seconds", "engram.dial_timeout_seconds", _positive),
        ("engram.default-channel-buffer-size", "engram.channel_buffer_size", _positive),
        ("engram.default-reconnect-max-retries", "engram.reconnect_max_retries", read.integer(0)),
        ("engram.default-reconnect-base-backoff-millis", "engram.reconnect_base_backoff_millis", _positive),
        ("engram.default-reconnect-max-backoff-seconds", "engram.reconnect_max_backoff_seconds", _positive),
        ("engram.default-hang-timeout-seconds", "engram.hang_timeout_seconds", read.integer(0)),
        ("engram.default-message-timeout-seconds", "engram.message_timeout_seconds", _positive),
        # Realtime steps.
        (
            "engram.default-grpc-heartbeat-interval-seconds",
            "engram.grpc_heartbeat_interval_seconds",
            _positive,
        ),
        ("controller.transport.grpc.default-tls-secret", "transport.default_tls_secret", read.text),
        (
            "controller.transport.heartbeat-interval",
            "transport.heartbeat_interval",
            read.duration(timedelta(seconds=1)),
        ),
        ("controller.transport.heartbeat-timeout", "transport.heartbeat_timeout", read.duration()),
        ("controller.transport.hub-endpoint", "transport.hub_endpoint", read.endpoint),  # not in the reference
        ("storyrun.binding.max-mutations-per-reconcile", "story_run_bindings.max_mutations", read.integer(0)),
        ("storyrun.binding.throttle-requeue-delay", "story_run_bindings.delay", read.duration()),
        ("story.binding.max-mutations-per-reconcile", "story_bindings.max_mutations", read.integer(0)),
        ("story.binding.throttle-requeue-delay", "story_bindings.delay", read.duration()),
        # Storage.
        ("controller.storage.provider", "storage.provider", read.one_of(StorageProvider)),
        ("controller.storage.delete-with-run", "storage.delete_with_run", read.boolean),
        ("controller.storage.s3.bucket", "storage.s3_bucket", read.text),
        ("controller.storage.s3.region", "storage.s3_region", read.text),
        ("controller.storage.s3.endpoint", "storage.s3_endpoint", read.text),
        ("controller.storage.s3.use-path-style", "storage.s3_use_path_style", read.boolean),
        ("controller.storage.s3.auth-secret-name", "storage.s3_auth_secret_name", read.text),
        ("controller.storage.s3.credential-namespaces", "storage.s3_credential_namespaces", read.namespaces),
        # Not in the reference.
        ("controller.storage.gcs.bucket", "storage.gcs_bucket", read.text),
        ("controller.storage.gcs.endpoint", "storage.gcs_endpoint", read.text),
        ("controller.storage.gcs.auth-secret-name", "storage.gcs_auth_secret_name", read.text),
        ("controller.storage.gcs.credential-namespaces", "storage.gcs_credential_namespaces", read.namespaces),
        ("controller.storage.azure.account", "storage.azure_account", read.text),
        ("controller.storage.azure.container", "storage.azure_container", read.text),
        ("controller.storage.azure.endpoint", "storage.azure_endpoint", read.text),
        ("controller.storage.azure.auth-secret-name", "storage.azure_auth_secret_name", read.text),
        ("controller.storage.azure.credential-namespaces", "storage.azure_credential_namespaces", read.namespaces),
        ("controller.storage.file.path", "storage.file_path", read.text),
        ("controller.storage.file.volume-claim-name", "storage.file_volume_claim_name", read.text),
        # Work queues: one group per controller.
        *(
            (f"{prefix}.{key}", f"{field}.{name}", reader)
            for prefix, field in CONTROLLER_FIELDS.items()
            for key, name, reader in (
                ("max-concurrent-reconciles", "max_concurrent_reconciles", read.integer(0)),
                ("rate-limiter.base-delay", "base_delay", read.duration(MIN_DELAY, zero=True)),
                ("rate-limiter.max-delay", "max_delay", read.duration(zero=True)),
            )
        ),
    )
}

_NOR_IN_THE_REFERENCE: Final = "it has no effect in the Go operator, either"
_NO_CONTROLLER: Final = "StepRuns have no controller of their own"

ACCEPTED_WITHOUT_EFFECT: Final[dict[str, str]] = {
    "controller.cleanup-interval": _NOR_IN_THE_REFERENCE,
    "loop.max-iterations": _NOR_IN_THE_REFERENCE,
    "loop.default-batch-size": _NOR_IN_THE_REFERENCE,
    "loop.max-batch-size": _NOR_IN_THE_REFERENCE,
    "loop.max-concurrency": _NOR_IN_THE_REFERENCE,
    "loop.max-concurrency-limit": _NOR_IN_THE_REFERENCE,
    "streaming.ttl-seconds-after-finished": _NOR_IN_THE_REFERENCE,
    "controller.transport.grpc.enable-downstream-targets": _NOR_IN_THE_REFERENCE,
    "transport.enabled": _NOR_IN_THE_REFERENCE,
    "transport.security-mode": _NOR_IN_THE_REFERENCE,
    "steprun.max-concurrent-reconciles": _NO_CONTROLLER,
    "steprun.rate-limiter.base-delay": _NO_CONTROLLER,
    "steprun.rate-limiter.max-delay": _NO_CONTROLLER,
    "timeout.conditional-default": "a condition is evaluated at once, within `templating.evaluation-timeout`",
    "security.automount-service-account-token": (
        "a batch step reports with the token of its Pod, which always has one; also in the Go operator"
    ),
    "templating.materialize-engram": "the operator or the step reads stored data, never a separate Engram",
}
"""Keys that are accepted with any value and have no effect in this operator, with the reason; a warning names each."""
