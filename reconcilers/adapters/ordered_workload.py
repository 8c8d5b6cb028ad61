"""From an order of the engine to the input of the Job builder. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from bubu_contract.instants import parse_instant_or_none
from core.api import keys
from core.api.canonical import encode
from core.api.objects import Object, step_path
from core.engine.errors import RejectedError
from core.engine.plan import positive_duration
from core.engine.ports import AttemptOrder
from core.expressions.paths import has_reference
from core.payloads.errors import PayloadError
from core.payloads.reference import check_namespaces
from core.policy.borrowed import WHY, is_foreign
from core.telemetry.tracing.run_trace import context_for_attempt, run_trace
from core.workloads.literals import as_literals
from core.workloads.plain_container import ContainerCall, call_of
from core.workloads.step_workload import StepWorkload
from core.workloads.template_context import encode_template_context
from core.workloads.tls import tls_secret_name
from reconcilers.adapters.binding import ResolvedBinding


def ordered_workload(order: AttemptOrder, account: str, *, with_context: bool = True) -> StepWorkload:
    """The workload of one attempt of a Job under that account; trigger data and step config are one value, so they
    cannot differ.

    A variable tells SDKs not to evaluate resolved inputs again. SDKs do evaluate the config, so it is escaped for that.

    Args:
        with_context: whether the container gets the outputs of other steps, for templates that it evaluates.

    Raises:
        PayloadError: the inputs cannot be written as JSON.
        NotPassableError: a value cannot reach a container without an SDK.
        RejectedError: the StepRun's ``executionOverrides`` are invalid, or the Engram may not choose its TLS Secret.
    """
    resolved, call = ResolvedBinding.of(order), _call(order)
    payloads = _for_sdk(order, resolved, with_context) if call is None else _NOTHING
    workload = step_workload(order, account, payloads)
    return workload if call is None else replace(workload, policy=replace(workload.policy, storage=None), call=call)


def step_workload(order: AttemptOrder, account: str, payloads: Mapping[str, Any]) -> StepWorkload:
    """What every executor needs of an attempt, with ``payloads``, the fields that only an SDK reads.

    Raises:
        RejectedError: the StepRun's ``executionOverrides`` are invalid.
    """
    resolved = ResolvedBinding.of(order)
    story_spec, metadata = order.story["spec"], order.step_run["metadata"]
    story_policy = story_spec.get("policy") or {}
    execution, timeouts = story_policy.get("execution") or {}, story_policy.get("timeouts") or {}
    status = order.step_run.get("status") or {}
    started = parse_instant_or_none(status.get("startedAt")) or parse_instant_or_none(metadata["creationTimestamp"])
    assert started is not None, "the API server stamps every object"
    return StepWorkload(
        namespace=metadata["namespace"],
        step_run_name=metadata["name"],
        step_run_uid=metadata["uid"],
        step_id=order.step_run["spec"]["stepId"],
        story_run_name=order.run["metadata"]["name"],
        story_name=order.story["metadata"]["name"],
        story_version=story_spec.get("version") or "",
        engram_name=order.binding.engram_name,
        engram_version=(resolved.engram["spec"].get("version") or "").strip(),
        attempt=order.attempt,
        policy=resolved.policy_for(order.step_run),
        settings=resolved.settings.engram,
        timeout=order.binding.timeout,
        deadline_at=order.deadline_at,
        started_at=started,
        max_recursion_depth=execution.get("maxRecursionDepth") or resolved.settings.engram.max_recursion_depth,
        account=account,
        secret_schema=resolved.template["spec"].get("secretSchema") or {},
        correlation_id=_annotation(order.run, keys.ANNOTATION_CORRELATION_ID),
        execution_key=order.execution_key,
        drain=positive_duration(timeouts.get("gracefulShutdownTimeout")),
        propagates_trace=resolved.trace_rules.propagates,
        step_trace_parent=_step_trace_parent(order, resolved),
        trace_context=context_for_attempt(order.run, step_path(order.step_run), order.attempt, resolved.trace_rules),
        **payloads,
    )


def _step_trace_parent(order: AttemptOrder, resolved: ResolvedBinding) -> str:
    """For the hub, which traces packets below the step; empty for a step without a stream."""
    if resolved.stream is None or not resolved.trace_rules.records:
        return ""
    trace = run_trace(order.run, resolved.trace_rules)
    return trace.context_of(trace.step_id(step_path(order.step_run)))["traceparent"]


def _for_sdk(order: AttemptOrder, resolved: ResolvedBinding, with_context: bool) -> dict[str, Any]:
    """What only an SDK reads.

    Raises:
        RejectedError: as ``check_stored_references``.
    """
    check_stored_references(order, order.inputs, "with")
    inputs = encode(order.inputs)
    return {
        "trigger_data": inputs,
        "step_config": step_config(order, inputs),
        "template_context": encode_template_context(order.template_context) if with_context else None,
        "tls_secret": _tls_secret(resolved.engram, order.step_run["metadata"]["namespace"]),
        "skip_input_templating": order.is_resolved,
    }


def check_stored_references(order: AttemptOrder, value: Any, field: str) -> None:
    """
    Raises:
        RejectedError: ``value`` refers to a stored object of another namespace, which the container must not read.
    """
    if not has_reference(value):
        return
    try:
        check_namespaces(value, order.step_run["metadata"]["namespace"], field)
    except PayloadError as error:
        raise RejectedError(str(error)) from error


def step_config(order: AttemptOrder, encoded: str) -> str:
    """``BUBU_STEP_CONFIG``: the inputs, whose JSON is ``encoded``, as SDKs that evaluate them must find them."""
    return encode(as_literals(order.inputs)) if order.is_resolved and "{{" in encoded else encoded


_NOTHING: Final[Mapping[str, Any]] = {"trigger_data": "", "step_config": "", "template_context": None}
"""A container without an SDK has no use for payloads, streams and the object store."""


def _call(order: AttemptOrder) -> ContainerCall | None:
    """The call of a container without an SDK."""
    if order.binding.container is None or order.container is None:
        return None
    return call_of(order.binding.container, order.container, order.inputs)


def _tls_secret(engram: Object, namespace: str) -> str:
    name = tls_secret_name(engram)
    if name and is_foreign(engram, namespace):
        raise RejectedError(
            f"Engram {engram['metadata']['namespace']}/{engram['metadata']['name']} names TLS Secret {name!r} in an "
            f"annotation, but {WHY}; remove the annotation, or use an Engram of namespace {namespace}"
        )
    return name


def _annotation(obj: Object, name: str) -> str:
    text: str = (obj["metadata"].get("annotations") or {}).get(name) or ""
    return text.strip()
