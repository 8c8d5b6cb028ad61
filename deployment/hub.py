"""The hub of realtime Stories in an installation: Deployment, Service, network policy.

One replica: the streams of a run meet in one process, and only the holder of the Lease serves. A new Pod is started
after the old one has stopped, which first lets the steps have what is on its way. A disruption budget would do nothing
here: with ``maxUnavailable: 1`` it allows everything, and with 0 it blocks the drain of a node for ever.
"""

from __future__ import annotations

from typing import Final

from core.api.keys import LABEL_APP_NAME
from core.api.objects import Object
from core.api.resource import DEPLOYMENT, SERVICE
from deployment import metadata
from deployment.metadata import HEALTH_PORT, TEMPORARY_FILES
from deployment.network import METRICS_READERS, NETWORK_POLICY
from deployment.permissions.names import HUB_ACCOUNT
from deployment.permissions.roles import DEFAULT_INSTALLATION, Installation

CONTAINER: Final = "hub"
STREAM_PORT: Final = 9000
CONSOLE_PORT: Final = 9001
METRICS_PORT: Final = 8080
DRAIN_SECONDS: Final = 10
GRACE_SECONDS: Final = 30
"""More time than the drain and the rest of the stop take (``manager.cluster_hub.STOP_SECONDS``)."""
LABELS: Final = {"control-plane": "hub"}
POD_LABELS: Final = {LABEL_APP_NAME: metadata.APP, **LABELS}


def name_of(installation: Installation = DEFAULT_INSTALLATION) -> str:
    """The name of Deployment, Service and ServiceAccount."""
    return installation.account(HUB_ACCOUNT)


def endpoint(installation: Installation = DEFAULT_INSTALLATION) -> str:
    """Where the containers of steps reach the hub."""
    return f"{name_of(installation)}.{installation.namespace}.svc:{STREAM_PORT}"


def deployment(installation: Installation = DEFAULT_INSTALLATION) -> Object:
    return {
        **metadata.document(DEPLOYMENT, name_of(installation), namespace=installation.namespace, labels=LABELS),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": POD_LABELS},
            "strategy": {"type": "Recreate"},
            "template": {"metadata": {"labels": POD_LABELS}, "spec": _pod(installation)},
        },
    }


def service(installation: Installation = DEFAULT_INSTALLATION) -> Object:
    """The Service that containers of steps connect to, and through the API server people; a hub that does not serve is
    left out.
    """
    streams = {"name": "grpc", "port": STREAM_PORT, "protocol": "TCP", "targetPort": "grpc", "appProtocol": "grpc"}
    console = {"name": "console", "port": CONSOLE_PORT, "protocol": "TCP", "targetPort": "console"}
    return {
        **metadata.document(SERVICE, name_of(installation), namespace=installation.namespace, labels=LABELS),
        "spec": {"ports": [streams, console], "selector": POD_LABELS},
    }


def network_policy(installation: Installation = DEFAULT_INSTALLATION) -> Object:
    """Who may open connections to the hub: the Pods of all namespaces, and for metrics those of some.

    Steps run in the namespaces of tenants. Each proves with its token which step it is. The console is reached by API
    servers, which no selector matches on every cluster; each request proves with a key which binding allows it.
    """
    pods: Object = {"namespaceSelector": {}}
    return {
        **metadata.document(NETWORK_POLICY, name_of(installation), namespace=installation.namespace, labels=LABELS),
        "spec": {
            "podSelector": {"matchLabels": POD_LABELS},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [pods], "ports": [{"port": STREAM_PORT, "protocol": "TCP"}]},
                {"ports": [{"port": CONSOLE_PORT, "protocol": "TCP"}]},
                {
                    "from": [{"namespaceSelector": {"matchLabels": METRICS_READERS}}],
                    "ports": [{"port": METRICS_PORT, "protocol": "TCP"}],
                },
            ],
        },
    }


def _pod(installation: Installation) -> Object:
    return {
        "serviceAccountName": name_of(installation),
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(installation)],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
    }


def _container(installation: Installation) -> Object:
    return {
        "name": CONTAINER,
        "image": metadata.image(),
        "imagePullPolicy": "IfNotPresent",
        "command": ["bobrapet", "hub"],
        "args": arguments(installation),
        "ports": [
            {"name": "grpc", "containerPort": STREAM_PORT, "protocol": "TCP"},
            {"name": "console", "containerPort": CONSOLE_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
            {"name": "health", "containerPort": HEALTH_PORT, "protocol": "TCP"},
        ],
        "livenessProbe": metadata.probe("/healthz", first=15, period=20),
        "readinessProbe": metadata.probe("/readyz", first=1, period=2),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
        "securityContext": metadata.SECURITY_CONTEXT,
        "volumeMounts": [{"name": "tmp", "mountPath": TEMPORARY_FILES}],
    }


def arguments(installation: Installation = DEFAULT_INSTALLATION) -> list[str]:
    """Arguments of ``bobrapet hub``."""
    return [
        f"--bind-address=:{STREAM_PORT}",
        f"--metrics-bind-address=:{METRICS_PORT}",
        f"--health-probe-bind-address=:{HEALTH_PORT}",
        f"--console-bind-address=:{CONSOLE_PORT}",
        f"--console-service={name_of(installation)}:{CONSOLE_PORT}",
        f"--config-namespace={installation.namespace}",
        f"--drain-seconds={DRAIN_SECONDS}",
    ]
