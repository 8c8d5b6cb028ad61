"""What each key of the operator's ConfigMap changes: a row for each key, with a value and what production code makes
of it.

An ``Effect`` runs the code that uses the setting. A ``Proof`` names the test that plays it, where the code needs a
cluster or a log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import trio

from core.api import keys
from core.api.objects import Object
from core.engine.slots.queueing import limits_of
from core.policy.classes import why_not_named
from core.policy.credentials import may_have_credentials, operators_secret
from core.policy.floor import lowered, why_not_tolerated
from core.policy.layers import PolicyError, resolve_impulse_policy, resolve_policy
from core.policy.references import ForeignReference, why_denied
from core.policy.settings import OperatorSettings
from core.policy.sources import Sources
from core.workloads.job import step_job
from core.workloads.kept_data import stored_data_goes
from core.workloads.script import image_of, why_image_not_allowed
from manager.assembly import run_defaults_of
from manager.evaluation import policy_of, worker_limits_of
from reconcilers.adapters.binding_budget import BindingBudget
from reconcilers.adapters.ordered_stream import default_tls_secret
from reconcilers.adapters.ordered_workload import ordered_workload
from reconcilers.controller_set import controller_options
from reconcilers.controllers import CONTROLLERS
from reconcilers.retention import child_ttl, retention, trigger_removal
from tests.unit.core.workloads import golden_jobs, golden_streams
from webhooks.cluster_view import InMemoryView
from webhooks.validate.story import validate as validate_story

Observe = Callable[[OperatorSettings], Any]
NOW: Final = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
S3: Final = {"controller.storage.provider": "s3", "controller.storage.s3.bucket": "b"}
GCS: Final = {"controller.storage.provider": "gcs", "controller.storage.gcs.bucket": "bucket"}
AZURE: Final = {
    "controller.storage.provider": "azure",
    "controller.storage.azure.account": "account",
    "controller.storage.azure.container": "container",
}
FILE: Final = {
    "controller.storage.provider": "file",
    "controller.storage.file.path": "/data",
    "controller.storage.file.volume-claim-name": "claim",
}

_SOURCE: Final = "tests/unit/manager/test_config_source.py"
_BUDGET: Final = "tests/unit/reconcilers/test_adapter_binding_budget.py"
_URL: Final = "https://store.example"


class Effect(NamedTuple):
    """With ``key`` set to ``value``, ``observe`` gives ``expected``, and something else without it.

    ``beside`` are other keys that are set in both cases.
    """

    key: str
    value: str
    observe: Observe
    expected: Any
    beside: Mapping[str, str] = {}


class Proof(NamedTuple):
    """A test that plays the effect."""

    key: str
    file: str
    test: str


# What production code makes of settings.


def _job(settings: OperatorSettings) -> Object:
    asked = golden_jobs.order("plain", settings)
    return step_job(ordered_workload(asked, golden_jobs.account_of(asked)))


def _pod(settings: OperatorSettings) -> Object:
    spec: Object = _job(settings)["spec"]["template"]["spec"]
    return spec


def _at(root: Observe, *path: str | int) -> Observe:
    def observe(settings: OperatorSettings) -> Any:
        found = root(settings)
        for part in path:
            found = found.get(part) if isinstance(part, str) else found[part]
            if found is None:
                return None
        return found

    return observe


def _container(*path: str | int) -> Observe:
    return _at(_pod, "containers", 0, *path)


def _variable(container: Observe, name: str) -> Observe:
    def observe(settings: OperatorSettings) -> Any:
        found = [each for each in container(settings)["env"] if each["name"] == name]
        return (found[-1].get("value") or found[-1].get("valueFrom")) if found else None

    return observe


def _env(name: str) -> Observe:
    return _variable(_container(), name)


def _streaming(settings: OperatorSettings) -> Object:
    workload = golden_streams.objects("stateful-retry", settings)[-1]
    container: Object = workload["spec"]["template"]["spec"]["containers"][0]
    return container


def _stream_env(name: str) -> Observe:
    return _variable(_streaming, name)


def _defaults(field: str) -> Observe:
    return lambda settings: getattr(run_defaults_of(settings), field)


def _limit(field: str) -> Observe:
    return lambda settings: getattr(policy_of(settings.templating).limits, field)


def _evaluation(field: str) -> Observe:
    return lambda settings: getattr(policy_of(settings.templating), field)


def _workers(field: str) -> Observe:
    return lambda settings: getattr(worker_limits_of(settings.templating), field)


def _controller(name: str, field: str) -> Observe:
    """A setting of the controller with this name. ``reconcile_timeout`` is asked for each time."""
    row = next(each for each in CONTROLLERS if each.name == name)

    def observe(settings: OperatorSettings) -> Any:
        found = getattr(controller_options(row, lambda: settings), field)
        return found() if callable(found) else found

    return observe


def _story(**spec: Any) -> Object:
    return {
        "apiVersion": "bubustack.io/v1alpha1",
        "kind": "Story",
        "metadata": {"name": "s", "namespace": "team"},
        "spec": {"steps": [{"name": "a", "type": "sleep", "with": {"duration": "1s"}}], **spec},
    }


def _is_too_large(settings: OperatorSettings) -> bool:
    story = _story(steps=[{"name": "a", "ref": {"name": "e"}, "with": {"text": "x" * 2000}}])
    found = validate_story(story, None, InMemoryView((), settings=settings, namespace="team"))
    return any(finding.path == "spec.steps[0].with" for finding in found)


def _trigger_kept(settings: OperatorSettings) -> Any:
    trigger = {"metadata": {"creationTimestamp": "2026-11-24T12:00:00Z"}, "status": {"decision": "Rejected"}}
    until = trigger_removal(trigger, None, None, settings)
    return None if until is None else until - NOW


def _impulse_image(settings: OperatorSettings) -> str:
    template = {"kind": "ImpulseTemplate", "metadata": {"name": "t"}, "spec": {}}
    impulse = {"kind": "Impulse", "metadata": {"name": "i", "namespace": "team"}, "spec": {}}
    try:
        return resolve_impulse_policy(settings, template, impulse).image
    except PolicyError:
        return ""


def _engram_image(settings: OperatorSettings) -> str:
    template: Object = {"metadata": {"name": "t"}, "spec": {}}
    engram = {"metadata": {"name": "e", "namespace": "team"}, "spec": {}}
    try:
        return resolve_policy(Sources(settings, template, engram, _story(), {"name": "a"}, namespace="team")).image
    except PolicyError:
        return ""


def _retry(field: str) -> Observe:
    return lambda settings: getattr(golden_jobs.order("plain", settings).binding.retry, field)


def _is_denied(settings: OperatorSettings) -> bool:
    reference = ForeignReference("g", "K", "a", "g", "Story", "b", "s")
    return why_denied(reference, settings.cross_namespace_policy) is not None


def _lowers(settings: OperatorSettings) -> list[str]:
    return [each.field for each in lowered({"runAsNonRoot": False}, {"run_as_non_root": True}, settings)]


def _writes_at_once(*, live: bool, limit: int = 1000) -> Observe:
    """How many bindings a run may write in the same moment."""

    async def count(settings: OperatorSettings) -> int:
        await trio.lowlevel.checkpoint()
        budget = BindingBudget(lambda: settings)
        marks = {keys.ANNOTATION_LIVE_STORY_UID: "uid"} if live else {}
        run = {
            "metadata": {"uid": "u", "name": "r", "namespace": "n", "labels": {}, "annotations": marks},
            "spec": {"storyRef": {"name": "s"}},
        }
        for number in range(limit):
            try:
                budget.take_turn(run, str(number))
            except Exception:
                return number
        return limit

    return lambda settings: trio.run(count, settings)


# The rows.

_RESOURCES: Final = tuple(
    Effect(f"resources.{group}.{unit}-{bound}", value, _container("resources", f"{bound}s", unit), value)
    for group in ("default", "engram")
    for unit, value in (("cpu", "70m"), ("memory", "70Mi"))
    for bound in ("request", "limit")
)
_CONTROLLERS: Final = tuple(
    row
    for prefix, name in (
        ("storyrun", "storyrun"),
        ("story", "story"),
        ("engram", "engram"),
        ("impulse", "impulse"),
        ("template", "catalog-engramtemplate"),
    )
    for row in (
        Effect(f"{prefix}.max-concurrent-reconciles", "77", _controller(name, "workers"), 77),
        Effect(f"{prefix}.rate-limiter.base-delay", "7s", _controller(name, "base_delay"), timedelta(seconds=7)),
        Effect(f"{prefix}.rate-limiter.max-delay", "77m", _controller(name, "max_delay"), timedelta(minutes=77)),
    )
)
_OWN_DELAYS_OFF: Final = {
    "story.max-concurrent-reconciles": "0",
    "story.rate-limiter.base-delay": "0",
    "story.rate-limiter.max-delay": "0",
}
_ENGRAM: Final = (
    Effect("engram.default-max-inline-size", "77", _env("BUBU_MAX_INLINE_SIZE"), "77"),
    Effect("engram.default-max-recursion-depth", "7", _env("BUBU_MAX_RECURSION_DEPTH"), "7"),
    Effect("engram.default-grpc-port", "7777", _env("BUBU_GRPC_PORT"), "7777"),
    Effect("engram.default-storage-timeout-seconds", "77", _env("BUBU_STORAGE_TIMEOUT"), "77s"),
    Effect(
        "engram.default-graceful-shutdown-timeout-seconds",
        "77",
        _stream_env("BUBU_GRPC_GRACEFUL_SHUTDOWN_TIMEOUT"),
        "77s",
    ),
    Effect("engram.default-termination-grace-period-seconds", "77", _at(_pod, "terminationGracePeriodSeconds"), 77),
    Effect("engram.default-max-recv-msg-bytes", "77", _env("BUBU_GRPC_MAX_RECV_BYTES"), "77"),
    Effect("engram.default-max-send-msg-bytes", "77", _env("BUBU_GRPC_MAX_SEND_BYTES"), "77"),
    Effect("engram.default-dial-timeout-seconds", "7", _env("BUBU_GRPC_DIAL_TIMEOUT"), "7s"),
    Effect("engram.default-channel-buffer-size", "77", _env("BUBU_GRPC_CHANNEL_BUFFER_SIZE"), "77"),
    Effect("engram.default-reconnect-max-retries", "7", _env("BUBU_GRPC_RECONNECT_MAX_RETRIES"), "7"),
    Effect("engram.default-reconnect-base-backoff-millis", "77", _env("BUBU_GRPC_RECONNECT_BASE_BACKOFF"), "77ms"),
    Effect("engram.default-reconnect-max-backoff-seconds", "77", _env("BUBU_GRPC_RECONNECT_MAX_BACKOFF"), "77s"),
    Effect("engram.default-hang-timeout-seconds", "77", _env("BUBU_GRPC_HANG_TIMEOUT"), "77s"),
    Effect("engram.default-message-timeout-seconds", "77", _env("BUBU_GRPC_MESSAGE_TIMEOUT"), "77s"),
    Effect("engram.default-grpc-heartbeat-interval-seconds", "7", _stream_env("BUBU_GRPC_HEARTBEAT_INTERVAL"), "7s"),
)
_SECURITY: Final = (
    Effect("security.run-as-non-root", "false", _at(_pod, "securityContext", "runAsNonRoot"), False),
    Effect(
        "security.read-only-root-filesystem", "false", _container("securityContext", "readOnlyRootFilesystem"), False
    ),
    Effect(
        "security.allow-privilege-escalation", "true", _container("securityContext", "allowPrivilegeEscalation"), True
    ),
    Effect("security.drop-capabilities", "net_raw", _container("securityContext", "capabilities", "drop"), ["NET_RAW"]),
    Effect("security.run-as-user", "77", _at(_pod, "securityContext", "runAsUser"), 77),
    Effect("security.service-account-name", "mine", _at(_pod, "serviceAccountName"), "mine"),
    Effect("security.lowered-by", "everybody", _lowers, []),
    Effect("security.tolerations", "*", lambda settings: why_not_tolerated({"operator": "Exists"}, settings), ""),
    Effect(
        "security.priority-classes", "high*", lambda found: why_not_named("priority_class_name", "high-1", found), ""
    ),
    Effect(
        "security.runtime-classes", "gvisor", lambda found: why_not_named("runtime_class_name", "gvisor", found), ""
    ),
    Effect(
        "scripts.images",
        "busybox:*",
        lambda settings: why_image_not_allowed({"image": "busybox:1", "run": "x"}, settings.scripts),
        None,
    ),
    Effect("scripts.default-image", "busybox:1", lambda found: image_of({"run": "x"}, found.scripts), "busybox:1"),
    Effect("references.cross-namespace-policy", "allow", _is_denied, False),
    Proof(
        "controller.runner-identity",
        "tests/integration/test_operator_story_account.py",
        "test_a_run_keeps_its_account_when_the_setting_changes_and_another_process_gives_it_the_other",
    ),
)
_RUNS: Final = (
    Effect("storyrun.global-concurrency", "7", lambda settings: limits_of(settings).everywhere, 7),
    Effect("storyrun.retention-seconds", "77", lambda found: retention(_story(), found), timedelta(seconds=77)),
    Effect(
        "realtime.ttl-seconds-after-finished",
        "77",
        lambda settings: child_ttl(_story(pattern="realtime"), settings),
        timedelta(seconds=77),
    ),
    Effect("storyrun.max-inline-inputs-size", "77", _defaults("max_inline_inputs_bytes"), 77),
    Effect("storyrun.cleanup-timeout", "7m", _defaults("cleanup_timeout"), timedelta(minutes=7)),
    Effect("storyrun.max-story-depth", "7", _defaults("max_story_depth"), 7),
    Effect("controller.max-story-with-block-size-bytes", "1024", _is_too_large, True),
    Effect("storytrigger.retention-seconds", "77", _trigger_kept, timedelta(seconds=77)),
    Proof(
        "storyrun.restored",
        "tests/integration/test_operator_restore.py",
        "test_a_resumed_run_repeats_only_the_lost_attempt_that_its_policy_repeats",
    ),
    Proof(
        "storytrigger.pending-timeout",
        "tests/unit/reconcilers/test_storytrigger.py",
        "test_the_timer_ends_at_the_limit_and_then_the_request_is_rejected",
    ),
    Effect("retry.max-retries", "7", _retry("max_retries"), 7),
    Effect("retry.exponential-backoff-base", "7s", _retry("delay"), timedelta(seconds=7)),
    Effect("retry.exponential-backoff-max", "77s", _retry("max_delay"), timedelta(seconds=77)),
    Effect("timeout.default-step", "7m", _env("BUBU_STEP_TIMEOUT"), "7m0s"),
    Effect("timeout.approval-default", "7m", _defaults("gate_timeout"), timedelta(minutes=7)),
    Effect("timeout.external-data-default", "7m", _defaults("wait_timeout"), timedelta(minutes=7)),
    Effect("job.backoff-limit", "7", _at(_job, "spec", "backoffLimit"), 7),
    Effect("job.ttl-seconds-after-finished", "77", _at(_job, "spec", "ttlSecondsAfterFinished"), 77),
    Effect("job.restart-policy", "OnFailure", _at(_pod, "restartPolicy"), "OnFailure"),
    Effect("images.pull-policy", "Always", _container("imagePullPolicy"), "Always"),
    Effect("images.default-engram", "img:1", _engram_image, "img:1"),
    Effect("images.default-impulse", "img:1", _impulse_image, "img:1"),
)
_TEMPLATING: Final = (
    Effect("templating.evaluation-timeout", "7s", _limit("wall_seconds"), 7.0),
    Effect("templating.max-output-bytes", "77", _limit("output_bytes"), 77),
    Effect("templating.deterministic", "true", _evaluation("deterministic"), True),
    Effect("templating.missing-key", "text", _evaluation("missing_as_text"), True),
    Effect("templating.max-steps", "7000", _limit("steps"), 7000),
    Effect("templating.max-input-bytes", "7000", _limit("input_bytes"), 7000),
    Effect("templating.max-depth", "7", _limit("depth"), 7),
    Effect("templating.max-include-depth", "7", _limit("include_depth"), 7),
    Effect("templating.max-collection-items", "7", _limit("collection_items"), 7),
    Effect("templating.max-range-items", "7", _limit("range_items"), 7),
    Effect("templating.worker-timeout", "7s", _workers("seconds"), 7.0),
    Effect("templating.worker-memory-bytes", "700000000", _workers("memory_bytes"), 700_000_000),
    Effect("templating.workers", "7", _workers("processes"), 7),
    Effect("templating.namespace-budget", "7s", _evaluation("budget_seconds"), 7.0),
    Proof(
        "templating.offloaded-data-policy",
        "tests/unit/core/engine/values/test_engine_stored_data.py",
        "test_where_the_policy_forbids_it_a_step_fails_and_names_the_policy",
    ),
)
_STORAGE: Final = (
    Effect(
        "controller.storage.provider", "s3", _env("BUBU_STORAGE_PROVIDER"), "s3", {"controller.storage.s3.bucket": "b"}
    ),
    Effect(
        "controller.storage.delete-with-run",
        "false",
        lambda settings: stored_data_goes({"metadata": {}}, None, settings),
        False,
        FILE,
    ),
    Effect("controller.storage.s3.bucket", "mine", _env("BUBU_STORAGE_S3_BUCKET"), "mine", S3),
    Effect("controller.storage.s3.region", "eu-1", _env("BUBU_STORAGE_S3_REGION"), "eu-1", S3),
    Effect(
        "controller.storage.s3.endpoint",
        _URL,
        _env("BUBU_STORAGE_S3_ENDPOINT"),
        _URL,
        S3,
    ),
    Effect("controller.storage.s3.use-path-style", "true", _env("BUBU_S3_FORCE_PATH_STYLE"), "true", S3),
    Effect("controller.storage.s3.auth-secret-name", "s", lambda found: operators_secret(found.storage), "s", S3),
    Effect("controller.storage.gcs.bucket", "mine", _env("BUBU_STORAGE_GCS_BUCKET"), "mine", GCS),
    Effect(
        "controller.storage.gcs.endpoint",
        _URL,
        _env("BUBU_STORAGE_GCS_ENDPOINT"),
        _URL,
        {**GCS, "controller.storage.gcs.auth-secret-name": "s"},
    ),
    Effect("controller.storage.gcs.auth-secret-name", "s", lambda found: operators_secret(found.storage), "s", GCS),
    Effect("controller.storage.azure.account", "mine", _env("BUBU_STORAGE_AZURE_ACCOUNT"), "mine", AZURE),
    Effect("controller.storage.azure.container", "mine", _env("BUBU_STORAGE_AZURE_CONTAINER"), "mine", AZURE),
    Effect(
        "controller.storage.azure.endpoint",
        _URL,
        _env("BUBU_STORAGE_AZURE_ENDPOINT"),
        _URL,
        {**AZURE, "controller.storage.azure.auth-secret-name": "s"},
    ),
    Effect("controller.storage.azure.auth-secret-name", "s", lambda found: operators_secret(found.storage), "s", AZURE),
    *(
        Effect(
            f"controller.storage.{provider}.credential-namespaces",
            "team",
            lambda settings: may_have_credentials("team", settings.storage),
            True,
            beside,
        )
        for provider, beside in (("s3", S3), ("gcs", GCS), ("azure", AZURE))
    ),
    Effect("controller.storage.file.path", "/mine", _env("BUBU_STORAGE_PATH"), "/mine", FILE),
    Effect(
        "controller.storage.file.volume-claim-name",
        "mine",
        lambda settings: [each.get("persistentVolumeClaim") for each in _pod(settings)["volumes"]],
        [{"claimName": "mine"}],
        FILE,
    ),
)
_OTHERS: Final = (
    Effect("controller.transport.heartbeat-interval", "7s", _stream_env("BUBU_TRANSPORT_HEARTBEAT_INTERVAL"), "7s"),
    Proof(
        "controller.transport.heartbeat-timeout",
        "tests/integration/test_operator_hub_silence.py",
        "test_streams_of_a_killed_hub_count_as_not_connected_until_the_next_one_has_reported",
    ),
    Proof(
        "controller.transport.hub-endpoint",
        "tests/unit/manager/test_hub_access.py",
        "test_the_settings_count_more_than_the_hub_of_the_operator",
    ),
    Effect(
        "controller.transport.grpc.default-tls-secret",
        "tls",
        lambda settings: default_tls_secret(golden_streams.order("source-with-tls", settings)),
        "tls",
    ),
    Effect("controller.reconcile-timeout", "7s", _controller("story", "reconcile_timeout"), timedelta(seconds=7)),
    Effect("controller.max-concurrent-reconciles", "77", _controller("story", "workers"), 77, _OWN_DELAYS_OFF),
    Effect(
        "controller.requeue-base-delay", "7s", _controller("story", "base_delay"), timedelta(seconds=7), _OWN_DELAYS_OFF
    ),
    Effect(
        "controller.requeue-max-delay", "77m", _controller("story", "max_delay"), timedelta(minutes=77), _OWN_DELAYS_OFF
    ),
    Effect("storyrun.binding.max-mutations-per-reconcile", "3", _writes_at_once(live=False), 3),
    Effect("story.binding.max-mutations-per-reconcile", "3", _writes_at_once(live=True), 3),
    Proof("storyrun.binding.throttle-requeue-delay", _BUDGET, "test_a_burst_is_followed_by_so_many_in_each_delay"),
    Proof(
        "story.binding.throttle-requeue-delay",
        _BUDGET,
        "test_runs_have_budgets_of_their_own_and_the_live_runs_of_a_story_one_together",
    ),
    Proof("debug.enable-verbose-logging", _SOURCE, "test_verbose_logging_begins_and_ends_at_once"),
    Proof("debug.enable-metrics", _SOURCE, "test_series_of_ours_stand_still_while_the_configuration_says_so"),
    Proof("debug.max-label-sets", _SOURCE, "test_another_bound_on_label_sets_counts_from_the_next_one"),
    Proof(
        "debug.enable-step-output-logging",
        "tests/unit/reconcilers/test_output_log.py",
        "test_nothing_is_logged_unless_the_setting_says_so",
    ),
)


def _queue(field: str) -> Observe:
    return lambda settings: getattr(limits_of(settings).of("gpu"), field)


FAMILY_ROWS: Final = (
    Effect("storyrun.queue.gpu.concurrency", "7", _queue("concurrency"), 7),
    Effect("storyrun.queue.gpu.default-priority", "7", _queue("default_priority"), 7),
    Effect("storyrun.queue.gpu.priority-aging-seconds", "7", _queue("priority_aging_seconds"), 7),
    Effect("storyrun.queue.gpu.max-priority", "7", _queue("max_priority"), 7),
    Effect("storyrun.namespace.team.max-priority", "7", lambda found: found.runs.max_priorities.get("team"), 7),
)
"""Keys with the name of a queue or namespace in them."""

ROWS: Final[tuple[Effect | Proof, ...]] = (
    *_RUNS,
    *_RESOURCES,
    *_SECURITY,
    *_STORAGE,
    *_TEMPLATING,
    *_ENGRAM,
    *_CONTROLLERS,
    *_OTHERS,
)
