"""The settings that are live: a change of each, and what it changes in an operator that runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tests.integration import live_setting_plays as plays
from tests.integration.live_setting_plays import (
    NOTHING,
    Play,
    of_execution,
    of_pod,
    of_variable,
    phase_of_run,
    rendered,
)
from tests.integration.operator_cluster import step


class Live(NamedTuple):
    """A change of ``key`` to ``value`` changes what ``play`` gives, from ``before`` to ``after``."""

    key: str
    value: str
    play: Play
    before: Any
    after: Any
    then: Play | None = None
    """What is played after the change instead, about the objects of before."""


class Wave(NamedTuple):
    """Rows that change together, because none of them touches what another one shows.

    ``beside`` are keys that are set before and after; ``{store}`` is the folder of the object store.
    """

    rows: tuple[Live, ...]
    beside: Mapping[str, str] = {}


class Elsewhere(NamedTuple):
    """A test that changes the setting while the part that uses it is at work."""

    key: str
    file: str
    test: str


WENT_ON: Final = "goes on"
LOOPS: Final = "{{ range 7 }}{{ range 6 }}{{ range 6 }}{{ range 6 }}{{ end }}{{ end }}{{ end }}{{ end }}x"
INCLUDES: Final = '{{ define "a" }}{{ template "b" }}{{ end }}{{ define "b" }}x{{ end }}{{ template "a" }}'
LONG: Final = "{{ range until 9999 }}{{ range 5 }}{{ end }}{{ end }}x"
DEEP: Final = {**NOTHING, "if": "size(inputs.deep) > 0"}
READS: Final = {**NOTHING, "if": "size(inputs.s) > 0"}
WEAK: Final = {"security": {"readOnlyRootFilesystem": False}}
ANY_TAINT: Final = {"operator": "Exists"}
GATE: Final = {"name": "ask", "type": "gate"}
WAIT: Final = {"name": "wait", "type": "wait", "with": {"until": '{{ gt (now | date "2006" | int) 9000 }}'}}
FAILING: Final = {"name": "fails", "type": "stop", "with": {"phase": "failed"}}
UNDO: Final = {"name": "undo", "type": "sleep", "with": {"duration": "300ms"}}
PATIENT: Final = step("work", "patient")


def _reads_root(pod: Any) -> Any:
    return pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"]


def _claims(pod: Any) -> Any:
    return [each["persistentVolumeClaim"]["claimName"] for each in pod["volumes"] if "persistentVolumeClaim" in each]


SLOTS: Final = Wave(
    (Live("storyrun.global-concurrency", "0", plays.one_at_a_time(), 1, 2, plays.both_run),),
    {"storyrun.global-concurrency": "1"},
)
TOGETHER: Final = Wave(
    (
        Live("templating.max-output-bytes", "300", rendered("{{ repeat 400 `x` }}"), "x" * 400, "Failed"),
        Live("templating.deterministic", "true", rendered("{{ len uuidv4 }}"), "36", "Failed"),
        Live("templating.missing-key", "text", rendered("a {{ inputs.no }}"), "Failed", "a <no value>"),
        Live("templating.max-collection-items", "9", rendered("{{ append inputs.l 1 | len }}"), "21", "Failed"),
        Live("templating.max-range-items", "7", rendered("{{ range 8 }}i{{ end }}"), "i" * 8, "Failed"),
        Live("templating.max-steps", "1000", rendered(LOOPS), "x", "Failed"),
        Live("templating.max-include-depth", "1", rendered(INCLUDES), "x", "Failed"),
        Live("templating.max-depth", "6", phase_of_run(DEEP, inputs={"deep": [[[[[[[1]]]]]]]}), "Succeeded", "Failed"),
        Live(
            "storyrun.max-inline-inputs-size",
            "300",
            phase_of_run(NOTHING, inputs={"x": "y" * 400}),
            "Succeeded",
            "Failed",
        ),
        Live("retry.max-retries", "0", plays.next_retry, "soon", "Failed"),
        Live("storyrun.max-story-depth", "1", plays.depth_of_calls, "Succeeded", "Failed"),
        Live("storyrun.cleanup-timeout", "100ms", plays.undone(FAILING, compensations=[UNDO]), True, False),
        Live(
            "storytrigger.pending-timeout",
            "100ms",
            plays.waiting_trigger,
            "Pending",
            "Rejected",
            plays.rejected_trigger,
        ),
        Live("timeout.approval-default", "100ms", plays.soon_ended(GATE), WENT_ON, "ended", plays.finally_ended(GATE)),
        Live(
            "images.default-engram", "test/noop", plays.engram_template, "invalid", "valid", plays.valid_engram_template
        ),
        Live(
            "images.default-impulse",
            "test/noop",
            plays.impulse_template,
            "invalid",
            "valid",
            plays.valid_impulse_template,
        ),
        Live("security.lowered-by", "everybody", of_pod(_reads_root, execution=WEAK), True, False),
        Live(
            "security.tolerations",
            "*",
            of_execution("tolerations", {"placement": {"tolerations": [ANY_TAINT]}}),
            None,
            [ANY_TAINT],
        ),
        Live(
            "security.priority-classes",
            "hi*",
            of_execution("priorityClassName", {"priorityClassName": "hi"}),
            None,
            "hi",
        ),
        Live(
            "security.runtime-classes",
            "kata",
            of_execution("runtimeClassName", {"runtimeClassName": "kata"}),
            None,
            "kata",
        ),
        Live("scripts.images", "test/noop", plays.script_step(image="test/noop"), "Failed", "Succeeded"),
        Live(
            "references.cross-namespace-policy",
            "allow",
            plays.foreign_engram,
            "False",
            "True",
            plays.foreign_engram_works,
        ),
        Live("telemetry.trace-propagation", "true", plays.traced_container, None, plays.CALLER),
        Live("debug.enable-step-output-logging", "true", plays.is_logged, False, True, plays.only_the_next_is_logged),
        Live("storyrun.queue.quick.default-priority", "7", plays.priority({"queue": "quick"}), "0", "7"),
        Live("storyrun.queue.bound.max-priority", "7", plays.priority({"queue": "bound", "priority": 50}), "50", "7"),
        Live("storyrun.queue.gpu.concurrency", "2", plays.one_at_a_time(queue="gpu"), 1, 2, plays.both_run),
        Live(
            "engram.default-graceful-shutdown-timeout-seconds",
            "1",
            plays.canceled,
            WENT_ON,
            "ended",
            plays.canceled_again,
        ),
    ),
    {"references.cross-namespace-policy": "grant", "storyrun.queue.gpu.concurrency": "1"},
)
RETRIES: Final = (
    Wave(
        (
            Live("retry.exponential-backoff-base", "4m", plays.next_retry, "soon", "later"),
            Live("storyrun.namespace.team.max-priority", "7", plays.priority({"priority": 50}), "50", "7"),
            Live(
                "timeout.external-data-default",
                "100ms",
                plays.soon_ended(WAIT),
                WENT_ON,
                "ended",
                plays.finally_ended(WAIT),
            ),
            Live("storyrun.restored", "resume", plays.restored_trigger, "Rejected", "Created"),
            Live("scripts.default-image", "test/noop", plays.script_step(), "Failed", "Succeeded"),
            Live(
                "templating.max-input-bytes",
                "1024",
                phase_of_run(READS, inputs={"s": "x" * 2000}),
                "Succeeded",
                "Failed",
            ),
        ),
        {"scripts.images": "test/noop", "storyrun.max-inline-inputs-size": "4000"},
    ),
    Wave(
        (Live("retry.exponential-backoff-max", "200ms", plays.second_delay, "doubled", "the same"),),
        {"retry.exponential-backoff-base": "200ms"},
    ),
    Wave(
        (
            Live(
                "timeout.default-step",
                "100ms",
                plays.soon_ended(PATIENT),
                WENT_ON,
                "ended",
                plays.finally_ended(PATIENT),
            ),
            Live("templating.evaluation-timeout", "1ms", rendered(LONG), "x", "Failed"),
        )
    ),
)

_FILE: Final = {
    "controller.storage.provider": "file",
    "controller.storage.file.path": "{store}",
    "controller.storage.file.volume-claim-name": "data",
}
_S3: Final = {"controller.storage.provider": "s3", "controller.storage.s3.bucket": "b"}
_CLOUDS: Final[Mapping[str, Mapping[str, str]]] = {
    "s3": _S3,
    "gcs": {"controller.storage.provider": "gcs", "controller.storage.gcs.bucket": "bucket"},
    "azure": {
        "controller.storage.provider": "azure",
        "controller.storage.azure.account": "account",
        "controller.storage.azure.container": "container",
    },
}


def _secret(provider: str, name: str = "store-keys") -> Mapping[str, str]:
    return {f"controller.storage.{provider}.auth-secret-name": name}


def _admitted(provider: str) -> Mapping[str, str]:
    return {f"controller.storage.{provider}.credential-namespaces": "team"}


def _variables(provider: str, fields: Mapping[str, tuple[str, str, Any]]) -> tuple[Live, ...]:
    """Rows of keys that become a variable: field → (value, variable, value of it before)."""
    return tuple(
        Live(f"controller.storage.{provider}.{name}", value, of_variable(variable), before, value)
        for name, (value, variable, before) in fields.items()
    )


def _access(provider: str) -> tuple[Wave, Wave]:
    """The Secret of a store, and the namespaces that get it."""
    store = _CLOUDS[provider]
    named = Live(
        f"controller.storage.{provider}.auth-secret-name", "absent", plays.with_credentials, "has a container", "waits"
    )
    admitted = Live(
        f"controller.storage.{provider}.credential-namespaces",
        "team",
        plays.with_credentials,
        "waits",
        "has a container",
        plays.gets_credentials,
    )
    return (
        Wave((named,), {**store, **_secret(provider), **_admitted(provider)}),
        Wave((admitted,), {**store, **_secret(provider)}),
    )


_URL: Final = "https://store.example"
STORES: Final = (
    Wave(
        (Live("controller.storage.provider", "file", of_variable("BUBU_STORAGE_PROVIDER"), None, "file"),),
        {key: value for key, value in _FILE.items() if key != "controller.storage.provider"},
    ),
    Wave(
        (
            Live("templating.offloaded-data-policy", "error", plays.reads_stored_output, "Succeeded", "Failed"),
            Live("controller.storage.delete-with-run", "false", plays.marked_for_stored_data, True, False),
            Live("controller.storage.file.volume-claim-name", "mine", of_pod(_claims), ["data"], ["mine"]),
        ),
        _FILE,
    ),
    Wave(
        (Live("controller.storage.file.path", "{store}/second", plays.reads_stored_input, "Succeeded", "Skipped"),),
        _FILE,
    ),
    Wave(
        _variables(
            "s3",
            {
                "bucket": ("mine", "BUBU_STORAGE_S3_BUCKET", "b"),
                "region": ("eu-1", "BUBU_STORAGE_S3_REGION", None),
                "endpoint": (_URL, "BUBU_STORAGE_S3_ENDPOINT", None),
                "use-path-style": ("true", "BUBU_S3_FORCE_PATH_STYLE", None),
            },
        ),
        _S3,
    ),
    Wave(
        _variables(
            "gcs",
            {
                "bucket": ("mine", "BUBU_STORAGE_GCS_BUCKET", "bucket"),
                "endpoint": (_URL, "BUBU_STORAGE_GCS_ENDPOINT", None),
            },
        ),
        {**_CLOUDS["gcs"], **_secret("gcs"), **_admitted("gcs")},
    ),
    Wave(
        _variables(
            "azure",
            {
                "account": ("mine", "BUBU_STORAGE_AZURE_ACCOUNT", "account"),
                "container": ("mine", "BUBU_STORAGE_AZURE_CONTAINER", "container"),
                "endpoint": (_URL, "BUBU_STORAGE_AZURE_ENDPOINT", None),
            },
        ),
        {**_CLOUDS["azure"], **_secret("azure"), **_admitted("azure")},
    ),
    *(wave for provider in _CLOUDS for wave in _access(provider)),
)
ENDS: Final = (
    Wave(
        (
            Live("realtime.ttl-seconds-after-finished", "0", plays.realtime_run, False, True, plays.children_are_gone),
            Live(
                "storytrigger.retention-seconds", "1", plays.answered_trigger, "Rejected", "gone", plays.trigger_is_gone
            ),
        )
    ),
    Wave((Live("storyrun.retention-seconds", "-1", plays.finished_run, "Succeeded", "gone", plays.run_is_gone),)),
)
WAVES: Final = (SLOTS, TOGETHER, *RETRIES, *STORES, *ENDS)

_POOL: Final = "tests/unit/core/evaluation/test_pool.py"
_BUDGET: Final = "tests/unit/reconcilers/test_adapter_binding_budget.py"
_SOURCE: Final = "tests/unit/manager/test_config_source.py"
ELSEWHERE: Final = (
    Elsewhere("templating.worker-timeout", _POOL, "test_changed_limits_count_from_the_next_question"),
    Elsewhere("templating.worker-memory-bytes", _POOL, "test_changed_limits_count_from_the_next_question"),
    Elsewhere("templating.workers", _POOL, "test_more_processes_are_allowed_while_others_wait"),
    *(
        Elsewhere(f"{owner}.binding.{key}", _BUDGET, "test_another_limit_applies_to_who_waits")
        for owner in ("storyrun", "story")
        for key in ("max-mutations-per-reconcile", "throttle-requeue-delay")
    ),
    Elsewhere("debug.enable-verbose-logging", _SOURCE, "test_verbose_logging_begins_and_ends_at_once"),
    Elsewhere("debug.enable-metrics", _SOURCE, "test_series_of_ours_stand_still_while_the_configuration_says_so"),
    Elsewhere("debug.max-label-sets", _SOURCE, "test_another_bound_on_label_sets_counts_from_the_next_one"),
    Elsewhere(
        "telemetry.enabled",
        "tests/integration/test_operator_traces.py",
        "test_the_setting_starts_and_ends_the_export_while_the_operator_runs",
    ),
    Elsewhere(
        "templating.namespace-budget",
        "tests/unit/core/evaluation/test_lane.py",
        "test_another_budget_counts_from_the_next_question",
    ),
    Elsewhere(
        "controller.reconcile-timeout",
        "tests/unit/reconcilers/test_runtime_controller.py",
        "test_another_time_limit_counts_from_the_next_pass",
    ),
    Elsewhere(
        "controller.max-story-with-block-size-bytes",
        "tests/unit/manager/admission/test_informer_view.py",
        "test_another_largest_block_counts_from_the_next_review",
    ),
    Elsewhere(
        "controller.transport.heartbeat-timeout",
        "tests/unit/manager/test_hub_presence.py",
        "test_another_time_limit_counts_for_a_hub_that_is_silent_already",
    ),
    Elsewhere(
        "storyrun.queue.<name>.priority-aging-seconds",
        "tests/unit/core/engine/slots/test_engine_slots.py",
        "test_another_aging_counts_for_who_waits",
    ),
)
"""They need minutes, much CPU or another part of the operator than the one that the test runs."""
