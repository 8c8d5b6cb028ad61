"""The webhook configurations: which requests API servers send to the admission server.

The differences to the contract have one purpose: when admission is down, it blocks no more than necessary.

* conditions exempt requests for which the validators have no rules (``condition``);
* writes of a status pass while admission is down, because a result that cannot be stored is lost; a policy also
  restricts who may write a status (``statuswriter``);
* Stories pass without their defaults, which are resolved again when a run needs them, runs without their labels and
  finalizer, which the operator then writes, and decisions on gates without their authors; the validation afterwards
  still refuses;
* the operator's own namespace is exempt, so that the operator cannot lock itself out. Kinds without a namespace have no
  such exemption: the operator creates none of them, and only writes their status, which is not sent to the server.

``caBundle`` is not in the documents: the operator writes it, and applying the documents again leaves it unchanged.
Source: admission contract 1.1.
"""

from __future__ import annotations

from typing import Final

from certs.inject import MUTATING, VALIDATING, targets_of
from core.api.objects import Object
from deployment import metadata
from deployment.metadata import WEBHOOK_SERVICE
from deployment.permissions.roles import DEFAULT_INSTALLATION, Installation
from deployment.policies.exemptions import (
    MatchCondition,
    conditions_of,
    conditions_of_decisions,
    conditions_of_status,
)
from webhooks import registration
from webhooks.registration import Hook

SERVICE_PORT: Final = 443
MUTATING_SECONDS: Final = 4
VALIDATING_SECONDS: Final = 5
"""Both timeouts together are less than ten seconds, after which other clients, such as the kubelet, give up."""
STATUS_SECONDS: Final = 2
"""A container that reports its result must not wait longer, because it may have little time left."""

NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"
"""Label that the API server puts on every namespace; no user can remove it."""


def mutating_configuration(installation: Installation = DEFAULT_INSTALLATION) -> Object:
    """The webhooks that add defaults, the metadata of runs, and the author of a decision."""
    name = next(target.name for target in targets_of(installation.prefix) if target.resource == MUTATING)
    hooks = [
        {**_webhook(hook, installation), "reinvocationPolicy": "IfNeeded"}  # adding twice has the same result
        for hook in registration.MUTATING
    ]
    return {**metadata.document(MUTATING, name), "webhooks": hooks}


def validating_configuration(installation: Installation = DEFAULT_INSTALLATION) -> Object:
    """The webhooks that accept or refuse objects."""
    name = next(target.name for target in targets_of(installation.prefix) if target.resource == VALIDATING)
    hooks = [_webhook(hook, installation) for hook in registration.VALIDATING]
    return {**metadata.document(VALIDATING, name), "webhooks": hooks}


def _webhook(hook: Hook, installation: Installation) -> Object:
    rule = {
        "apiGroups": [hook.resource.group],
        "apiVersions": [hook.resource.version],
        "operations": list(hook.operations),
        "resources": [hook.target],
        "scope": hook.resource.scope.value,
    }
    name = installation.named(WEBHOOK_SERVICE)
    service = {"namespace": installation.namespace, "name": name, "path": hook.path, "port": SERVICE_PORT}
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


def _conditions(hook: Hook, installation: Installation) -> tuple[MatchCondition, ...]:
    if hook.subresource:
        return conditions_of_decisions(installation) if hook.mutating else conditions_of_status(installation)
    return conditions_of(hook.resource, installation)


def _seconds(hook: Hook) -> int:
    if hook.subresource:
        return STATUS_SECONDS
    return MUTATING_SECONDS if hook.mutating else VALIDATING_SECONDS
