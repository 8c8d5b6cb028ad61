"""Why a step that asks for warm workers runs as a Job all the same. Pure.

``bobrapet why`` and the steps of a run show the text. Source: docs/warm-workers.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from core.api.objects import Object
from core.api.warm_bounds import WORKER_MODE
from core.policy.layers import ExecutionPolicy
from core.policy.settings import RestartPolicy
from core.policy.sources import TEMPLATE
from core.workloads.runner_rules import extra_rules

_ENGRAM: str = "Engram "


def why_not_warm(policy: ExecutionPolicy, engram: Object, template: Object, namespace: str) -> str:
    """Why the steps run as Jobs although ``policy.warm`` is set, with the remedy; empty: a worker may execute them, or
    nobody asks for workers.

    Args:
        namespace: that of the runs.
    """
    return why_cannot_serve(policy, engram, template, namespace) if policy.warm is not None else ""


def why_cannot_serve(policy: ExecutionPolicy, engram: Object, template: Object, namespace: str) -> str:
    """The same for steps whose executor is chosen already."""
    return "; ".join(_obstacles(policy, engram, template, namespace))


def _obstacles(policy: ExecutionPolicy, engram: Object, template: Object, namespace: str) -> Iterator[str]:
    spec, name = template.get("spec") or {}, template["metadata"]["name"]
    if spec.get("container") is not None:
        yield f"the image of {name or 'a script step'} has no SDK, which serves the steps"
    elif WORKER_MODE not in (spec.get("supportedModes") or ()):
        yield f"EngramTemplate {name} does not have {WORKER_MODE} in spec.supportedModes; add it if its image can serve"
    if extra_rules(template, engram, namespace):
        yield "the Engram or its template requests permissions (rbac.rules), which workers do not get"
    if policy.restart_policy != RestartPolicy.NEVER or policy.backoff_limit > 0:
        yield "restartPolicy OnFailure and backoffLimit let a Job restart containers; use retry instead"
    if policy.service_account_name:
        yield "security.service-account-name in the operator's ConfigMap names the account of all steps"
    foreign = sorted(
        resource
        for resource in policy.extended_resources
        if not _is_of_engram(policy.provenance.get(f"extended_resources.{resource}", ""))
    )
    if foreign:
        yield f"the Story asks for {', '.join(foreign)}, which the workers of the Engram do not have"


def _is_of_engram(layer: str) -> bool:
    return layer == TEMPLATE or layer.startswith(_ENGRAM)
