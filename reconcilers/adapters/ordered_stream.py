"""From an order of the engine to the inputs of the builders of a realtime step. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from core.api import keys
from core.api.canonical import encode
from core.api.objects import Object, ReadOnlyObject
from core.engine.errors import RejectedError
from core.engine.ports import AttemptOrder
from core.policy.borrowed import WHY, is_foreign
from core.workloads.hub_access import HubAccess
from core.workloads.impulse_service import service_ports
from core.workloads.step_workload import StepWorkload
from core.workloads.stream_binding import RUNS_JOBS, MessageSchemas, binding_manifest, gives_with
from core.workloads.stream_workload import StreamWorkload
from reconcilers.adapters.binding import ResolvedBinding
from reconcilers.adapters.ordered_workload import check_stored_references, step_config, step_workload
from reconcilers.adapters.stream_definitions import ResolvedStream

_PLAIN: Final = frozenset(
    {"$schema", "title", "description", "default", "type", "properties", "required", "additionalProperties"}
)
"""The words of a schema that say of each input by itself what it must be."""


def ordered_stream_step(order: AttemptOrder, account: str) -> StepWorkload:
    """The step of an attempt under that account. Its TLS Secret is that of the Engram, which may be missing in the
    namespace: see ``default_tls_secret``.

    Raises:
        NotJsonError: the inputs cannot be written as JSON.
        RejectedError: the StepRun's ``executionOverrides`` are invalid, the Engram may not choose its TLS Secret, or an
            input refers to a stored object of another namespace.
    """
    check_stored_references(order, order.inputs, "with")
    check_stored_references(order, order.template_context.get("inputs"), "spec.inputs")
    inputs = encode(order.inputs)
    resolved = ResolvedBinding.of(order)
    payloads = {
        "trigger_data": encode(order.template_context.get("inputs") or {}),
        "step_config": step_config(order, inputs),
        "template_context": None,
        "tls_secret": _own_tls_secret(resolved.engram, order.step_run["metadata"]["namespace"]),
        "skip_input_templating": order.is_resolved,
    }
    return replace(step_workload(order, account, payloads), engram_name=order.binding.engram_name)


def default_tls_secret(order: AttemptOrder) -> str:
    """The Secret that the operator's settings name for Engrams that name none; empty: there is none, or the Engram does
    not want it.
    """
    resolved = ResolvedBinding.of(order)
    tls = _tls(resolved.engram)
    if (tls.get("secretRef") or {}).get("name") or tls.get("useDefaultTLS") is False:
        return ""
    return resolved.settings.transport.default_tls_secret


def ordered_binding(order: AttemptOrder, step: StepWorkload, access: HubAccess) -> Object:
    """The TransportBinding to create."""
    stream = stream_of(order)
    annotations = order.step_run["metadata"].get("annotations") or {}
    revision = annotations.get(keys.ANNOTATION_STORY_REVISION) or ""
    uid = order.run["metadata"]["uid"]
    sends_with = _sends_with(order) and stream.mode is not None
    has_inputs = order.step.get("runtime") is not None or sends_with
    of_inputs = order.binding.input_schema if has_inputs else None
    if stream.mode is None:
        resolved = ResolvedBinding.of(order)
        of_inputs = _schema_beside(resolved.template["spec"].get("inputSchema"), order.binding.default_with or {})
    schemas = MessageSchemas(of_inputs, order.binding.output_schema)
    around, endpoint = stream.neighbours, access.endpoint
    binding = binding_manifest(
        step, uid, stream.transport, around, endpoint, revision, schemas, with_in_packets=sends_with
    )
    if stream.mode is None:
        binding["metadata"]["annotations"][keys.ANNOTATION_STREAM_JOBS] = RUNS_JOBS
    return binding


def ordered_stream(order: AttemptOrder, step: StepWorkload, binding: Object, access: HubAccess) -> StreamWorkload:
    """The workload of an attempt whose TransportBinding is stored.

    Raises:
        RejectedError: the Engram runs as a Job now, and had a workload when the binding was created.
    """
    resolved = ResolvedBinding.of(order)
    stream = stream_of(order)
    if stream.mode is None:
        raise _refused_change(order)
    return StreamWorkload(
        step=step,
        mode=stream.mode,
        binding=binding,
        endpoint=access.endpoint,
        transports=stream.transports,
        ports=tuple(service_ports(resolved.template)),
        heartbeat_seconds=int(resolved.settings.transport.heartbeat_interval.total_seconds()),
        has_authority=access.ca_bundle is not None,
        with_in_packets=gives_with(binding),
    )


def _schema_beside(schema: Mapping[str, Any] | None, given: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema for inputs to which a Job adds ``given``, the ``with`` of its Engram; None: anything may be right."""
    if not schema or not given:
        return schema
    if schema.keys() - _PLAIN:
        return None
    properties = {**(schema.get("properties") or {})}
    properties |= {name: {} for name, value in given.items() if isinstance(value, Mapping)}  # they are merged
    required = [name for name in schema.get("required") or () if name not in given]
    return {**schema, "properties": properties, "required": required}


def _sends_with(order: AttemptOrder) -> bool:
    """Whether the hub sends ``with`` as the inputs of each packet to the step."""
    return bool(order.step.get("with")) and order.step.get("runtime") is None and bool(order.packet_needs)


def stream_of(order: AttemptOrder) -> ResolvedStream:
    """
    Raises:
        RejectedError: the Engram is now bound to another executor than the StepRun was created for.
    """
    resolved = ResolvedBinding.of(order)
    if resolved.stream is None:
        raise _refused_change(order)
    return resolved.stream


def _refused_change(order: AttemptOrder) -> RejectedError:
    return RejectedError(
        f"StepRun {order.step_run['metadata']['name']} was created for a stream, which its Engram does not serve "
        "any more; set its spec.mode to deployment or statefulset, or start another run"
    )


def _own_tls_secret(engram: Object, namespace: str) -> str:
    name = str((_tls(engram).get("secretRef") or {}).get("name") or "").strip()
    if name and is_foreign(engram, namespace):
        raise RejectedError(
            f"Engram {engram['metadata']['namespace']}/{engram['metadata']['name']} names TLS Secret {name!r} in "
            f"spec.transport.tls.secretRef, but {WHY}; remove it, or use an Engram of namespace {namespace}"
        )
    return name


def _tls(engram: Object) -> ReadOnlyObject:
    found: ReadOnlyObject = (engram["spec"].get("transport") or {}).get("tls") or {}
    return found
