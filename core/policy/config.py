"""The operator ConfigMap → settings.

Every value is checked; every problem is reported with its key and what would be accepted, all at once. A ConfigMap with
an error changes nothing: the caller keeps its last good snapshot. Unknown keys are accepted and reported as warnings.
Source: operator contract 2 and 3; unlike the reference, a bad value is never silently ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar

from core.api.duration import parse_duration
from core.api.quantity import parse_quantity
from core.policy.retry import MAX_RETRIES_LIMIT
from core.policy.settings import (
    DEFAULT_QUEUE,
    ControllerSettings,
    CrossNamespacePolicy,
    OffloadedDataPolicy,
    OperatorSettings,
    PullPolicy,
    QueueSettings,
    RestartPolicy,
    StorageProvider,
)

MIN_REQUEUE_DELAY: Final = timedelta(milliseconds=10)
_QUEUE_PREFIX: Final = "storyrun.queue."
_QUEUE_FIELDS: Final = {
    "concurrency": "concurrency",
    "default-priority": "default_priority",
    "priority-aging-seconds": "priority_aging_seconds",
}
_DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
_TRUE: Final = frozenset({"true", "yes", "y", "on", "1", "t"})
_FALSE: Final = frozenset({"false", "no", "n", "off", "0", "f", ""})

Parser = Callable[[str], Any]
_Word = TypeVar("_Word", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One key of the ConfigMap and what is wrong with it."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


@dataclass(frozen=True, slots=True)
class ParsedConfig:
    """``settings`` is None exactly when there are errors."""

    settings: OperatorSettings | None
    errors: tuple[ConfigProblem, ...]
    warnings: tuple[ConfigProblem, ...]


def parse_config(data: Mapping[str, str]) -> ParsedConfig:
    """Read a ConfigMap's ``data``; absent keys have their built-in values."""
    settings = OperatorSettings()
    errors: list[ConfigProblem] = []
    warnings: list[ConfigProblem] = []
    for key, text in sorted(data.items()):
        if key.startswith(_QUEUE_PREFIX) or key in _ACCEPTED_WITHOUT_EFFECT:
            if key in _ACCEPTED_WITHOUT_EFFECT:
                warnings.append(ConfigProblem(key, "is accepted for compatibility and has no effect"))
            continue
        setting = _SETTINGS.get(key)
        if setting is None:
            warnings.append(ConfigProblem(key, "is not a setting of this operator; remove it or check its spelling"))
            continue
        path, parse = setting
        try:
            settings = _with_value(settings, path, parse(text.strip()))
        except ValueError as error:
            errors.append(ConfigProblem(key, str(error)))
    settings = _with_queues(settings, data, errors)
    errors += _contradictions(settings)
    return ParsedConfig(None if errors else settings, tuple(errors), tuple(warnings))


def _with_value(settings: OperatorSettings, path: tuple[str, ...], value: Any) -> OperatorSettings:
    if len(path) == 1:
        return replace(settings, **{path[0]: value})
    group = getattr(settings, path[0])
    return replace(settings, **{path[0]: replace(group, **{path[1]: value})})


def _with_queues(settings: OperatorSettings, data: Mapping[str, str], errors: list[ConfigProblem]) -> OperatorSettings:
    queues = dict(settings.runs.queues)
    for key, text in sorted(data.items()):
        if not key.startswith(_QUEUE_PREFIX):
            continue
        name, _, field_name = key.removeprefix(_QUEUE_PREFIX).partition(".")
        name = name.strip().lower()
        if not _DNS_LABEL.match(name):
            errors.append(ConfigProblem(key, f"queue name {name!r} must be a DNS-1123 label of at most 63 characters"))
            continue
        if field_name not in _QUEUE_FIELDS:
            errors.append(ConfigProblem(key, f"unknown queue field {field_name!r}; use {', '.join(_QUEUE_FIELDS)}"))
            continue
        queue = queues.get(name, QueueSettings(priority_aging_seconds=60))
        try:
            queues[name] = replace(queue, **{_QUEUE_FIELDS[field_name]: _int_at_least(0)(text.strip())})
        except ValueError as error:
            errors.append(ConfigProblem(key, str(error)))
    queues.setdefault(DEFAULT_QUEUE, QueueSettings(priority_aging_seconds=60))
    return replace(settings, runs=replace(settings.runs, queues=queues))


