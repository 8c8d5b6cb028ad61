"""What the Job of a step gets, or has, and which layer decides each value. Pure.

The values are resolved as the operator resolves them, from the objects as they are now, and with the Story as the run
executes it. If the Job exists, each value is compared with it. Without the operator's settings, their values are
unknown, and values that they bound are shown as they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from bubu_contract.durations import format_duration
from bubu_contract.instants import parse_instant_or_none
from core.api.objects import Object, ReadOnlyObject, has_ended
from core.engine.step.manifest import step_run_name
from core.policy.borrowed import is_foreign
from core.policy.config import parse_config
from core.policy.config_values import ANY_TOLERATION
from core.policy.layers import ExecutionPolicy, PolicyError, resolve_policy
from core.policy.settings import LoweredBy, OperatorSettings, SecuritySettings
from core.policy.sources import OPERATOR, TEMPLATE, Sources
from core.policy.timing import (
    BUILT_IN,
    TimeoutChoice,
    retry_layers,
    retry_notes,
    retry_policy,
    retry_spec,
    timeout_choice,
)
from core.workloads.job import DEADLINE_MARGIN, step_job
from core.workloads.step_workload import StepWorkload
from core.workloads.storage import storage_secret
from core.workloads.tls import tls_secret_name
from core.workloads.warm_steps import why_not_warm
from views.explain.facts import ExplainedValue, StepExplanation, StepFacts
from views.explain.job import is_same, job_values
from views.explain.settings import bound_of, field_of, key_of, position_of, source_of

Found = TypeVar("Found")

_ANY: Final = ("*",)
_NO_BOUNDS: Final = OperatorSettings(
    security=SecuritySettings(
        lowered_by=LoweredBy.EVERYBODY,
        tolerations=(ANY_TOLERATION,),
        priority_classes=_ANY,
        runtime_classes=_ANY,
    )
)
"""Instead of unknown settings: they refuse nothing, and their values are not shown."""
_BY_NOBODY: Final = {
    "seccomp_profile": "always",
    "service_account_name": "operator setting controller.runner-identity",
    "active_deadline_seconds": f"timeout + {format_duration(DEADLINE_MARGIN)}",
}
"""Values that no layer decides → where they come from."""
_ANY_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Resolved:
    """What the layers say together."""

    policy: ExecutionPolicy
    sources: Sources
    values: Mapping[str, Any]
    """Setting → value of the Job."""
    layers: Mapping[str, str]


def explain_step(facts: StepFacts) -> StepExplanation:
    """The whole answer."""
    settings = parse_config(facts.config).settings if facts.config is not None else None
    resolved, problems = _resolution(facts, settings)
    values = [*_rows(facts, resolved, is_known=settings is not None)] if resolved else [*_rows_of_job(facts)]
    reference = facts.step.get("ref") or {}
    namespace = reference.get("namespace") or facts.story["metadata"].get("namespace") or facts.namespace
    return StepExplanation(
        namespace=facts.namespace,
        run=facts.run_name,
        step=facts.step_name,
        engram=f"{namespace}/{reference.get('name', '')}",
        template=_template_name(facts),
        state=_state(facts),
        job=facts.job["metadata"]["name"] if facts.job else "",
        values=tuple(sorted(values, key=lambda value: position_of(value.setting))),
        notes=(
            *_notes_about_objects(facts, settings),
            *_notes_of_layers(resolved),
            *_note_about_workers(facts, resolved),
        ),
        problems=tuple(problems),
        unseen=facts.unseen,
    )


def _resolution(facts: StepFacts, settings: OperatorSettings | None) -> tuple[_Resolved | None, list[str]]:
    """The resolved values, or why there are none."""
    reference = facts.step.get("ref") or {}
    if facts.engram is None:
        return None, [f"Engram {reference.get('name')} does not exist; the step waits for it (apply it)"]
    if facts.template is None:
        return None, [f"EngramTemplate {_template_name(facts)} does not exist; the step waits for it (apply it)"]
    overrides = ((facts.step_run or {}).get("spec") or {}).get("executionOverrides")
    sources = Sources(
        settings or _NO_BOUNDS, facts.template, facts.engram, facts.story, facts.step, overrides, facts.namespace
    )
    problems: list[str] = []
    policy = _unless_invalid(problems, lambda: resolve_policy(sources))
    timeout = _unless_invalid(problems, lambda: timeout_choice(sources))
    _unless_invalid(problems, lambda: retry_policy(retry_spec(sources), sources.settings))
    if policy is None or timeout is None or problems:
        return None, problems
    return _resolved(facts, sources, policy, timeout, is_known=settings is not None), []


def _unless_invalid(problems: list[str], resolve: Callable[[], Found]) -> Found | None:
    """The result of ``resolve``; None after adding the problems that it reports."""
    try:
        return resolve()
    except PolicyError as error:
        problems += error.problems
        return None


def _resolved(
    facts: StepFacts, sources: Sources, policy: ExecutionPolicy, timeout: TimeoutChoice, *, is_known: bool
) -> _Resolved:
    depth = ((facts.story["spec"].get("policy") or {}).get("execution") or {}).get("maxRecursionDepth")
    values = job_values(step_job(_workload(facts, sources, policy, timeout, depth)), policy.secrets)
    if not values.get("service_account_name"):  # the operator chooses it with the Job
        values.pop("service_account_name", None)
    if name := storage_secret(policy.storage):
        values["storage_secret"] = name
    if policy.cache:
        values["cache"] = dict(policy.cache)
    by_storage = policy.provenance.get("storage", OPERATOR)
    layers = {
        "debug": BUILT_IN,
        **policy.provenance,
        "timeout": timeout.layer,
        "max_recursion_depth": "Story policy" if depth else OPERATOR,
        "termination_grace_period_seconds": OPERATOR,
        "tls_secret": "Engram annotation",
        "fs_group": policy.provenance.get("run_as_user", ""),
        "storage_volume": by_storage,
        "storage_secret": by_storage,
    }
    if not is_known:  # the operator may set what no layer sets
        layers |= {"service_account_name": layers.get("service_account_name", OPERATOR)}
        if timeout.layer == BUILT_IN:
            layers |= {"timeout": OPERATOR, "active_deadline_seconds": OPERATOR}
    return _Resolved(policy, sources, values, layers)


def _workload(
    facts: StepFacts, sources: Sources, policy: ExecutionPolicy, timeout: TimeoutChoice, depth: int | None
) -> StepWorkload:
    """The attempt, without its data: they do not matter for the values that are shown."""
    engram, step_run = sources.engram, facts.step_run or {}
    engram_settings = sources.settings.engram
    return StepWorkload(
        namespace=facts.namespace,
        step_run_name=step_run_name(facts.run_name, facts.step_name),
        step_run_uid=(step_run.get("metadata") or {}).get("uid", ""),
        step_id=str((step_run.get("spec") or {}).get("stepId") or facts.step.get("name") or ""),
        story_run_name=facts.run_name,
        story_name=facts.story["metadata"]["name"],
        story_version="",
        engram_name=engram["metadata"]["name"],
        engram_version="",
        attempt=0,
        policy=policy,
        settings=engram_settings,
        timeout=timeout.timeout,
        deadline_at=_ANY_TIME,
        started_at=_ANY_TIME,
        max_recursion_depth=depth or engram_settings.max_recursion_depth,
        trigger_data="{}",
        step_config="{}",
        template_context="{}",
        account=_account_of(facts.job),
        secret_schema=sources.template["spec"].get("secretSchema") or {},
        tls_secret="" if is_foreign(engram, facts.namespace) else tls_secret_name(engram),
    )


def _account_of(job: Object | None) -> str:
    """That of the Job, which no layer decides; empty before there is a Job."""
    template = ((job or {}).get("spec") or {}).get("template") or {}
    return str((template.get("spec") or {}).get("serviceAccountName") or "")


def _rows(facts: StepFacts, resolved: _Resolved, *, is_known: bool) -> Iterator[ExplainedValue]:
    found = job_values(facts.job, resolved.policy.secrets) if facts.job else {}
    for setting, value in resolved.values.items():
        row = _row(facts, setting, value, resolved.layers.get(setting, ""), is_known=is_known)
        yield _compared(facts, setting, row, found)
    for setting in sorted(found.keys() - resolved.values.keys()):
        unknown = not is_known and bool(key_of(setting, facts.config))
        layer = OPERATOR if unknown else ""
        row = _row(facts, setting, None, layer, is_known=is_known)
        row = row if unknown else replace(row, source="no layer sets it", value=None)
        yield _compared(facts, setting, row, found)
    for setting in ("storage", "service_account_name"):
        if not is_known and setting not in {*found, *resolved.values}:
            yield _row(facts, setting, None, OPERATOR, is_known=False)
    yield from _retry_rows(facts, resolved, is_known=is_known)


def _row(facts: StepFacts, setting: str, value: Any, layer: str, *, is_known: bool) -> ExplainedValue:
    name = (facts.engram or {}).get("metadata", {}).get("name", "")
    by_nobody = _BY_NOBODY.get(setting)
    if not layer and by_nobody:
        return ExplainedValue(field_of(setting), value, "", by_nobody)
    source = source_of(layer or BUILT_IN, setting, name, _template_name(facts), facts.config)
    if is_known:
        return ExplainedValue(field_of(setting), value, layer, source)
    if layer == OPERATOR:
        return ExplainedValue(field_of(setting), None, layer, source, is_known=False)
    bound = bound_of(setting, layer)
    source = f"{source}, if operator setting {bound} allows it" if bound else source
    return ExplainedValue(field_of(setting), value, layer, source, is_known=not bound)


def _compared(facts: StepFacts, setting: str, row: ExplainedValue, found: Mapping[str, Any]) -> ExplainedValue:
    """``row`` with the Job's value. An unknown value is not compared, and no Job has the name of a store's Secret."""
    if facts.job is None or setting in ("storage_secret", "cache"):
        return row
    in_job = found.get(setting)
    is_unknown = not row.is_known and row.value is None
    if is_unknown or (setting in found and is_same(setting, row.value, in_job)):
        return replace(row, in_job=in_job)
    changed = _why_other(facts, row.layer)
    why = changed if row.is_known else f"the operator's settings do not allow another one, or {changed}"
    return replace(row, in_job=in_job, differs=True, why=why)


def _retry_rows(facts: StepFacts, resolved: _Resolved, *, is_known: bool) -> Iterator[ExplainedValue]:
    """The retries, which the operator does; the StepRun keeps those with which it was created."""
    sources = resolved.sources
    layers, settings = retry_layers(sources), sources.settings
    of_operator = {"maxRetries"} | {
        field
        for field, value, built_in in (
            ("delay", settings.retry_delay, OperatorSettings().retry_delay),
            ("maxDelay", settings.retry_max_delay, None),
        )
        if value != built_in
    }
    wanted = _retry_values(retry_spec(sources), settings)
    stored = _retry_values(facts.step_run["spec"].get("retry"), settings) if facts.step_run else {}
    for field, value in wanted.items():
        layer = layers.get(field) or (OPERATOR if field in of_operator else BUILT_IN)
        row = _row(facts, f"retry.{field}", value, layer, is_known=is_known)
        if stored and row.value is not None and stored[field] != value:
            row = replace(row, in_job=stored[field], differs=True, why=_why_other(facts, layer))
        yield row


def _retry_values(spec: ReadOnlyObject | None, settings: OperatorSettings) -> dict[str, Any]:
    try:
        policy = retry_policy(spec, settings)
    except PolicyError:
        return {}
    return {
        "maxRetries": policy.max_retries,
        "delay": format_duration(policy.delay),
        "maxDelay": format_duration(policy.max_delay) if policy.max_delay else None,
        "backoff": str(policy.backoff),
        "jitter": policy.jitter_percent,
        "retryOn": list(policy.retry_on),
    }


def _rows_of_job(facts: StepFacts) -> Iterator[ExplainedValue]:
    """The values of a Job about which no layer can be asked any more."""
    for setting, value in (job_values(facts.job, {}) if facts.job else {}).items():
        yield ExplainedValue(field_of(setting), None, "", "unknown", is_known=False, in_job=value)


def _why_other(facts: StepFacts, layer: str) -> str:
    """Which object has changed since the Job was created."""
    made = facts.job or facts.step_run or {}
    created = parse_instant_or_none((made.get("metadata") or {}).get("creationTimestamp"))
    of_layer = {TEMPLATE: "the EngramTemplate", OPERATOR: "the operator's ConfigMap"}.get(layer, "")
    of_layer = "the Engram" if layer.startswith("Engram ") else of_layer
    changed = [
        name
        for name, obj in (
            ("the Engram", facts.engram),
            ("the EngramTemplate", facts.template),
            ("the operator's ConfigMap", facts.config_map),
        )
        if obj is not None and created is not None and _last_change(obj) >= created
    ]
    if of_layer in changed:
        return f"{of_layer} has changed since"
    return f"{' or '.join(changed) or 'a definition or setting'} has changed since"


def _last_change(obj: Object) -> datetime:
    """When anything but the status was written last, to the second."""
    metadata = obj["metadata"]
    fields = metadata.get("managedFields") or ()
    times = [each.get("time") for each in fields if not each.get("subresource")]
    instants = map(parse_instant_or_none, (metadata.get("creationTimestamp"), *times))
    return max((instant for instant in instants if instant is not None), default=_ANY_TIME)


def _template_name(facts: StepFacts) -> str:
    if facts.template is not None:
        return str(facts.template["metadata"]["name"])
    reference = ((facts.engram or {}).get("spec") or {}).get("templateRef") or {}
    return str(reference.get("name") or "")


def _state(facts: StepFacts) -> str:
    if facts.job is not None:
        ended = facts.step_run is not None and has_ended(facts.step_run)
        return "has ended; its Job still exists" if ended else "is running; its Job exists"
    if "Jobs" in facts.unseen:
        return "you may not read Jobs; a Job created now would get these values"
    if facts.step_run is None:
        return "has not started; its Job would now get these values"
    if has_ended(facts.step_run):
        return "has ended, and its Job was deleted; a new Job would now get these values"
    return "has no Job at the moment; its next Job would now get these values"


def _notes_of_layers(resolved: _Resolved | None) -> tuple[str, ...]:
    return (*resolved.policy.notes, *retry_notes(resolved.sources)) if resolved else ()


def _note_about_workers(facts: StepFacts, resolved: _Resolved | None) -> Iterator[str]:
    if resolved is None or facts.engram is None or facts.template is None or resolved.policy.warm is None:
        return
    why = why_not_warm(resolved.policy, facts.engram, facts.template, facts.namespace)
    if why:
        yield f"warm: the step runs as a Job: {why}"
    else:
        yield "warm: a kept worker executes the step; there is no Job, and the values are those of its container"


def _notes_about_objects(facts: StepFacts, settings: OperatorSettings | None) -> Iterator[str]:
    pin = str((facts.step.get("ref") or {}).get("version") or "").strip()
    version = str(((facts.engram or {}).get("spec") or {}).get("version") or "").strip()
    if facts.engram is not None and pin and pin != version:
        yield f"the step asks for version {pin!r} of the Engram, which has {version!r}: it waits until they are equal"
    if facts.config is None:
        yield "you may not read the operator's ConfigMap: values of the operator are unknown"
    elif settings is None:
        yield "the operator's ConfigMap is invalid, so the operator uses an earlier one: its values are unknown"
