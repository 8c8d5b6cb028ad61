"""Which requests API servers bring before the gate: the webhook configurations. Source: admission contract 1.1.

What differs from the contract keeps a gate that is down from stopping more than it must:

* conditions let pass what the validators have nothing to say about (``condition``);
* writes of a status pass when nobody answers, since a result that cannot be stored is lost, and who may write one is
  held by a policy as well (``statuswriter``);
* so do Stories without their defaults, which are resolved again when a run needs them, and decisions on gates that do
  not say who made them; what is validated is final;
* the operator's own namespace is exempt, so that it cannot lock itself out. Kinds without a namespace know no such
  exemption: the operator creates none of them, and writes only their status, which is not asked about.

``caBundle`` is not in the documents: the operator fills it in, and applying them again leaves it.
"""

from __future__ import annotations

from typing import Final

from certs.inject import DEFAULT_TARGETS, MUTATING, VALIDATING
from core.api.objects import Object
from deployment import metadata
from deployment.condition import (
    Condition,
    conditions_of,
    conditions_of_decisions,
    conditions_of_status,
)
from deployment.metadata import WEBHOOK_SERVICE
from manager.permissions.roles import DEFAULT_INSTALLATION, Installation
from webhooks import registration
from webhooks.registration import Hook

SERVICE_PORT: Final = 443
MUTATING_SECONDS: Final = 4
VALIDATING_SECONDS: Final = 5
"""Together less than ten seconds: other clients, the kubelet among them, give up on a request after that."""
STATUS_SECONDS: Final = 2
"""A container that tells its result is not held up longer, as it may have little time left."""

NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"
"""Label that the API server puts on every namespace; nobody can take it off."""


def mutating_configuration(installation: Installation = DEFAULT_INSTALLATION) -> Object:
    """Fills in defaults, and who decided."""
    name = next(target.name for target in DEFAULT_TARGETS if target.resource == MUTATING)
    hooks = [
        {**_webhook(hook, installation), "reinvocationPolicy": "IfNeeded"}  # filling in twice is filling in once
        for hook in registration.MUTATING
    ]
    return {**metadata.document(MUTATING, name), "webhooks": hooks}


def validating_configuration(installation: Installation = DEFAULT_INSTALLATION) -> Object:
    """Refuses."""
    name = next(target.name for target in DEFAULT_TARGETS if target.resource == VALIDATING)
    hooks = [_webhook(hook, installation) for hook in registration.VALIDATING]
    return {**metadata.document(VALIDATING, name), "webhooks": hooks}


def _webhook(hook: Hook, installation: Installation) -> Object:
    rule = {
        "apiGroups": [hook.resource.group],
        "apiVersions": [hook.resource.version],
        "operations": ["UPDATE"] if hook.subresource else ["CREATE", "UPDATE"],
        "resources": [hook.target],
        "scope": hook.resource.scope.value,
    }
    service = {"namespace": installation.namespace, "name": WEBHOOK_SERVICE, "path": hook.path, "port": SERVICE_PORT}
    webhook: Object = {
        "name": hook.name,
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": service},
        "failurePolicy": "Ignore" if hook.mutating or hook.subresource else "Fail",
        "matchConditions": [condition.document() for condition in _conditions(hook, installation)],
        "matchPolicy": "Equivalent",
        "rules": [rule],
        "sideEffects": "None",
        "timeoutSeconds": _seconds(hook),
    }
    if hook.resource.namespaced:
        elsewhere = {"key": NAMESPACE_NAME, "operator": "NotIn", "values": [installation.namespace]}
        webhook["namespaceSelector"] = {"matchExpressions": [elsewhere]}
    return webhook


def _conditions(hook: Hook, installation: Installation) -> tuple[Condition, ...]:
    if hook.subresource:
        return conditions_of_decisions(installation) if hook.mutating else conditions_of_status(installation)
    return conditions_of(hook.resource, installation)


def _seconds(hook: Hook) -> int:
    if hook.subresource:
        return STATUS_SECONDS
    return MUTATING_SECONDS if hook.mutating else VALIDATING_SECONDS