def _contradictions(settings: OperatorSettings) -> list[ConfigProblem]:
    """What no single key can tell."""
    problems = []
    storage = settings.storage
    if storage.provider is StorageProvider.S3 and not storage.s3_bucket:
        problems.append(ConfigProblem("controller.storage.s3.bucket", "is required when the provider is s3"))
    if storage.provider is StorageProvider.FILE:
        if not storage.file_path:
            problems.append(ConfigProblem("controller.storage.file.path", "is required when the provider is file"))
        if not storage.file_volume_claim_name:
            problems.append(
                ConfigProblem("controller.storage.file.volume-claim-name", "is required when the provider is file")
            )
    templating = settings.templating
    if templating.offloaded_data_policy is OffloadedDataPolicy.INJECT and not templating.materialize_engram:
        problems.append(
            ConfigProblem(
                "templating.materialize-engram", "must name an Engram while the offloaded-data policy is inject"
            )
        )
    for prefix, controller in _controllers(settings).items():
        if controller.base_delay > controller.max_delay:
            problems.append(
                ConfigProblem(f"{prefix}.rate-limiter.base-delay", "must not exceed the max-delay beside it")
            )
    return problems


def _controllers(settings: OperatorSettings) -> dict[str, ControllerSettings]:
    return {
        "storyrun": settings.story_run,
        "steprun": settings.step_run,
        "story": settings.story,
        "engram": settings.engram_controller,
        "template": settings.template,
    }


def _text(text: str) -> str:
    return text


def _bool(text: str) -> bool:
    word = text.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def _int_at_least(minimum: int, maximum: int = 2**31 - 1) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text, 10)
        except ValueError:
            raise ValueError(f"{text!r} is not a whole number") from None
        if not minimum <= value <= maximum:
            raise ValueError(f"{value} is out of range; use {minimum} to {maximum}")
        return value

    return parse


def _max_retries(text: str) -> int:
    return min(_int_at_least(0)(text), MAX_RETRIES_LIMIT)


def _duration(
    minimum: timedelta = timedelta(), maximum: timedelta | None = None, *, zero: bool = False
) -> Callable[[str], timedelta]:
    def parse(text: str) -> timedelta:
        value = parse_duration(text)
        if zero and not value:
            return value
        if value < minimum or (not minimum and value <= timedelta() and not zero):
            raise ValueError(
                f"{text!r} is too short" + (f"; the minimum is {minimum}" if minimum else "; use more than 0s")
            )
        if maximum is not None and value > maximum:
            raise ValueError(f"{text!r} is too long; the maximum is {maximum}")
        return value

    return parse


def _quantity(text: str) -> str:
    if text:
        parse_quantity(text)
    return text


def _one_of(words: type[_Word]) -> Callable[[str], _Word]:
    def parse(text: str) -> _Word:
        try:
            return words(text)
        except ValueError:
            allowed = ", ".join(word.value or '""' for word in words)
            raise ValueError(f"{text!r} is not one of {allowed}") from None

    return parse


def _cross_namespace(text: str) -> CrossNamespacePolicy:
    return _one_of(CrossNamespacePolicy)(text) if text else CrossNamespacePolicy.DENY


def _offloaded(text: str) -> OffloadedDataPolicy:
    return _one_of(OffloadedDataPolicy)(text) if text else OffloadedDataPolicy.INJECT


def _capabilities(text: str) -> tuple[str, ...]:
    return tuple(name for item in text.split(",") if (name := item.strip().upper())) or ("ALL",)


_positive = _int_at_least(1)
_SECONDS_32 = _int_at_least(-1)

