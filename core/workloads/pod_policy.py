"""The parts of a Pod that follow from the execution policy alone, for steps and listeners alike. Pure.

Source: StepRun contract 12, Trigger contract 6.3. The ``RuntimeDefault`` seccomp profile is an addition to the
reference: without it, a namespace that enforces the Pod Security level ``restricted`` refuses the Pod. The
group of volumes is an addition, too, for claims that layers ask for.
"""

from __future__ import annotations

from typing import Final

from core.api.objects import Object
from core.policy.layers import ExecutionPolicy
from core.workloads.volumes import writes_to_claims

_AMOUNTS: Final = {"cpu": "cpu", "memory": "memory", "ephemeralStorage": "ephemeral-storage"}
"""Beginning of a setting → the name of the resource in Kubernetes."""
_GROUPS: Final = {"Request": "requests", "Limit": "limits"}


def pod_security(policy: ExecutionPolicy) -> Object:
    context: Object = {"runAsNonRoot": policy.run_as_non_root, "seccompProfile": {"type": "RuntimeDefault"}}
    if policy.run_as_user:
        context["runAsUser"] = policy.run_as_user
        if writes_to_claims(policy):  # the root of most new volumes belongs to root
            context |= {"fsGroup": policy.run_as_user, "fsGroupChangePolicy": "OnRootMismatch"}
    return context


def placement(policy: ExecutionPolicy) -> Object:
    """Where the Pod runs, with which priority and runtime, and how its image is pulled, as far as these are set."""
    fields: Object = {}
    if policy.node_selector:
        fields["nodeSelector"] = dict(policy.node_selector)
    if policy.tolerations:
        fields["tolerations"] = [dict(toleration) for toleration in policy.tolerations]
    if policy.affinity:
        fields["affinity"] = dict(policy.affinity)
    if policy.priority_class_name:
        fields["priorityClassName"] = policy.priority_class_name
    if policy.runtime_class_name:
        fields["runtimeClassName"] = policy.runtime_class_name
    if policy.image_pull_secrets:
        fields["imagePullSecrets"] = [{"name": name} for name in policy.image_pull_secrets]
    return fields


def container_basics(name: str, policy: ExecutionPolicy) -> Object:
    """Image, resources, security context and probes of the container that does the work."""
    container: Object = {
        "name": name,
        "image": policy.image,
        "imagePullPolicy": policy.image_pull_policy,
        "resources": _resources(policy),
        "securityContext": {
            "readOnlyRootFilesystem": policy.read_only_root_filesystem,
            "allowPrivilegeEscalation": policy.allow_privilege_escalation,
            "capabilities": {"drop": list(policy.drop_capabilities)},
        },
    }
    for probe, settings in policy.probes.items():
        container[f"{probe}Probe"] = dict(settings)
    return container


def _resources(policy: ExecutionPolicy) -> Object:
    groups: dict[str, Object] = {"requests": {}, "limits": {}}
    for ending, group in _GROUPS.items():
        for beginning, name in _AMOUNTS.items():
            if quantity := policy.resources.get(f"{beginning}{ending}"):
                groups[group][name] = quantity
        groups[group] |= dict(sorted(policy.extended_resources.items()))
    return {group: values for group, values in groups.items() if values}
