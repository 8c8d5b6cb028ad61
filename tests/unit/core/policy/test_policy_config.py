"""The operator ConfigMap, key by key."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.policy.config import parse_config
from core.policy.config_keys import ACCEPTED_WITHOUT_EFFECT, KEYS
from core.policy.settings import (
    ControllerSettings,
    CrossNamespacePolicy,
    LoweredBy,
    MissingKey,
    OffloadedDataPolicy,
    OperatorSettings,
    PullPolicy,
    QueueSettings,
    RestartPolicy,
    RestoredRuns,
    RunnerIdentity,
    StorageProvider,
)

SECOND = timedelta(seconds=1)

GOOD: dict[str, tuple[str, Any]] = {
    "controller.reconcile-timeout": ("1m", 60 * SECOND),
    "controller.max-story-with-block-size-bytes": ("1024", 1024),
    "controller.max-concurrent-reconciles": ("4", 4),
    "controller.requeue-base-delay": ("2s", 2 * SECOND),
    "controller.requeue-max-delay": ("1m", 60 * SECOND),
    "images.pull-policy": ("Always", PullPolicy.ALWAYS),
    "images.default-engram": (" registry.example/any:1 ", "registry.example/any:1"),
    "images.default-impulse": (" registry.example/hook:1 ", "registry.example/hook:1"),
    "resources.default.cpu-request": ("250m", "250m"),
    "resources.default.cpu-limit": ("2", "2"),
    "resources.default.memory-request": ("64Mi", "64Mi"),
    "resources.default.memory-limit": ("1Gi", "1Gi"),
    "resources.engram.cpu-request": ("1e-1", "1e-1"),
    "resources.engram.cpu-limit": ("", ""),
    "resources.engram.memory-request": ("1Gi", "1Gi"),
    "resources.engram.memory-limit": ("2Gi", "2Gi"),
    "retry.max-retries": ("99", 50),
    "retry.exponential-backoff-base": ("2s", 2 * SECOND),
    "retry.exponential-backoff-max": ("1m", 60 * SECOND),
    "timeout.default-step": ("5m", 300 * SECOND),
    "timeout.approval-default": ("24h", 86400 * SECOND),
    "timeout.external-data-default": ("1.5s", 1.5 * SECOND),
    "security.run-as-non-root": ("False", False),
    "security.read-only-root-filesystem": ("no", False),
    "security.allow-privilege-escalation": (" TRUE ", True),
    "security.drop-capabilities": (" net_raw,, sys_admin ", ("NET_RAW", "SYS_ADMIN")),
    "security.run-as-user": (" 65532 ", 65532),
    "security.service-account-name": ("runner", "runner"),
    "job.backoff-limit": ("0", 0),
    "job.ttl-seconds-after-finished": ("0", 0),
    "realtime.ttl-seconds-after-finished": ("0", 0),
    "job.restart-policy": ("OnFailure", RestartPolicy.ON_FAILURE),
    "storyrun.retention-seconds": ("-1", -1),
    "storyrun.max-inline-inputs-size": ("2048", 2048),
    "storyrun.global-concurrency": ("3", 3),
    "storyrun.cleanup-timeout": ("90s", 90 * SECOND),
    "storytrigger.retention-seconds": ("0", 0),
    "storytrigger.pending-timeout": ("0", timedelta()),
    "storyrun.restored": ("resume", RestoredRuns.RESUME),
    "storyrun.max-story-depth": ("3", 3),
    "storyrun.binding.max-mutations-per-reconcile": ("0", 0),
    "storyrun.binding.throttle-requeue-delay": ("500ms", timedelta(milliseconds=500)),
    "story.binding.max-mutations-per-reconcile": ("7", 7),
    "story.binding.throttle-requeue-delay": ("1m", timedelta(minutes=1)),
    "templating.evaluation-timeout": ("0", timedelta()),
    "templating.max-output-bytes": ("0", 0),
    "templating.deterministic": ("1", True),
    "templating.missing-key": ("text", MissingKey.TEXT),
    "templating.offloaded-data-policy": ("controller", OffloadedDataPolicy.CONTROLLER),
    "templating.max-steps": ("5000", 5000),
    "templating.max-input-bytes": ("65536", 65536),
    "templating.max-depth": ("64", 64),
    "templating.max-include-depth": ("9", 9),
    "templating.max-collection-items": ("7", 7),
    "templating.max-range-items": ("20000", 20000),
    "templating.worker-timeout": ("5s", 5 * SECOND),
    "templating.worker-memory-bytes": ("536870912", 536_870_912),
    "templating.workers": ("1", 1),
    "templating.namespace-budget": ("0", timedelta(0)),
    "references.cross-namespace-policy": ("grant", CrossNamespacePolicy.GRANT),
    "debug.enable-verbose-logging": ("on", True),
    "debug.enable-step-output-logging": ("y", True),
    "telemetry.enabled": ("true", True),
    "telemetry.trace-propagation": ("1", True),
    "debug.enable-metrics": ("off", False),
    "debug.max-label-sets": ("20000", 20000),
    "engram.default-max-inline-size": ("1", 1),
    "engram.default-max-recursion-depth": ("8", 8),
    "engram.default-grpc-port": ("65535", 65535),
    "engram.default-storage-timeout-seconds": ("3", 3),
    "engram.default-graceful-shutdown-timeout-seconds": ("3", 3),
    "engram.default-termination-grace-period-seconds": ("3", 3),
    "engram.default-max-recv-msg-bytes": ("3", 3),
    "engram.default-max-send-msg-bytes": ("3", 3),
    "engram.default-dial-timeout-seconds": ("3", 3),
    "engram.default-channel-buffer-size": ("3", 3),
    "engram.default-reconnect-max-retries": ("0", 0),
    "engram.default-reconnect-base-backoff-millis": ("3", 3),
    "engram.default-reconnect-max-backoff-seconds": ("3", 3),
    "engram.default-hang-timeout-seconds": ("0", 0),
    "engram.default-message-timeout-seconds": ("3", 3),
    "engram.default-grpc-heartbeat-interval-seconds": ("7", 7),
    "controller.transport.grpc.default-tls-secret": ("stream-tls", "stream-tls"),
    "controller.transport.heartbeat-interval": ("5s", 5 * SECOND),
    "controller.transport.heartbeat-timeout": ("5s", 5 * SECOND),
    "controller.transport.hub-endpoint": ("hub.example:9000", "hub.example:9000"),
    "controller.storage.provider": ("", StorageProvider.NONE),
    "controller.storage.delete-with-run": ("false", False),
    "controller.storage.s3.bucket": ("data", "data"),
    "controller.storage.s3.region": ("eu", "eu"),
    "controller.storage.s3.endpoint": ("http://s3:8333", "http://s3:8333"),
    "controller.storage.s3.use-path-style": ("true", True),
    "controller.storage.s3.auth-secret-name": ("s3", "s3"),
    "security.lowered-by": ("nobody", LoweredBy.NOBODY),
    "controller.runner-identity": ("run", RunnerIdentity.RUN),
    "scripts.images": ("python:*, ghcr.io/acme/**", ("python:*", "ghcr.io/acme/**")),
    "scripts.default-image": ("busybox:1", "busybox:1"),
    "security.tolerations": ("gpu, example.com/team", ("gpu", "example.com/team")),
    "security.priority-classes": ("low, batch-*", ("low", "batch-*")),
    "security.runtime-classes": ("", ()),
    "controller.storage.s3.credential-namespaces": ("team-a, team-b", ("team-a", "team-b")),
    "controller.storage.gcs.bucket": ("data", "data"),
    "controller.storage.gcs.endpoint": ("https://gcs:4443", "https://gcs:4443"),
    "controller.storage.gcs.auth-secret-name": ("gcs", "gcs"),
    "controller.storage.gcs.credential-namespaces": ("*", ("*",)),
    "controller.storage.azure.account": ("payloads", "payloads"),
    "controller.storage.azure.container": ("data", "data"),
    "controller.storage.azure.endpoint": ("https://blob:10000/payloads", "https://blob:10000/payloads"),
    "controller.storage.azure.auth-secret-name": ("azure", "azure"),
    "controller.storage.azure.credential-namespaces": ("team-a", ("team-a",)),
    "controller.storage.file.path": ("/data", "/data"),
    "controller.storage.file.volume-claim-name": ("claim", "claim"),
    **{f"{prefix}.max-concurrent-reconciles": ("9", 9) for prefix in ("storyrun", "story", "engram", "impulse")},
    **{f"{prefix}.rate-limiter.base-delay": ("20ms", SECOND / 50) for prefix in ("storyrun", "story", "impulse")},
    **{f"{prefix}.rate-limiter.max-delay": ("20s", 20 * SECOND) for prefix in ("storyrun", "story", "impulse")},
    "engram.rate-limiter.base-delay": ("10ms", SECOND / 100),
    "engram.rate-limiter.max-delay": ("1h", 3600 * SECOND),
    "template.max-concurrent-reconciles": ("1", 1),
    "template.rate-limiter.base-delay": ("1s", SECOND),
    "template.rate-limiter.max-delay": ("2s", 2 * SECOND),
}

_INTEGERS = {
    key: bad
    for keys, bad in (
        (
            (
                "controller.max-concurrent-reconciles",
                "storyrun.max-inline-inputs-size",
                *(
                    key
                    for key in KEYS
                    if key.startswith("engram.default-")
                    and key
                    not in {
                        "engram.default-reconnect-max-retries",
                        "engram.default-hang-timeout-seconds",
                    }
                ),
            ),
            ["0", "-1", "1.5", "", "many", "1_000", "٣", "2147483648"],
        ),
        (
            (
                "retry.max-retries",
                "job.backoff-limit",
                "job.ttl-seconds-after-finished",
                "storyrun.global-concurrency",
                "engram.default-reconnect-max-retries",
                "engram.default-hang-timeout-seconds",
                "storyrun.max-concurrent-reconciles",
                "template.max-concurrent-reconciles",
            ),
            ["-1", "x", "", "2147483648"],
        ),
    )
    for key in keys
}
_BAD_BOOLEANS = ["", "maybe", "tru", "2"]

BAD: dict[str, list[str]] = {
    "security.lowered-by": ["", "stories", "Nobody"],
    "controller.runner-identity": ["", "Story", "pod"],
    "scripts.images": ["*,busybox", "a b"],
    "security.tolerations": ["keyed, gpu", "*,gpu", "a b", "-gpu"],
    "security.priority-classes": ["High", "a b", "a/b"],
    "security.runtime-classes": ["nvidia; kata"],
    "controller.storage.s3.credential-namespaces": ["Team", "*, team", "a/b", "team-*"],
    **_INTEGERS,
    "controller.reconcile-timeout": ["4s", "31m", "-5s", "30", "1d", ""],
    "controller.max-story-with-block-size-bytes": ["1023", "1048577", "64Ki"],
    "controller.requeue-base-delay": ["9ms", "0", "-1s", "soon"],
    "controller.requeue-max-delay": ["0s", "later"],
    "images.pull-policy": ["always", "", "Sometimes"],
    "resources.default.cpu-request": ["half", "1 Gi", "-"],
    "resources.engram.memory-limit": ["1GB", "Mi"],
    "timeout.default-step": ["0", "-1s", "5", "1d", ""],
    "security.run-as-non-root": _BAD_BOOLEANS,
    "security.read-only-root-filesystem": _BAD_BOOLEANS,
    "security.run-as-user": ["0", "-1", "root", "9223372036854775808", ""],
    "debug.enable-metrics": _BAD_BOOLEANS,
    "debug.max-label-sets": ["99", "20001", "0", "many", ""],
    "job.restart-policy": ["Always", "never", ""],
    "storyrun.retention-seconds": ["-2", "1d"],
    "storyrun.cleanup-timeout": ["0s", "-1m", "10", "soon", ""],
    "storytrigger.retention-seconds": ["-1", "1d"],
    "storytrigger.pending-timeout": ["-1s", "10", ""],
    "storyrun.restored": ["", "continue", "true"],
    "storyrun.max-story-depth": ["0", "-1", "101", "deep", ""],
    "storyrun.binding.max-mutations-per-reconcile": ["-1", "many", "1.5", ""],
    "storyrun.binding.throttle-requeue-delay": ["0s", "-1s", "3", ""],
    "story.binding.max-mutations-per-reconcile": ["-1", ""],
    "story.binding.throttle-requeue-delay": ["0s", "soon", ""],
    "templating.evaluation-timeout": ["-1s", "fast"],
    "templating.max-output-bytes": ["-1", "64Ki"],
    "templating.offloaded-data-policy": ["Inject", "hydrate"],
    "templating.max-steps": ["999", "many"],
    "templating.max-input-bytes": ["0", "8Mi"],
    "templating.max-depth": ["0", "129"],
    "templating.max-include-depth": ["0", "101"],
    "templating.worker-timeout": ["0", "500ms", "6m"],
    "templating.worker-memory-bytes": ["1024", "1Gi"],
    "templating.workers": ["0", "65"],
    "templating.namespace-budget": ["500ms", "2h", "much"],
    "references.cross-namespace-policy": ["Deny", "maybe"],
    "engram.default-grpc-port": ["0", "65536", "http"],
    "controller.storage.provider": ["S3", "gs"],
    "controller.storage.gcs.credential-namespaces": ["Team"],
    "controller.storage.azure.credential-namespaces": ["team-*"],
    "storyrun.rate-limiter.base-delay": ["9ms", "-1s", ""],
    "storyrun.rate-limiter.max-delay": ["-1s", "long"],
    "storyrun.queue.fast.concurrency": ["-1", "x", "", "2147483648"],
    "storyrun.queue.fast.default-priority": ["-1", "high"],
    "storyrun.queue.fast.priority-aging-seconds": ["-1", "1m"],
    "storyrun.queue.fast.color": ["red"],
    "storyrun.queue.fast": ["3"],
    "storyrun.queue..concurrency": ["3"],
    "storyrun.queue.-x.concurrency": ["3"],
    f"storyrun.queue.{'q' * 64}.concurrency": ["3"],
}


def read(settings: OperatorSettings, path: tuple[str, ...]) -> Any:
    value: Any = settings
    for part in path:
        value = getattr(value, part)
    return value


def parsed(**data: str) -> OperatorSettings:
    result = parse_config(data)
    assert result.settings is not None, result.errors
    return result.settings


def test_the_table_of_good_values_has_every_key() -> None:
    assert set(GOOD) == set(KEYS)


@pytest.mark.parametrize("key", sorted(GOOD))
def test_every_key_reaches_its_setting(key: str) -> None:
    text, value = GOOD[key]
    result = parse_config({key: text})
    assert result.errors == ()
    assert result.warnings == ()
    assert result.settings is not None
    assert read(result.settings, KEYS[key].path) == value


@pytest.mark.parametrize(("key", "text"), [(key, text) for key, texts in sorted(BAD.items()) for text in texts])
def test_a_bad_value_is_refused_under_its_key(key: str, text: str) -> None:
    result = parse_config({key: text})
    assert result.settings is None
    assert [problem.key for problem in result.errors] == [key]
    assert result.errors[0].message


def test_an_empty_config_map_gives_the_built_in_values() -> None:
    result = parse_config({})
    assert result.settings == OperatorSettings()


def test_bounds_of_priorities_are_of_queues_and_of_namespaces() -> None:
    runs = parsed(
        **{
            "storyrun.queue.gpu.max-priority": "7",
            "storyrun.namespace.team-a.max-priority": "3",
            "storyrun.namespace.team-b.max-priority": "0",
        }
    ).runs
    assert (runs.queues["gpu"].max_priority, runs.queues["default"].max_priority) == (7, 100)
    assert runs.max_priorities == {"team-a": 3, "team-b": 0}
    for key in ("storyrun.namespace.team.priority", "storyrun.namespace.Team.max-priority"):
        assert [problem.key for problem in parse_config({key: "1"}).errors] == [key]


def test_all_problems_are_reported_at_once() -> None:
    data = {"job.backoff-limit": "x", "timeout.default-step": "-1s", "storyrun.queue.a.b": "1", "colour": "blue"}
    result = parse_config({**data, "controller.storage.provider": "file"})
    assert [problem.key for problem in result.errors] == [
        "job.backoff-limit",
        "storyrun.queue.a.b",
        "timeout.default-step",
        "controller.storage.file.path",
        "controller.storage.file.volume-claim-name",
    ]
    assert [str(warning) for warning in result.warnings] == [
        "colour: is not a setting of this operator; remove it or check its spelling"
    ]


def test_messages_say_what_would_be_accepted() -> None:
    result = parse_config(
        {
            "controller.reconcile-timeout": "1s",
            "engram.default-grpc-port": "70000",
            "images.pull-policy": "x",
            "security.run-as-non-root": "maybe",
        }
    )
    assert [str(problem) for problem in result.errors] == [
        "controller.reconcile-timeout: '1s' is too short; the minimum is 5s",
        "engram.default-grpc-port: 70000 is out of range; use 1 to 65535",
        "images.pull-policy: 'x' is not one of Always, Never, IfNotPresent",
        "security.run-as-non-root: 'maybe' must be true or false",
    ]


def test_an_unknown_key_warns_with_what_was_probably_meant() -> None:
    result = parse_config({"timeout.default-stepp": "5m"})
    assert result.settings == OperatorSettings()
    assert [str(warning) for warning in result.warnings] == [
        "timeout.default-stepp: is not a setting of this operator; did you mean timeout.default-step?"
    ]


JOB_TTL, REALTIME_TTL = "job.ttl-seconds-after-finished", "realtime.ttl-seconds-after-finished"


@pytest.mark.parametrize(
    ("data", "outlasting"),
    [
        ({"storyrun.retention-seconds": "600"}, [JOB_TTL]),
        ({"storyrun.retention-seconds": "600", JOB_TTL: "600"}, []),
        ({"storyrun.retention-seconds": "600", JOB_TTL: "60", REALTIME_TTL: "601"}, [REALTIME_TTL]),
        ({"storyrun.retention-seconds": "600", REALTIME_TTL: "601"}, [JOB_TTL, REALTIME_TTL]),
        ({JOB_TTL: "86401"}, [JOB_TTL]),
        ({"storyrun.retention-seconds": "0"}, []),  # for ever
        ({"storyrun.retention-seconds": "-1"}, []),  # at once, with the StepRuns
    ],
)
def test_a_time_for_runs_that_their_step_runs_outlast_warns_with_the_key_to_lower(
    data: dict[str, str], outlasting: list[str]
) -> None:
    result = parse_config(data)

    assert result.settings is not None
    assert [warning.key for warning in result.warnings] == (["storyrun.retention-seconds"] if outlasting else [])
    for key in (JOB_TTL, REALTIME_TTL):
        assert (f"(lower {key})" in "".join(warning.message for warning in result.warnings)) == (key in outlasting)


@pytest.mark.parametrize("key", sorted(ACCEPTED_WITHOUT_EFFECT))
def test_keys_of_the_reference_without_effect_are_accepted_with_a_warning(key: str) -> None:
    result = parse_config({key: "anything"})
    assert result.settings == OperatorSettings()
    [warning] = result.warnings
    assert str(warning) == f"{key}: is accepted without effect: {ACCEPTED_WITHOUT_EFFECT[key]}"


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({"controller.storage.provider": "s3"}, "controller.storage.s3.bucket"),
        (
            {"controller.storage.provider": "file", "controller.storage.file.volume-claim-name": "c"},
            "controller.storage.file.path",
        ),
        (
            {"controller.storage.provider": "file", "controller.storage.file.path": "/d"},
            "controller.storage.file.volume-claim-name",
        ),
        (
            {"story.rate-limiter.base-delay": "2s", "story.rate-limiter.max-delay": "1s"},
            "story.rate-limiter.base-delay",
        ),
        (
            {"controller.requeue-base-delay": "2s", "controller.requeue-max-delay": "1s"},
            "controller.requeue-base-delay",
        ),
    ],
)
def test_contradictions_between_keys_are_refused(data: dict[str, str], key: str) -> None:
    result = parse_config(data)
    assert result.settings is None
    assert [problem.key for problem in result.errors] == [key]


def test_a_controllers_zero_stands_for_the_common_value() -> None:
    data = {"controller.max-concurrent-reconciles": "3", "controller.requeue-base-delay": "2s"}
    settings = parsed(**data, **{"storyrun.max-concurrent-reconciles": "0", "storyrun.rate-limiter.base-delay": "0"})
    assert settings.story_run == ControllerSettings(3, 2 * SECOND, 300 * SECOND)
    assert settings.story.max_concurrent_reconciles == OperatorSettings().story.max_concurrent_reconciles


def test_a_zero_without_a_common_value_is_the_built_in_one() -> None:
    zeroes = {"story.max-concurrent-reconciles": "0", "story.rate-limiter.base-delay": "0"}
    settings = parsed(**zeroes, **{"story.rate-limiter.max-delay": "0s"})
    assert settings.story == ControllerSettings(10, SECOND / 5, 60 * SECOND)


def test_queues_are_found_by_their_lower_case_name() -> None:
    queues = parsed(
        **{
            "storyrun.queue.Fast.concurrency": "4",
            "storyrun.queue. fast .default-priority": "7",
            "storyrun.queue.default.concurrency": "9",
        }
    ).runs.queues
    assert queues == {
        "default": QueueSettings(concurrency=9, priority_aging_seconds=60),
        "fast": QueueSettings(concurrency=4, default_priority=7),
    }
    assert queues["fast"].priority_aging_seconds == 60


@given(st.dictionaries(st.sampled_from(sorted(KEYS)) | st.text(max_size=30), st.text(max_size=20), max_size=6))
def test_parsing_never_raises_and_settings_are_absent_exactly_with_errors(data: dict[str, str]) -> None:
    result = parse_config(data)
    assert (result.settings is None) == bool(result.errors)