_SETTINGS: Final[dict[str, tuple[tuple[str, ...], Parser]]] = {
    "controller.reconcile-timeout": (
        ("reconcile_timeout",),
        _duration(timedelta(seconds=5), timedelta(minutes=30), zero=True),
    ),
    "controller.max-story-with-block-size-bytes": (
        ("max_story_with_block_size_bytes",),
        _int_at_least(1024, 1_048_576),
    ),
    "images.pull-policy": (("pull_policy",), _one_of(PullPolicy)),
    "resources.default.cpu-request": (("default_resources", "cpu_request"), _quantity),
    "resources.default.cpu-limit": (("default_resources", "cpu_limit"), _quantity),
    "resources.default.memory-request": (("default_resources", "memory_request"), _quantity),
    "resources.default.memory-limit": (("default_resources", "memory_limit"), _quantity),
    "resources.engram.cpu-request": (("engram_resources", "cpu_request"), _quantity),
    "resources.engram.cpu-limit": (("engram_resources", "cpu_limit"), _quantity),
    "resources.engram.memory-request": (("engram_resources", "memory_request"), _quantity),
    "resources.engram.memory-limit": (("engram_resources", "memory_limit"), _quantity),
    "retry.max-retries": (("max_retries",), _max_retries),
    "timeout.default-step": (("timeouts", "default_step"), _duration()),
    "timeout.approval-default": (("timeouts", "approval_default"), _duration()),
    "timeout.external-data-default": (("timeouts", "external_data_default"), _duration()),
    "timeout.conditional-default": (("timeouts", "conditional_default"), _duration()),
    "security.run-as-non-root": (("security", "run_as_non_root"), _bool),
    "security.read-only-root-filesystem": (("security", "read_only_root_filesystem"), _bool),
    "security.allow-privilege-escalation": (("security", "allow_privilege_escalation"), _bool),
    "security.drop-capabilities": (("security", "drop_capabilities"), _capabilities),
    "security.run-as-user": (("security", "run_as_user"), _int_at_least(1, 2**63 - 1)),
    "security.automount-service-account-token": (("security", "automount_service_account_token"), _bool),
    "security.service-account-name": (("security", "service_account_name"), _text),
    "job.backoff-limit": (("job", "backoff_limit"), _int_at_least(0)),
    "job.ttl-seconds-after-finished": (("job", "ttl_seconds_after_finished"), _int_at_least(0)),
    "job.restart-policy": (("job", "restart_policy"), _one_of(RestartPolicy)),
    "realtime.ttl-seconds-after-finished": (("realtime_ttl_seconds_after_finished",), _int_at_least(0)),
    "storyrun.retention-seconds": (("runs", "retention_seconds"), _SECONDS_32),
    "storyrun.max-inline-inputs-size": (("runs", "max_inline_inputs_size_bytes"), _positive),
    "storyrun.global-concurrency": (("runs", "global_concurrency"), _int_at_least(0)),
    "templating.evaluation-timeout": (("templating", "evaluation_timeout"), _duration(zero=True)),
    "templating.max-output-bytes": (("templating", "max_output_bytes"), _int_at_least(0, 2**63 - 1)),
    "templating.deterministic": (("templating", "deterministic"), _bool),
    "templating.offloaded-data-policy": (("templating", "offloaded_data_policy"), _offloaded),
    "templating.materialize-engram": (("templating", "materialize_engram"), _text),
    "references.cross-namespace-policy": (("cross_namespace_policy",), _cross_namespace),
    "telemetry.enabled": (("telemetry_enabled",), _bool),
    "telemetry.trace-propagation": (("trace_propagation",), _bool),
    "debug.enable-verbose-logging": (("verbose_logging",), _bool),
    "debug.enable-step-output-logging": (("step_output_logging",), _bool),
    "debug.enable-metrics": (("metrics_enabled",), _bool),
    "engram.default-max-inline-size": (("engram", "max_inline_size_bytes"), _positive),
    "engram.default-max-recursion-depth": (("engram", "max_recursion_depth"), _positive),
    "engram.default-grpc-port": (("engram", "grpc_port"), _int_at_least(1, 65535)),
    "engram.default-grpc-heartbeat-interval-seconds": (("engram", "grpc_heartbeat_interval_seconds"), _positive),
    "engram.default-storage-timeout-seconds": (("engram", "storage_timeout_seconds"), _positive),
    "engram.default-graceful-shutdown-timeout-seconds": (("engram", "graceful_shutdown_timeout_seconds"), _positive),
    "engram.default-termination-grace-period-seconds": (("engram", "termination_grace_period_seconds"), _positive),
    "engram.default-max-recv-msg-bytes": (("engram", "max_recv_msg_bytes"), _positive),
    "engram.default-max-send-msg-bytes": (("engram", "max_send_msg_bytes"), _positive),
    "engram.default-dial-timeout-seconds": (("engram", "dial_timeout_seconds"), _positive),
    "engram.default-channel-buffer-size": (("engram", "channel_buffer_size"), _positive),
    "engram.default-reconnect-max-retries": (("engram", "reconnect_max_retries"), _int_at_least(0)),
    "engram.default-reconnect-base-backoff-millis": (("engram", "reconnect_base_backoff_millis"), _positive),
    "engram.default-reconnect-max-backoff-seconds": (("engram", "reconnect_max_backoff_seconds"), _positive),
    "engram.default-hang-timeout-seconds": (("engram", "hang_timeout_seconds"), _int_at_least(0)),
    "engram.default-message-timeout-seconds": (("engram", "message_timeout_seconds"), _positive),
    "controller.storage.provider": (("storage", "provider"), _one_of(StorageProvider)),
    "controller.storage.s3.bucket": (("storage", "s3_bucket"), _text),
    "controller.storage.s3.region": (("storage", "s3_region"), _text),
    "controller.storage.s3.endpoint": (("storage", "s3_endpoint"), _text),
    "controller.storage.s3.use-path-style": (("storage", "s3_use_path_style"), _bool),
    "controller.storage.s3.auth-secret-name": (("storage", "s3_auth_secret_name"), _text),
    "controller.storage.file.path": (("storage", "file_path"), _text),
    "controller.storage.file.volume-claim-name": (("storage", "file_volume_claim_name"), _text),
    "controller.transport.grpc.default-tls-secret": (("default_tls_secret",), _text),
}
for _prefix, _field in (
    ("storyrun", "story_run"),
    ("steprun", "step_run"),
    ("story", "story"),
    ("engram", "engram_controller"),
    ("template", "template"),
):
    _SETTINGS[f"{_prefix}.max-concurrent-reconciles"] = ((_field, "max_concurrent_reconciles"), _positive)
    _SETTINGS[f"{_prefix}.rate-limiter.base-delay"] = ((_field, "base_delay"), _duration(MIN_REQUEUE_DELAY))
    _SETTINGS[f"{_prefix}.rate-limiter.max-delay"] = ((_field, "max_delay"), _duration(MIN_REQUEUE_DELAY))

_ACCEPTED_WITHOUT_EFFECT: Final = frozenset(
    {
        "controller.max-concurrent-reconciles",
        "controller.requeue-base-delay",
        "controller.requeue-max-delay",
        "controller.cleanup-interval",
        "images.default-engram",
        "images.default-impulse",
        "impulse.max-concurrent-reconciles",
        "impulse.rate-limiter.base-delay",
        "impulse.rate-limiter.max-delay",
        "retry.exponential-backoff-base",
        "retry.exponential-backoff-max",
        "loop.max-iterations",
        "loop.default-batch-size",
        "loop.max-batch-size",
        "loop.max-concurrency",
        "loop.max-concurrency-limit",
        "streaming.ttl-seconds-after-finished",
        "storyrun.binding.max-mutations-per-reconcile",
        "storyrun.binding.throttle-requeue-delay",
        "story.binding.max-mutations-per-reconcile",
        "story.binding.throttle-requeue-delay",
        "controller.transport.grpc.enable-downstream-targets",
        "controller.transport.heartbeat-interval",
        "controller.transport.heartbeat-timeout",
        "transport.enabled",
        "transport.security-mode",
    }
)
"""Keys of the reference's shipped ConfigMap that steer what this operator does not need or has not got."""
