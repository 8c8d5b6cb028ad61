"""The operator's settings: frozen values with their built-in defaults. Every setting has an effect.

A setting that is missing in the operator ConfigMap has the value in this package. Security defaults, and metrics, are
those of the shipped configuration: the loss of the ConfigMap must not relax or hide anything. Source: operator contract
3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from core.policy import config_values as read
from core.policy.retry import MIN_DELAY
from core.policy.setting import NEW, START, SettingRow, group, setting
from core.policy.settings.containers import (
    BindingLimit,
    EngramSettings,
    ResourceSettings,
    ScriptSettings,
    SecuritySettings,
    StorageSettings,
    TransportSettings,
    binding_rows,
    resource_rows,
)
from core.policy.settings.runs import JobSettings, RunSettings, TemplatingSettings, TimeoutSettings, TriggerSettings
from core.telemetry.metrics import MOST_LABEL_SETS


class CrossNamespacePolicy(StrEnum):
    DENY = "deny"
    GRANT = "grant"
    ALLOW = "allow"


class PullPolicy(StrEnum):
    ALWAYS = "Always"
    NEVER = "Never"
    IF_NOT_PRESENT = "IfNotPresent"


class RunnerIdentity(StrEnum):
    """Whose ServiceAccount the containers of a run have."""

    STORY = "story"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """The work queue of one kind's controller. Zero means the common value, ``OperatorSettings.controllers``."""

    max_concurrent_reconciles: int
    base_delay: timedelta
    max_delay: timedelta


_COMMON_ROWS: Final = {
    "max_concurrent_reconciles": SettingRow(
        "controller.max-concurrent-reconciles",
        read.integer(1),
        "Workers of each controller whose own key is 0, and of those without keys.",
        START,
    ),
    "base_delay": SettingRow(
        "controller.requeue-base-delay",
        read.duration(MIN_DELAY),
        "First pause after an error, of controllers whose own key is 0.",
        START,
    ),
    "max_delay": SettingRow("controller.requeue-max-delay", read.duration(), "Longest such pause.", START),
}


