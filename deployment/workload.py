"""The operator's namespace, and the Pods in it. Source: operator contract 6 and 21; Pod Security Standards, restricted.

Two replicas answer admission reviews; only the holder of the Lease runs the controllers. The operator makes its own
certificates, so only a folder for temporary files is mounted.
"""

from __future__ import annotations

from typing import Final

from core.api.objects import Object
from core.api.resource import DEPLOYMENT, NAMESPACE, Resource
from deployment import hub, metadata
from deployment.metadata import (
    CONTROL_PLANE,
    HEALTH_PORT,
    METRICS_PORT,
    POD_LABELS,
    TEMPORARY_FILES,
    WEBHOOK_PORT,
)
from deployment.permissions.names import DEFAULT_PREFIX
from deployment.permissions.roles import DEFAULT_INSTALLATION, Installation
from deployment.permissions.table import CONFIG_NAME

POD_DISRUPTION_BUDGET: Final = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")

CONTAINER: Final = "manager"
REPLICAS: Final = 2
GRACE_SECONDS: Final = 10
"""More time than the manager takes to stop in order (``manager.run.STOP_DEADLINE_SECONDS``)."""

_POD_SECURITY: Final = "pod-security.kubernetes.io"
_SPREAD_OVER: Final = ("kubernetes.io/hostname", "topology.kubernetes.io/zone")


def namespace(installation: Installation = DEFAULT_INSTALLATION) -> Object:
    """The operator's namespace; the Pod Security Standard ``restricted`` is enforced in it."""
    levels = {f"{_POD_SECURITY}/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return metadata.document(NAMESPACE, installation.namespace, labels={**CONTROL_PLANE, **levels})


def deployment(installation: Installation = DEFAULT_INSTALLATION) -> Object:
    """The Deployment of the managers; a new Pod is started before an old one is stopped."""
    name = f"{installation.prefix}controller-manager"
    return {
        **metadata.document(DEPLOYMENT, name, namespace=installation.namespace, labels=CONTROL_PLANE),
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": POD_LABELS},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"metadata": {"labels": POD_LABELS}, "spec": _pod(installation)},
        },
    }


def disruption_budget(installation: Installation = DEFAULT_INSTALLATION) -> Object:
    """A drain leaves one replica that answers; a replica that never gets ready does not block it."""
    name = f"{installation.prefix}controller-manager"
    return {
        **metadata.document(POD_DISRUPTION_BUDGET, name, namespace=installation.namespace, labels=CONTROL_PLANE),
        "spec": {
            "minAvailable": 1,
            "selector": {"matchLabels": POD_LABELS},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def _pod(installation: Installation) -> Object:
    return {
        "serviceAccountName": installation.service_account,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": POD_LABELS},
            }
            for key in _SPREAD_OVER
        ],
        "containers": [_container(installation)],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
    }


def _container(installation: Installation) -> Object:
    return {
        "name": CONTAINER,
        "image": metadata.image(),
        "imagePullPolicy": "IfNotPresent",
        "args": arguments(installation),
        "ports": [
            {"name": "webhook-server", "containerPort": WEBHOOK_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
            {"name": "health", "containerPort": HEALTH_PORT, "protocol": "TCP"},
        ],
        "livenessProbe": metadata.probe("/healthz", first=15, period=20),
        "readinessProbe": metadata.probe("/readyz", first=5, period=10),
        "resources": {"requests": {"cpu": "100m", "memory": "192Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
        "securityContext": metadata.SECURITY_CONTEXT,
        "volumeMounts": [{"name": "tmp", "mountPath": TEMPORARY_FILES}],
    }


def arguments(installation: Installation = DEFAULT_INSTALLATION) -> list[str]:
    """Arguments of ``bobrapet manager``: those of the reference, in its order, without a certificate, with Lease; where
    the hub is; and how the names of the installation begin, if not as in the default one.
    """
    own_names = installation.prefix != DEFAULT_PREFIX
    return [
        f"--metrics-bind-address=:{METRICS_PORT}",
        f"--health-probe-bind-address=:{HEALTH_PORT}",
        f"--config-namespace={installation.namespace}",
        f"--config-name={installation.named(CONFIG_NAME)}",
        "--leader-elect",
        f"--hub-endpoint={hub.endpoint(installation)}",
        *([f"--name-prefix={installation.prefix}"] if own_names else []),
    ]
