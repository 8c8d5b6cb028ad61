"""From an Impulse, its template and its Story to the input of the builders. Pure.

Source: Trigger contract 6.2, steps 5 to 7.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from core.api.canonical import encode
from core.api.objects import Object, ReadOnlyObject
from core.api.phases import ImpulseReason
from core.policy.delivery import merged_policy
from core.policy.layers import ExecutionPolicy, resolve_impulse_policy
from core.policy.settings import OperatorSettings
from core.workloads.impulse_access import impulse_runner_name, is_managed
from core.workloads.impulse_service import is_service_name, service_ports
from core.workloads.impulse_workload import ListenerWorkload, chosen_mode, is_suspended, workload_name
from core.workloads.runner_rules import Rule, extra_rules_of_impulse


class Notice(NamedTuple):
    """Something that a person should know about an Impulse, and that does not keep it from running."""

    reason: ImpulseReason
    text: str
    is_warning: bool = True


@dataclass(frozen=True, slots=True)
class ResolvedImpulse:
    workload: ListenerWorkload
    ports: tuple[Object, ...]
    """Of the Service; none: the listener needs no Service."""
    rules: tuple[Rule, ...]
    """The rules beyond the base rules that its container gets."""
    notices: tuple[Notice, ...]

    @property
    def is_account_managed(self) -> bool:
        return is_managed(self.workload.policy.service_account_name)


def resolve_impulse(
    impulse: Object, template: Object, story: ReadOnlyObject, settings: OperatorSettings
) -> ResolvedImpulse:
    """
    Raises:
        PolicyError: the layers have invalid values.
        NotJsonError: ``spec.with`` cannot be written as JSON.
    """
    spec, metadata = impulse["spec"], impulse["metadata"]
    policy = resolve_impulse_policy(settings, template, impulse)
    mode, _ = chosen_mode(impulse)
    block = spec.get("workload") or {}
    delivery = merged_policy(template, impulse)
    execution = ((story.get("spec") or {}).get("policy") or {}).get("execution") or {}
    workload = ListenerWorkload(
        namespace=metadata["namespace"],
        impulse_name=metadata["name"],
        impulse_uid=metadata["uid"],
        template_name=template["metadata"]["name"],
        story_namespace=story["metadata"]["namespace"],
        story_name=story["metadata"]["name"],
        mode=mode,
        policy=policy,
        dedupe=delivery["dedupe"],
        retry=delivery["retry"],
        throttle=spec.get("throttle") or {},
        step_config=None if spec.get("with") is None else encode(spec["with"]),
        secret_schema=template["spec"].get("secretSchema") or {},
        max_recursion_depth=execution.get("maxRecursionDepth") or settings.engram.max_recursion_depth,
        storage_timeout_seconds=settings.engram.storage_timeout_seconds,
        account=_account(impulse, policy),
        service_name=_service_name(impulse, template),
        pod_management_policy=(block.get("statefulSet") or {}).get("podManagementPolicy") or "",
        update_strategy=block.get("updateStrategy"),
        suspended=is_suspended(impulse),
    )
    rules, refused = extra_rules_of_impulse(template, impulse)
    notices = (*_notices(impulse, template, policy), *(Notice(ImpulseReason.RULE_REFUSED, text) for text in refused))
    return ResolvedImpulse(workload, tuple(service_ports(template)), tuple(rules), notices)


def _account(impulse: ReadOnlyObject, policy: ExecutionPolicy) -> str:
    named = policy.service_account_name.strip()
    return impulse_runner_name(impulse["metadata"]["name"]) if is_managed(named) else named


def _service_name(impulse: ReadOnlyObject, template: ReadOnlyObject) -> str:
    named = _named_service(impulse)
    return named if is_service_name(named) else workload_name(impulse["metadata"]["name"], template["metadata"]["name"])


def _named_service(impulse: ReadOnlyObject) -> str:
    stateful_set = (impulse["spec"].get("workload") or {}).get("statefulSet") or {}
    return str(stateful_set.get("serviceName") or "").strip()


def _notices(impulse: ReadOnlyObject, template: ReadOnlyObject, policy: ExecutionPolicy) -> Iterator[Notice]:
    mode, unknown = chosen_mode(impulse)
    supported = (template.get("spec") or {}).get("supportedModes") or ()
    if unknown:
        text = f"spec.workload.mode: a listener cannot be a {unknown}; a Deployment is used. Set mode: deployment"
        yield Notice(ImpulseReason.UNSUPPORTED_MODE, text)
    elif supported and mode not in supported:
        text = (
            f"spec.workload.mode: is {mode}, which ImpulseTemplate {template['metadata']['name']} does not support; "
            f"set one of: {', '.join(supported)}"
        )
        yield Notice(ImpulseReason.UNSUPPORTED_MODE, text)
    named = _named_service(impulse)
    if named and not is_service_name(named):
        text = f"spec.workload.statefulSet.serviceName: {named!r} is not a DNS label; the workload's name is used"
        yield Notice(ImpulseReason.INVALID_SERVICE_NAME, text)
    account = policy.service_account_name.strip()
    if not is_managed(account):
        text = (
            f"Pods run with ServiceAccount {account}, whose permissions the operator does not manage; "
            "docs/contract/triggers.md, 6.5, lists those that a listener needs"
        )
        yield Notice(ImpulseReason.CUSTOM_ACCOUNT, text, is_warning=False)
    for note in policy.notes:
        yield Notice(ImpulseReason.POLICY_ENFORCED, note)