def _rows_of(name: str, kinds: str) -> Mapping[str, SettingRow]:
    return {
        "max_concurrent_reconciles": SettingRow(
            f"{name}.max-concurrent-reconciles", read.integer(0), f"Workers for {kinds}; 0: the common value.", START
        ),
        "base_delay": SettingRow(
            f"{name}.rate-limiter.base-delay",
            read.duration(MIN_DELAY, zero=True),
            "First pause after an error; 0: the common value, if it is set.",
            START,
        ),
        "max_delay": SettingRow(
            f"{name}.rate-limiter.max-delay", read.duration(zero=True), "Longest such pause; 0: likewise.", START
        ),
    }


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """One consistent snapshot of all settings in the operator ConfigMap."""

    reconcile_timeout: timedelta = setting(
        "controller.reconcile-timeout",
        timedelta(seconds=30),
        read.duration(timedelta(seconds=5), timedelta(minutes=30), zero=True),
        "Time limit of one pass over one object; 0: no limit.",
    )
    max_story_with_block_size_bytes: int = setting(
        "controller.max-story-with-block-size-bytes",
        65536,
        read.integer(1024, 1048576),
        "Largest `with` of a step, its branches included; admission refuses larger ones.",
    )
    pull_policy: PullPolicy = setting(
        "images.pull-policy",
        PullPolicy.IF_NOT_PRESENT,
        read.one_of(PullPolicy),
        "Pull policy of containers whose definitions set none.",
        NEW,
    )
    default_engram_image: str = setting(
        "images.default-engram",
        "",
        read.text,
        "Image of Engrams whose EngramTemplate names none; empty: such a template cannot be used.",
    )
    default_impulse_image: str = setting(
        "images.default-impulse",
        "",
        read.text,
        "Image of Impulses whose ImpulseTemplate names none; empty: such a template cannot be used.",
    )
    default_resources: ResourceSettings = group(
        ResourceSettings("100m", "500m", "128Mi", "512Mi"),
        resource_rows("default", "while `resources.engram.<name>` is empty"),
    )
    engram_resources: ResourceSettings = group(ResourceSettings(), resource_rows("engram", "of steps and Impulses"))
    max_retries: int = setting(
        "retry.max-retries",
        3,
        read.retries,
        "Retries of a step whose policy sets no `maxRetries`. See [retries](steps.md#retries).",
    )
    retry_delay: timedelta = setting(
        "retry.exponential-backoff-base",
        timedelta(seconds=1),
        read.duration(MIN_DELAY),
        "Delay before the first retry of steps without a policy and a recommendation of their template. A "
        "policy that names no delay has `1s`.",
    )
    retry_max_delay: timedelta | None = setting(
        "retry.exponential-backoff-max",
        None,
        read.duration(MIN_DELAY),
        "Longest delay between two retries with exponential back-off, if neither policy nor template sets one.",
    )
    """None: five minutes."""
    timeouts: TimeoutSettings = TimeoutSettings()
    security: SecuritySettings = SecuritySettings()
    runner_identity: RunnerIdentity = setting(
        "controller.runner-identity",
        RunnerIdentity.STORY,
        read.one_of(RunnerIdentity),
        "Whose ServiceAccount containers have: one for all runs of a Story, or one of each run "
        "([accounts](permissions.md#accounts-of-containers)).",
        NEW,
    )
    job: JobSettings = JobSettings()
    scripts: ScriptSettings = ScriptSettings()
    templating: TemplatingSettings = TemplatingSettings()
    cross_namespace_policy: CrossNamespacePolicy = setting(
        "references.cross-namespace-policy",
        CrossNamespacePolicy.DENY,
        read.one_of(CrossNamespacePolicy, empty=CrossNamespacePolicy.DENY),
        "References to other namespaces: refused, allowed by a ReferenceGrant, or always allowed.",
    )
    engram: EngramSettings = EngramSettings()
    storage: StorageSettings = StorageSettings()
    transport: TransportSettings = TransportSettings()
    story_run_bindings: BindingLimit = group(
        BindingLimit(8, timedelta(seconds=2)),
        binding_rows("storyrun", "How many TransportBindings of one run are written at once; 0: no limit."),
    )
    """For each run that a user or client has started."""
    story_bindings: BindingLimit = group(
        BindingLimit(4, timedelta(seconds=3)),
        binding_rows("story", "The same for all runs of a Story that is [always on](realtime-stories.md#always-on)."),
    )
    """For all runs together of a Story that is always on."""
    runs: RunSettings = RunSettings()
    triggers: TriggerSettings = TriggerSettings()
    verbose_logging: bool = setting(
        "debug.enable-verbose-logging", False, read.boolean, "Log level `debug` instead of `info`."
    )
    step_output_logging: bool = setting(
        "debug.enable-step-output-logging",
        False,
        read.boolean,
        "Whether the operator logs the names and sizes of the outputs of steps and runs.",
    )
    metrics_enabled: bool = setting(
        "debug.enable-metrics",
        True,
        read.boolean,
        "Whether the series `bobrapet_…` are updated; they are served in any case.",
    )
    most_label_sets: int = setting(
        "debug.max-label-sets",
        MOST_LABEL_SETS,
        read.integer(100, 20000),
        "How many label sets (a Story and a phase, for example) one metric may have; see [series that "
        "leave](monitoring.md#series-that-leave).",
    )
    tracing_enabled: bool = setting(
        "telemetry.enabled", False, read.boolean, "Whether the operator exports traces of runs by OTLP."
    )
    trace_propagation: bool = setting(
        "telemetry.trace-propagation",
        False,
        read.boolean,
        "Whether a run continues the trace of its caller, and containers get theirs as `TRACEPARENT`.",
    )
    controllers: ControllerSettings = group(ControllerSettings(10, timedelta(), timedelta()), _COMMON_ROWS)
    """The values for zeros in a controller's settings; delays of zero mean the built-in ones."""
    story_run: ControllerSettings = group(
        ControllerSettings(8, timedelta(milliseconds=50), timedelta(minutes=5)), _rows_of("storyrun", "StoryRuns")
    )
    story: ControllerSettings = group(
        ControllerSettings(5, timedelta(milliseconds=200), timedelta(minutes=1)), _rows_of("story", "Stories")
    )
    engram_controller: ControllerSettings = group(
        ControllerSettings(5, timedelta(milliseconds=200), timedelta(minutes=1)), _rows_of("engram", "Engrams")
    )
    impulse_controller: ControllerSettings = group(
        ControllerSettings(5, timedelta(milliseconds=200), timedelta(minutes=1)), _rows_of("impulse", "Impulses")
    )
    template: ControllerSettings = group(
        ControllerSettings(2, timedelta(milliseconds=500), timedelta(minutes=10)),
        _rows_of("template", "EngramTemplates and ImpulseTemplates"),
    )


class Section(NamedTuple):
    """A part of the page of all settings; ``text`` is Markdown. ``fields`` are those of ``OperatorSettings``."""

    heading: str
    text: str
    fields: tuple[str, ...]


SECTIONS: Final = (
    Section("Runs and triggers", "", ("runs", "max_story_with_block_size_bytes", "triggers")),
    Section(
        "Steps",
        "These are defaults; [more specific layers](contract/steprun.md#10-execution-policy) have priority.",
        (
            *("max_retries", "retry_delay", "retry_max_delay", "timeouts", "job", "pull_policy"),
            *("default_engram_image", "default_impulse_image", "default_resources", "engram_resources"),
        ),
    ),
    Section(
        "Security and references",
        "[Tenants](tenants.md) describes how these work together.",
        ("security", "runner_identity", "scripts", "cross_namespace_policy"),
    ),
    Section("Object store", "[Data in object storage](stored-data.md#the-operators-store) has examples.", ("storage",)),
    Section("Expressions", "[Expressions](expressions.md) describes the limits.", ("templating",)),
    Section(
        "Containers and streams",
        "Most of them become [variables](steps.md#variables-of-the-container) of the container.",
        ("engram", "transport"),
    ),
    Section(
        "Controllers",
        "",
        (
            *("controllers", "reconcile_timeout", "story_run", "story", "engram_controller", "impulse_controller"),
            *("template", "story_run_bindings", "story_bindings"),
        ),
    ),
    Section(
        "Telemetry",
        "[Telemetry](telemetry.md) has the variables that say where to.",
        ("tracing_enabled", "trace_propagation"),
    ),
    Section("Debugging", "", ("verbose_logging", "step_output_logging", "metrics_enabled", "most_label_sets")),
)
